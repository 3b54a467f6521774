"""The whole way from a script to the bytes of a notebook."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.problems import CheckFailed, Problem, WrongUse
from build.stitch.aliases import rewrite
from build.stitch.cells import Segment, cut, markdown
from build.stitch.collisions import refuse_collisions
from build.stitch.drafts import Draft, Line
from build.stitch.imports import standard_library_lines, third_party_lines, third_party_names
from build.stitch.library import Library
from build.stitch.modules import MAIN, Module, uncollected
from build.stitch.notebook import Cell, code_cell, imports_cell, make_id, sha256_of_sources, sign, to_bytes
from build.stitch.order import Part, Plan, make_plan
from build.stitch.parameters import literal, set_parameters
from build.stitch.proof import require_equal
from build.stitch.refusals import refuse_in
from build.stitch.surroundings import refuse_overtaking
from build.stitch.traps import is_suspicious, looks_like_prompt, refuse_blank_strings, transformed

OWN_HASH = "SOURCE_SHA256"  # a parameter of this name gets the hash of the sources, whatever value is given


@dataclass(frozen=True)
class Stitched:
    """A notebook, and what it was made from."""

    notebook: bytes  # the file's content
    source_sha256: str  # over the script, every inlined module, the parameters and the stitcher's format
    sources: tuple[str, ...]  # paths relative to the root, in the order in which they run; the script is the last
    third_party: tuple[str, ...]  # top-level names of the third-party packages that are imported anywhere


def stitch(main: Path, root: Path, parameters: Mapping[str, object] | None = None) -> Stitched:
    """Return the notebook of a script and of every module under `root` that it needs, validated.

    Args:
        main: the script, in percent format (`# %%` cells) or plain.
        root: the folder that imports of ours start from.
        parameters: values for names that the script's cell tagged `parameters` assigns; `SOURCE_SHA256` among them
            becomes the hash of the sources, so that a notebook can say what it was built from.

    Raises:
        CheckFailed: the notebook would not compute what the package does; carries every reason with file:line.
        WrongUse: there is no such script or folder.
    """
    stitched, cells = _compose(main, root, parameters)
    _validate(stitched, cells)
    return stitched


def compose(main: Path, root: Path, parameters: Mapping[str, object] | None = None) -> Stitched:
    """Do the same with the standard library alone: neither nbformat nor IPython is asked whether they agree."""
    return _compose(main, root, parameters)[0]


def compose_cells(
    main: Path, root: Path, parameters: Mapping[str, object] | None = None, *, built_before: bool = False
) -> tuple[Stitched, list[Cell]]:
    """Do the same and return the cells, too, each with the lines that it shows: what the way back starts from.

    Sources that were built before, by their hash, are not asked again whether they break a rule.
    """
    return _compose(main, root, parameters, built_before)


def _compose(
    main: Path, root: Path, parameters: Mapping[str, object] | None, built_before: bool = False
) -> tuple[Stitched, list[Cell]]:
    with uncollected():
        return _assemble(main, root, parameters, built_before)


def _assemble(
    main: Path, root: Path, parameters: Mapping[str, object] | None, built_before: bool
) -> tuple[Stitched, list[Cell]]:
    main, root = main.resolve(), root.resolve()
    if not root.is_dir():
        raise WrongUse(f"no folder at {root}")
    if not main.is_file():
        raise WrongUse(f"no script at {main}")
    library = Library(root)
    package = ".".join(main.parent.relative_to(root).parts) if main.is_relative_to(root) else ""
    script = library.read(main, MAIN, package)
    if script is None:
        raise _failure(library)
    library.modules[MAIN] = script
    _refuse_neighbours(script, library)
    segments = cut(script, library)
    plan = make_plan(library, script, segments)
    if not built_before:
        for module in plan.everything:
            refuse_in(module, library)
        refuse_collisions(plan, library)
        refuse_overtaking(plan, library)
    texts = [(module.where, module.text) for module in plan.everything]
    values = dict(sorted((parameters or {}).items()))

    def hashed() -> str:
        return sha256_of_sources(texts, literal(values))

    cells = _cells(plan, segments, values | ({OWN_HASH: hashed()} if OWN_HASH in values else {}), library)
    if library.problems:
        raise _failure(library)
    sha256 = hashed()
    cells = sign(cells, script.where, len(plan.modules), sha256)
    assert len({cell.id for cell in cells}) == len(cells), "cell ids must be unique"
    sources = tuple(module.where for module in plan.everything if not module.path.is_dir())
    names = third_party_names(plan, library)
    return Stitched(to_bytes(cells, script.where, sha256), sha256, sources, names), cells


def _failure(library: Library) -> CheckFailed:
    def place(problem: Problem) -> tuple[str, int, str]:
        where, _, line = problem.where.rpartition(":")
        return where, int(line) if line.isdigit() else 0, problem.what

    return CheckFailed(sorted(library.problems, key=place))


def _refuse_neighbours(script: Module, library: Library) -> None:
    """`python script.py` also finds modules beside the script; the stitcher looks under the root alone."""
    if script.path.parent == library.root:
        return
    for site in script.names.sites:
        names = [alias.name for alias in site.node.names]
        level = getattr(site.node, "level", 0)
        if hasattr(site.node, "module"):
            names = [site.node.module or ""] if not level else []
        for name in names:
            top = name.split(".")[0]
            beside = script.path.parent / top
            if (
                top
                and not library.is_ours(top)
                and (beside.with_suffix(".py").is_file() or (beside / "__init__.py").is_file())
            ):
                library.refuse(
                    script.at(site.node),
                    f"{top} lies beside the script, not under the root",
                    "import it by its full name",
                )


# -- cells ---------------------------------------------------------------------------------------------------------


def _cells(plan: Plan, segments: list[Segment], parameters: Mapping[str, object], library: Library) -> list[Cell]:
    """Return the notebook's cells, without the note on the sources."""
    standard, third = standard_library_lines(plan, library), third_party_lines(plan, library)
    drafts = {module.name: rewrite(module, plan, library) for module in plan.everything}
    set_parameters(drafts[MAIN], segments, parameters, library)
    cells: list[Cell] = []
    proofs: dict[str, list[tuple[int, str]]] = {module.name: [] for module in plan.everything}
    for step in plan.steps:
        if isinstance(step, Module):
            cells += _module_cells(step, drafts[step.name], proofs[step.name], library)
        elif isinstance(step, Part):
            cells += _part_cells(step, drafts[MAIN], proofs[MAIN], library)
        elif third:
            cells.append(imports_cell("third-party", third))
    if standard:
        position = next((index for index, cell in enumerate(cells) if cell.kind == "code"), len(cells))
        cells.insert(position, imports_cell("standard-library", standard))
    for module in plan.everything if not library.problems else []:
        require_equal(drafts[module.name], proofs[module.name], library)
    return cells


def _docstring_cell(module: Module) -> list[Cell]:
    import inspect

    if module.docstring is None:
        return []
    text = inspect.cleandoc(module.docstring.value.value)  # type: ignore[attr-defined]
    span = (module.docstring.lineno, module.docstring.end_lineno or 0)
    return [Cell(make_id(module.where, 0), "markdown", text, module.where, span=span)] if text.strip() else []


def _module_cells(module: Module, draft: Draft, proof: list[tuple[int, str]], library: Library) -> list[Cell]:
    """Return a library module's cells: its docstring, then its code; nothing when nothing but imports is left."""
    if all(id(node) in draft.gone and not draft.gone[id(node)] for node in module.tree.body):
        return []
    cells = _docstring_cell(module)
    for segment in cut(module, library):
        cells += _part_cells(Part(segment, 1, segment.first, segment.last), draft, proof, library)
    return cells


def _part_cells(part: Part, draft: Draft, proof: list[tuple[int, str]], library: Library) -> list[Cell]:
    """Return the cell of one segment, or of a piece of it; none when nothing is left in it."""
    module, segment = draft.module, part.segment
    numbers = (segment.ordinal,) if part.number == 1 else (segment.ordinal, part.number)
    span = (segment.marker or part.first, part.last) if part.number == 1 else (part.first, part.last)
    if segment.kind == "markdown":
        text = markdown(module, segment)
        cell = Cell(make_id(module.where, *numbers), "markdown", text, module.where, segment.ordinal, span=span)
        return [cell] if text else []
    before: list[Cell] = []
    docstring = module.docstring
    if module.is_main and docstring is not None and part.first <= docstring.lineno <= part.last:
        before = _docstring_cell(module)
    lines = draft.lines(part.first, part.last)
    if not lines:
        return before
    refuse_blank_strings(module, lines, library)
    proof.append((lines[0].number, "\n".join(line.text for line in lines)))
    if looks_like_prompt(lines[0].text):
        lines.insert(0, Line("", 0))
    if segment.title and part.number == 1:
        lines.insert(0, Line(f"# {segment.title}", segment.marker))
    return [
        *before,
        code_cell(make_id(module.where, *numbers), module.where, lines, segment.ordinal, segment.tags, span),
    ]


# -- what others say -----------------------------------------------------------------------------------------------


def _validate(stitched: Stitched, cells: list[Cell]) -> None:
    """Ask nbformat whether the file is a notebook, and IPython whether it would leave every cell as it is."""
    import json

    import nbformat

    problems = []
    try:
        nbformat.validate(json.loads(stitched.notebook))
    except nbformat.ValidationError as error:
        problems.append(Problem(what=f"nbformat refuses the notebook: {error.message}", where=stitched.sources[-1]))
    for cell in cells:
        if cell.kind == "code" and is_suspicious(cell.source):
            changed = transformed(cell.source).split("\n")
            for number, (before, after) in enumerate(zip(cell.source.split("\n"), changed, strict=False)):
                if before != after:
                    line = cell.lines[number] or 1
                    problems.append(
                        Problem(
                            what=f"IPython would change this line to {after.strip()!r}",
                            where=f"{cell.where}:{line}",
                            cure="write it otherwise: it looks like a prompt or a magic",
                        )
                    )
                    break
    if problems:
        raise CheckFailed(problems)

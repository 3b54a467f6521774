"""A script with everything that it needs, stitched but for the values of its parameters.

The notebooks of one script differ by these alone, so sources are read, ordered, judged and cut into cells once.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.stitch.aliases import refuse_absent, rewrite
from build.stitch.cells import Segment, cut, markdown
from build.stitch.collisions import refuse_collisions
from build.stitch.data_files import CarriedFile, carried, refuse_data_files
from build.stitch.drafts import Draft, Line, require_equal
from build.stitch.import_places import refuse_perhaps_missing, staying_imports
from build.stitch.imports import gathered_imports, standard_library_lines, third_party_lines, third_party_names
from build.stitch.ipython_differences import looks_like_prompt, refuse_blank_strings
from build.stitch.library import Library
from build.stitch.modules import MAIN, Module
from build.stitch.notebook import CHAPTERS, Cell, code_cell, imports_cell, make_id, sha256_of_sources, sign, to_bytes
from build.stitch.order import Part, Piece, Plan, make_plan, package_of
from build.stitch.parameters import literal, set_parameters
from build.stitch.renames import NOTHING, Renames
from build.stitch.renaming import rename
from build.stitch.rules import refuse_in
from build.stitch.search_path import set_search_path
from build.stitch.set_up import ARGUMENTS, free_name, refuse_borrowed, set_up_cells
from build.stitch.side_effects import check_import_order

OWN_HASH = "SOURCE_SHA256"  # a parameter of this name gets the hash of the sources, whatever value is given
PARTS = "PARTS"  # a parameter of this name lists the optional parts that the notebook holds
_HEADING = re.compile(r"(#+) +(.+)")
Proof = list[tuple[int, str]]  # a module's code cells: the line where each begins, and its text


@dataclass(frozen=True)
class Stitched:
    """A notebook, and what it was made from."""

    cells: tuple[Cell, ...]
    source_sha256: str  # over the script, every inlined module, the parameters and the stitcher's format
    sources: tuple[str, ...]  # paths relative to the root, in the order in which they run; the script is the last
    third_party: tuple[str, ...]  # top-level names of the third-party packages that are imported anywhere
    mode: str = "inline"  # or "files": the sources are written to disk and run as a process
    reason: str = ""  # why it is in files, in one line
    renamed: Mapping[str, str] = field(default_factory=dict)  # name in the notebook → name in its source

    @property
    def notebook(self) -> bytes:
        """The file's content."""
        return to_bytes(self.cells, self.sources[-1], self.source_sha256)


@dataclass(frozen=True, eq=False)
class Template:
    """The cells of a script's notebooks, and what is needed to fill in the parameters."""

    library: Library
    plan: Plan
    segments: list[Segment]
    draft: Draft  # of the script
    steps: list[tuple[Part | None, list[Cell], Proof]]  # in the notebook's order; the script's parts with their proof
    standard_library: list[str]  # lines of its imports
    third_party: tuple[str, ...]
    set_up: list[Cell]  # above everything else that runs, for somebody else's script
    carried: list[CarriedFile]  # which the set-up writes
    renamed: Mapping[str, str]  # name in the notebook → name in its source

    def fill(self, parameters: Mapping[str, object]) -> Stitched:
        """Return the notebook with these parameters.

        Raises:
            CheckFailed: the sources break a rule, or the script has no such parameters; carries every reason.
        """
        main = self.plan.main
        texts = [(module.where, module.source_text) for module in self.plan.everything]
        texts += [(file.path, file.text) for file in self.carried]
        values = dict(sorted(parameters.items()))
        noted = {**values, ARGUMENTS: self.library.arguments} if self.library.foreign else values
        library = replace(self.library, problems=[*self.library.problems])
        draft = replace(self.draft, edits=[*self.draft.edits], values={**self.draft.values})
        own = {OWN_HASH: sha256_of_sources(texts, literal(noted))} if OWN_HASH in values else {}
        set_parameters(draft, self.segments, values | own, library)
        cells: list[Cell] = []
        proof: Proof = []
        for part, made, proved in self.steps:
            if part is not None and _has_parameters(part):
                made, proved = _part_cells(part, draft, library)
            cells += made
            proof += proved
        if self.library.foreign:  # its docstring is the title, and nothing of the library stands above the set-up
            cells.sort(key=lambda cell: (cell.kind, cell.where, cell.ordinal) != ("markdown", main.where, 0))
            above = (cell.kind != "markdown" or cell.where != main.where for cell in cells)
        else:
            above = (cell.kind == "code" for cell in cells)
        position = next((index for index, ends in enumerate(above) if ends), len(cells))
        standard = [imports_cell("standard-library", self.standard_library)] if self.standard_library else []
        cells[position:position] = [*self.set_up, *standard]
        if not library.problems:
            require_equal(draft, proof, library)
        if library.problems:
            raise _failure(library)
        sha256 = sha256_of_sources(texts, literal(noted))
        cells = sign(cells, main.where, len(self.plan.modules), sha256)
        assert len({cell.id for cell in cells}) == len(cells), "cell ids must be unique"
        sources = tuple(module.where for module in self.plan.everything if not module.path.is_dir())
        return Stitched(tuple(cells), sha256, sources, self.third_party, renamed=self.renamed)


def read_template(
    main: Path,
    root: Path,
    parameters: Mapping[str, object] | None = None,
    *,
    built_before: bool = False,
    like: Template | None = None,
    arguments: str | None = None,
    data: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Template:
    """Read a script and what it needs; of sources that were built before no rule is asked again.

    Of the optional parts it holds those that the parameter `PARTS` names, else those of the script's own `PARTS`; all
    where there is none. What `like`, the same script with other parts, has read, judged and rewritten of the sources a
    moment ago is taken as it is.

    What breaks a rule is said when the template is filled.

    Raises:
        CheckFailed: the script cannot be read.
        UsageError: there is no such script or folder.
    """
    main, root = main.resolve(), root.resolve()
    if not root.is_dir():
        raise UsageError(f"no folder at {root}")
    if not main.is_file():
        raise UsageError(f"no script at {main}")
    parts = parts_in(parameters or {})
    library = Library(root, None if parts is None else frozenset(parts), arguments)
    if like is not None and not like.library.problems:  # which are said once
        library = replace(like.library, parts=library.parts, problems=[])
    package = ".".join(main.parent.relative_to(root).parts) if main.is_relative_to(root) else ""
    script = library.modules.get(MAIN) or library.read(main, MAIN, package)
    if script is None:
        raise _failure(library)
    library.modules[MAIN] = script
    if parts is None and not library.foreign and (own := parts_in(_own_parts(script))) is not None:
        library = replace(library, parts=frozenset(own))
    if library.foreign:
        set_search_path(script, library)
        library.decide(script)
    segments = cut(script, library)
    plan = make_plan(library, script, segments)
    renames = NOTHING
    files: list[CarriedFile] = []
    if library.foreign:
        plan = _let_stay(plan, segments, library)
        library, plan, segments, renames = _with_new_names(library, plan, segments)
        script = plan.main
        library.working_folder = free_name("WORKING_FOLDER", [module.text for module in plan.everything])
        files, problems = carried(plan.everything, root, data, without)
        library.problems += problems
    if not library.foreign:
        _refuse_neighbours(script, library)
    if not built_before:
        _refuse_unknown_parts(plan, library)
        for module in plan.everything:
            library.once(refuse_in, module)
            if not library.foreign:  # of which such files are carried
                library.once(refuse_data_files, module)
        refuse_collisions(plan, library, renames.reasons)
        if library.foreign:
            refuse_perhaps_missing(plan, library)
        else:
            check_import_order(plan, library)
    gathered = gathered_imports(plan)
    standard, third = standard_library_lines(gathered, plan, library), third_party_lines(gathered)
    for module in plan.everything:
        refuse_absent(library.once(rewrite, module), plan, library)
    draft = library.once(rewrite, script)
    steps: list[tuple[Part | None, list[Cell], Proof]] = []
    chapters = _Chapters(plan, library)
    for number, step in enumerate(plan.layout):
        if isinstance(step, Module | Piece):
            cells = _step_cells(step, plan, library)
            steps.append((None, [*(chapters.heading(number) if cells else []), *cells], []))
        elif isinstance(step, Part):
            chapters.leave()
            steps.append((step, *(([], []) if _has_parameters(step) else _part_cells(step, draft, library))))
        elif third:
            steps.append((None, [imports_cell("third-party", third)], []))
    set_up = set_up_cells(plan, library, files) if library.foreign else []
    refuse_borrowed(plan, set_up, library)
    names = third_party_names(plan, library)
    renamed = {new: old for (_, old), new in sorted(renames.names.items())}
    return Template(library, plan, segments, draft, steps, standard, names, set_up, files, renamed)


def _with_new_names(
    library: Library, plan: Plan, segments: list[Segment]
) -> tuple[Library, Plan, list[Segment], Renames]:
    """Return the same of the sources in which what clashes is renamed."""
    renamed, renames = rename(plan, library)
    if renamed is library:
        return library, plan, segments, renames
    for module in plan.everything:  # those that are read anew, and whoever has their names by a star
        found = renamed.modules[module.name] or module
        if found is not module or any(site.aliases for site in module.names.sites):
            renamed.decide(found)
    script = renamed.modules[MAIN] or plan.main
    again = cut(script, renamed)
    new = _let_stay(make_plan(renamed, script, again), again, renamed)
    if not new.is_like(plan):
        renamed.refuse(script.at(1), "with names that do not clash the modules run in another order", "rename them")
    return renamed, new, again, renames


def _let_stay(plan: Plan, segments: list[Segment], library: Library) -> Plan:
    """Return the order in which no third-party import is gathered that must not be, and note where modules are cut."""
    if stay := staying_imports(plan, library):
        library.let_stay(stay)
        plan = make_plan(library, plan.main, segments)
    for module in plan.modules:
        library.cuts[module.name] = plan.cuts(module)
    return plan


def parts_in(parameters: Mapping[str, object]) -> tuple[str, ...] | None:
    """Return the optional parts that the parameters name; None where they say nothing, and the notebook has all."""
    value = parameters.get(PARTS)
    return tuple(map(str, value)) if isinstance(value, (tuple, list)) else None


def _own_parts(script: Module) -> dict[str, object]:
    """Return what the script itself sets `PARTS` to, under that name; nothing where it does not."""
    for node in script.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == PARTS:
            return {PARTS: ast.literal_eval(node.value)}
    return {}


def _refuse_unknown_parts(plan: Plan, library: Library) -> None:
    known = {imported.part for module in plan.everything for imported in library.imports(module)} - {""}
    for part in sorted((library.parts or frozenset()) - known):
        library.refuse(
            f"{plan.main.where}:1",
            f"{PARTS} names {part!r}, which is not an optional part",
            f"there are {', '.join(sorted(known)) or 'none'}",
        )


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


def _has_parameters(part: Part) -> bool:
    return "parameters" in part.segment.tags


def _step_cells(step: Module | Piece, plan: Plan, library: Library) -> list[Cell]:
    """Return the cells of a library module, of its beginning, or of what is left below its last cut."""
    if isinstance(step, Piece):
        return [cell for cell in library.once(_module_cells, step.module) if step.first <= cell.span[1] <= step.last]
    above = max(plan.cuts(step), default=0)
    return [cell for cell in library.once(_module_cells, step) if cell.span[1] > above]


def _module_cells(module: Module, library: Library) -> list[Cell]:
    """Return a library module's cells: its docstring, then its code; nothing when nothing but imports is left.

    In a chapter a module's heading is one level below it, and a package's own docstring is the chapter's.
    """
    draft, chapter = library.once(rewrite, module), _has_chapter(module, library)
    if all(id(node) in draft.gone and not draft.gone[id(node)] for node in module.tree.body):
        return []
    cells, proof = [] if chapter and module.is_package else _docstring_cell(module, lower=chapter), Proof()
    for segment in cut(module, library):
        lasts = [line for line in library.cuts.get(module.name, []) if segment.first <= line < segment.last]
        firsts = [segment.first, *(line + 1 for line in lasts)]
        for number, (first, last) in enumerate(zip(firsts, [*lasts, segment.last], strict=True), 1):
            more, proved = _part_cells(Part(segment, number, first, last), draft, library)
            cells += more
            proof += proved
    if not library.problems:
        require_equal(draft, proof, library)
    return cells


def _part_cells(part: Part, draft: Draft, library: Library) -> tuple[list[Cell], Proof]:
    """Return the cell of one segment, or of a piece of it, with its proof; none when nothing is left in it."""
    module, segment = draft.module, part.segment
    numbers = (segment.ordinal,) if part.number == 1 else (segment.ordinal, part.number)
    span = (segment.marker or part.first, part.last) if part.number == 1 else (part.first, part.last)
    if segment.kind == "markdown":
        text = markdown(module, segment)
        cell = Cell(make_id(module.where, *numbers), "markdown", text, module.where, segment.ordinal, span=span)
        return ([cell] if text else []), []
    before: list[Cell] = []
    docstring = module.docstring
    if module.is_main and docstring is not None and part.first <= docstring.lineno <= part.last:
        before = _docstring_cell(module)
    lines = draft.lines(part.first, part.last)
    if not lines:
        return before, []
    refuse_blank_strings(module, lines, library)
    proof = [(next((line.number for line in lines if line.number), 0), "\n".join(line.text for line in lines))]
    if looks_like_prompt(lines[0].text):
        lines.insert(0, Line("", 0))
    if segment.title and part.number == 1:
        lines.insert(0, Line(f"# {segment.title}", segment.marker))
    id_, folded = make_id(module.where, *numbers), not module.is_main
    cell = code_cell(id_, module.where, lines, segment.ordinal, segment.tags, span, folded)
    return [*before, cell], proof


# -- chapters ----------------------------------------------------------------------------------------------------------


class _Chapters:
    """Says, from the top of the notebook to its end, which chapter begins where.

    A package whose docstring begins with a heading is a chapter, and its modules' headings are one level below. Without
    it the modules stand in the notebook with the headings that they have.
    """

    def __init__(self, plan: Plan, library: Library) -> None:
        """Begin above the first cell."""
        self.plan = plan
        self.library = library
        self.inside = ""  # the package in which the notebook is
        self.times: dict[str, int] = {}  # package → how often its chapter has begun

    def leave(self) -> None:
        """Go on with the script."""
        self.inside = ""

    def heading(self, number: int) -> list[Cell]:
        """Return the heading above a module, by its place in the notebook, where it begins or continues a chapter."""
        step = self.plan.layout[number]
        module = step.module if isinstance(step, Piece) else step
        assert isinstance(module, Module)
        package = self.library.load(package_of(module))
        if package is None or package.name == self.inside:
            return []
        self.inside = package.name
        if not _has_chapter(module, self.library):
            return []
        times = self.times[package.name] = self.times.get(package.name, 0) + 1
        text = _docstring(package)
        folded = self._ends_by_heading(number, len(_heading(text)[0]))
        if times == 1:
            return _docstring_cell(package, folded=folded)
        level, title = _heading(text)
        id_ = make_id(package.where, 0, times)
        return [Cell(id_, "markdown", f"{level} {title} (continued)", CHAPTERS, folded=folded)]

    def _ends_by_heading(self, number: int, level: int) -> bool:
        """Whether the script goes on below with a heading, so that a folded chapter hides nothing of the script."""
        part = next((step for step in self.plan.layout[number:] if isinstance(step, Part)), None)
        if part is None or part.segment.kind != "markdown":
            return False
        found = _heading(markdown(self.plan.main, part.segment))
        return 0 < len(found[0]) <= level


def _has_chapter(module: Module, library: Library) -> bool:
    """Whether a module's package has a chapter."""
    package = library.load(package_of(module))
    return package is not None and package.is_package and bool(_heading(_docstring(package))[0])


def _docstring_cell(module: Module, *, lower: bool = False, folded: bool = False) -> list[Cell]:
    """Return the cell of a module's docstring, its heading one level lower if asked; none where there is no text."""
    text = _docstring(module)
    if module.docstring is None or not text.strip():
        return []
    text = f"#{text}" if lower and _heading(text)[0] else text
    span = (module.docstring.lineno, module.docstring.end_lineno or 0)
    return [Cell(make_id(module.where, 0), "markdown", text, module.where, span=span, folded=folded)]


def _docstring(module: Module) -> str:
    return ast.get_docstring(module.tree) or ""


def _heading(text: str) -> tuple[str, str]:
    """Return level and title of the heading that a text begins with, "" twice where it begins otherwise."""
    found = _HEADING.match(text)
    return (found[1], found[2].strip()) if found else ("", "")

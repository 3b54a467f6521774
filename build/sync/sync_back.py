"""The whole way back, in memory: a notebook's edits as changes of sources, proved before they are written.

The proof: the base's sources with the edits in them are stitched, and must give the edited notebook again, cell by
cell. What does not is refused; so a mistake in finding the way back cannot write a wrong source.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.notebooks.base import Base, find, read_sources, stitch_texts
from build.notebooks.edited_cells import Edited, EditedCell
from build.stitch.modules import uncollected
from build.stitch.notebook import CHAPTERS, GENERATED, IMPORTS
from build.sync.cell_matching import CellMatching, base_text, match
from build.sync.cell_problems import cell_problems, nesting
from build.sync.imports import Clause, add, without_imports
from build.sync.last_sync import recall
from build.sync.mapping import apply
from build.sync.merging import Merge, merge_text
from build.sync.names import early_uses, follow, hoist, late_imports, left_behind
from build.sync.parameters import split_parameters
from build.sync.proof import prove, shows_otherwise
from build.sync.sync_result import SyncResult
from kernel_src.runtime.untrusted import quoted


def sync_back(
    edited: Edited,
    root: Path,
    guesses: Sequence[Mapping[str, object]] = (),
    *,
    parameters: bool = False,
    notebook: Path | None = None,
) -> SyncResult:
    """Find what an edited notebook changes in the sources of today; nothing is written.

    Args:
        edited: the notebook as somebody left it.
        root: of the repository.
        guesses: parameters that it may have been built with.
        parameters: whether values of the parameters cell are written back, too.
        notebook: its file, from which an earlier sync may have written something back.

    Raises:
        CheckFailed: the notebook does not say what it was built from, or that build is not known.
    """
    if not edited.sha256:
        what = "does not say which build it came from: the note `sources sha256 …` in its first cell is gone or changed"
        raise CheckFailed([Problem(what=what, cure="put the note back from the built notebook, then sync again")])
    with uncollected():
        base, earlier = find(root, edited.sha256, guesses), recall(root, notebook, edited.sha256)
        try:
            result = merge_back(edited, base, read_sources(root), earlier, parameters=parameters)
        except (RecursionError, MemoryError):
            deepest = max(edited.cells, key=lambda cell: nesting(cell.text) if cell.kind == "code" else 0)
            what, cure = "contains code that is nested too deeply to be read", "write it in several statements"
            raise CheckFailed([Problem(what=what, where=deepest.where, cure=cure)]) from None
    result.notebook, result.base = notebook, base
    return result


def merge_back(
    edited: Edited, base: Base, mine: Mapping[str, str], earlier: Mapping[str, str], *, parameters: bool = False
) -> SyncResult:
    """Do the same with the base, the sources of today and what was written back earlier given."""
    result = SyncResult()
    matching = match(base.cells, edited.cells)
    result.problems += matching.problems + cell_problems(edited.cells, matching)
    cells = list(edited.cells)
    result.scratch = [_described(cells[index]) for index in matching.scratch]
    if result.problems:
        result.edited = True
        return result
    result.notes += [
        f"{cells[index].where} repeats a chapter's heading: the build writes it, so this edit stays in the notebook"
        for index, number in matching.base_of.items()
        if number >= 0 and base.cells[number].where == CHAPTERS and cells[index].text != base_text(base.cells[number])
    ]
    _parameters(cells, base, matching, result, parameters)
    theirs = _edited_sources(cells, base, matching, result)
    changed = {where for where, text in theirs.items() if text != base.texts.get(where)}
    result.edited = bool(changed or result.parameters or result.scratch or result.problems)
    if result.problems or not (changed or shows_otherwise(cells, base, matching)):
        result.notes += [f"{where} keeps what an earlier sync wrote back" for where in sorted(earlier)]
        return result
    result.edited = True
    prove(cells, theirs, base, matching, result)
    if not result.problems:
        result.theirs = {where: theirs[where] for where in changed}
        _merge(theirs, base, mine, earlier, result)
    return result


# -- the edited sources --------------------------------------------------------------------------------------------


def _parameters(cells: list[EditedCell], base: Base, matching: CellMatching, result: SyncResult, write: bool) -> None:
    for index, number in matching.base_of.items():
        if number >= 0 and "parameters" in base.cells[number].tags:
            text, edits, problems = split_parameters(
                base_text(base.cells[number]),
                cells[index].text,
                base.parameters,
                write,
                cells[index].where,
                base.main,
            )
            cells[index] = replace(cells[index], text=text)
            result.parameters, result.written_parameters = edits, write
            result.problems += problems


def _edited_sources(cells: list[EditedCell], base: Base, matching: CellMatching, result: SyncResult) -> dict[str, str]:
    """Return all sources with the edits and with imports that follow them."""
    library = {cell.where for cell in base.cells if cell.where not in {*GENERATED, base.main}}
    known, extra = dict[str, Clause](), dict[str, list[Clause]]()
    there: set[Clause] = set()
    for index, cell in enumerate(cells):
        number = matching.base_of.get(index, None)
        if cell.kind != "code" or (number is None and index not in matching.added and not _is_piece(index, matching)):
            continue
        text, clauses = without_imports(cell.text)
        there |= set(clauses)
        known |= {clause.bound: clause for clause in clauses}
        where = matching.added.get(index) or (base.cells[number].where if number is not None and number >= 0 else "")
        if (number == -1 or where == IMPORTS) and text.strip().removeprefix("from __future__ import annotations"):
            what = f"only imports can be written back from this cell, not {quoted(text.strip().splitlines()[-1])}"
            cure = "move it to a cell of a module"
            result.problems.append(Problem(what=what, where=cell.where, cure=cure))
        if where in library and clauses:
            extra.setdefault(where, []).extend(clauses)
    if result.problems:
        return dict(base.texts)
    original = {clause for cell in base.cells if cell.where == IMPORTS for clause in without_imports(cell.source)[1]}
    known = {clause.bound: clause for clause in original & there} | known
    mapped = apply(base, cells, matching)
    result.problems += mapped.problems
    texts = mapped.texts
    try:
        for where in mapped.changed:
            ast.parse(texts[where])
            if where in extra:
                late = [clause for clause in late_imports(texts[where]) if clause in extra[where]]
                texts[where] = hoist(texts[where])
                for clause in late:
                    texts[where] = add(texts[where], clause, base.main.split("/")[0])
    except SyntaxError as error:
        what = f"the edit leaves a source that Python cannot read: {error.msg} in line {error.lineno}"
        result.problems.append(Problem(what=what, where=where, cure="edit the source instead"))
        return texts
    needed = frozenset({*library, base.main} | {w for w in base.texts if _is_used(w, base)})
    followed = follow(base.texts, texts, base.main, known, original - there, needed)
    result.problems += followed.problems
    result.notes += followed.notes
    for where in mapped.changed:
        old = early_uses(base.texts[where])
        for name, line in early_uses(followed.texts[where]).items():
            if name not in old:
                what = f"{name} is used above the cell that defines it"
                result.problems.append(Problem(what=what, where=f"{where}:{line}", cure="move the cells back"))
    return followed.texts


def _is_used(where: str, base: Base) -> bool:
    """Whether a source without cells of its own (imports only) may be part of the notebook."""
    return where.endswith("/__init__.py")


def _is_piece(index: int, matching: CellMatching) -> bool:
    return any(index in pieces for pieces in matching.pieces.values())


def _described(cell: EditedCell) -> str:
    line = cell.text.strip().splitlines()[0]
    return f"{cell.where} ({line[:60]!r}) belongs to no module and stays in the notebook"


# -- three ways ----------------------------------------------------------------------------------------------------


def _merge(
    theirs: Mapping[str, str], base: Base, mine: Mapping[str, str], earlier: Mapping[str, str], result: SyncResult
) -> None:
    merged: dict[str, str] = {}
    changed = sorted({*result.theirs, *earlier})
    hidden = {where: text for where, text in mine.items() if where not in changed and _is_hidden(where, base)}
    result.problems += left_behind(base.texts, {**base.texts, **theirs}, base.main, hidden)
    for where in changed:
        if where not in mine:
            what = "was deleted or moved since the notebook was built"
            result.problems.append(
                Problem(what=what, where=where, cure="bring it back, or carry the edit over by hand")
            )
            continue
        built = base.texts.get(where, "")
        ancestor = earlier.get(where, built)
        if merge_text(mine[where], built, ancestor) != Merge(mine[where], 0):  # put back since: it is written again
            ancestor = built
        one = merge_text(mine[where], ancestor, theirs.get(where, built))
        if one.conflicts:
            result.conflicts[where] = one.text
        elif one.text != mine[where]:
            merged[where] = one.text
            if where in earlier and where not in result.theirs:
                result.notes.append(f"{where} loses what an earlier sync wrote back: the notebook no longer has it")
    if merged and not result.conflicts and dict(mine) != base.texts:
        try:
            stitch_texts({**mine, **merged}, base.main, base.parameters)
        except CheckFailed as failed:
            result.problems += [
                replace(problem, what=f"the edit does not fit the sources as they are now: {problem.what}")
                for problem in failed.problems
            ]
    result.texts = {} if result.problems else merged


def _is_hidden(where: str, base: Base) -> bool:
    """Whether the notebook shows nothing of a source."""
    return where != base.main and all(cell.where != where for cell in base.cells)

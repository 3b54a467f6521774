"""The whole way back, in memory: a notebook's edits as changes of sources, proved before they are written.

The proof: the base's sources with the edits in them are stitched, and must give the edited notebook again, cell by
cell. What does not is refused; so a mistake in finding the way back cannot write a wrong source.
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.notebooks.base import Base, find
from build.notebooks.edited_cells import Edited, EditedCell
from build.notebooks.synced import recall
from build.stitch.modules import uncollected
from build.stitch.notebook import CHAPTERS, GENERATED, IMPORTS
from build.sync.cell_matching import CellMatching, base_text, match
from build.sync.imports import Clause, add, without_imports
from build.sync.mapping import apply
from build.sync.merging import Merge, merge_text
from build.sync.names import early_uses, follow, hoist, late_imports, left_behind
from build.sync.parameters import split_parameters
from build.sync.proof import prove, shows_otherwise
from build.sync.source_names import under_source_names
from build.sync.sync_result import SyncResult
from kernel_src.runtime.untrusted import quoted

MOST_BITS = 10_000  # of a whole number: Python writes no more than 4,300 digits
_MAGIC = re.compile(r"\s*(%%?\w|!|\?\w|\w[\w.]*\?\??\s*$|[\w, ]+=\s*[!%])")


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
            result = merge_back(edited, base, base.today(root), earlier, parameters=parameters)
        except (RecursionError, MemoryError):
            deepest = max(edited.cells, key=lambda cell: _nesting(cell.text) if cell.kind == "code" else 0)
            raise CheckFailed([_nested(deepest)]) from None
    result.notebook, result.base = notebook, base
    return result


def merge_back(
    edited: Edited, base: Base, mine: Mapping[str, str], earlier: Mapping[str, str], *, parameters: bool = False
) -> SyncResult:
    """Do the same with the base, the sources of today and what was written back earlier given."""
    result = SyncResult()
    matching = match(base.cells, edited.cells)
    result.problems += matching.problems + _cell_problems(edited.cells, matching)
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
    theirs = _edited_sources(*under_source_names(cells, base), matching, result)
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


# -- cells that no module can hold -------------------------------------------------------------------------------


def _cell_problems(edited: Sequence[EditedCell], matching: CellMatching) -> list[Problem]:
    """Return what is wrong with cells to be written back; a new one with a magic is refused even without a claim."""
    problems: list[Problem] = []
    for index, cell in enumerate(edited):
        is_written_back = index not in matching.scratch
        if cell.kind == "markdown" and is_written_back and cell.attached:
            problems.append(
                Problem(what="contains a pasted picture", where=cell.where, cure="link to a picture on the web instead")
            )
        if cell.kind != "code" or "scratch" in cell.tags:
            continue
        if problem := _unreadable(cell, is_written_back):
            problems.append(problem)
    return problems


def _unreadable(cell: EditedCell, is_written_back: bool) -> Problem | None:
    try:
        numbers = [node.value for node in ast.walk(ast.parse(cell.text)) if isinstance(node, ast.Constant)]
        if is_written_back and any(isinstance(number, int) and number.bit_length() > MOST_BITS for number in numbers):
            return Problem(what="contains a number that is too long to be written", where=cell.where, cure="compute it")
        return None
    except (RecursionError, MemoryError):
        return _nested(cell) if is_written_back else None
    except (SyntaxError, ValueError) as error:
        lines = cell.text.split("\n")
        magic = next((line for line in lines if _MAGIC.match(line) and not _parses(line)), None)
        if magic is not None:
            cure = "a module cannot contain magics: tag the cell `scratch`, or write it as Python"
            return Problem(what=f"IPython's own line {quoted(magic.strip())}", where=cell.where, cure=cure)
        if not is_written_back:
            return None
        number = getattr(error, "lineno", None) or 1
        text = lines[number - 1].strip() if number <= len(lines) else ""
        what = f"syntax error: {getattr(error, 'msg', error)} in {quoted(text)}"
        return Problem(what=what, where=f"{cell.where}, line {number + bool(cell.claim)}", cure="correct it")


def _nested(cell: EditedCell) -> Problem:
    what, cure = "contains code that is nested too deeply to be read", "write it in several statements"
    return Problem(what=what, where=cell.where, cure=cure)


def _parses(line: str) -> bool:
    try:
        ast.parse(line.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _nesting(text: str) -> float:
    """Return how deeply a cell's code is nested, in nodes of its tree; infinite where Python cannot tell."""
    try:
        level: list[ast.AST] = [ast.parse(text)]
    except SyntaxError:
        return 0
    except (ValueError, RecursionError, MemoryError):
        return math.inf
    depth = 0
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


# -- the edited sources --------------------------------------------------------------------------------------------


def _parameters(cells: list[EditedCell], base: Base, matching: CellMatching, result: SyncResult, write: bool) -> None:
    for index, number in matching.base_of.items():
        if number >= 0 and "parameters" in base.cells[number].tags:
            text, edits, problems = split_parameters(
                base_text(base.cells[number]), cells[index].text, base.parameters, write, cells[index].where
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
    texts = apply(base, cells, matching, result.problems)
    changed = [where for where, text in texts.items() if text != base.texts[where]]
    try:
        for where in changed:
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
    packages = {where for where in base.texts if where.endswith("/__init__.py")}  # of imports alone: without cells
    needed = frozenset({*library, base.main, *packages})
    texts = follow(base.texts, texts, base.main, known, original - there, needed, result)
    for where in changed:
        old = early_uses(base.texts[where])
        for name, line in early_uses(texts[where]).items():
            if name not in old:
                what = f"{name} is used above the cell that defines it"
                result.problems.append(Problem(what=what, where=f"{where}:{line}", cure="move the cells back"))
    return texts


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
            base.restitched({**mine, **merged})
        except CheckFailed as failed:
            result.problems += [
                replace(problem, what=f"the edit does not fit the sources as they are now: {problem.what}")
                for problem in failed.problems
            ]
    result.texts = {} if result.problems else merged


def _is_hidden(where: str, base: Base) -> bool:
    """Whether the notebook shows nothing of a source."""
    return where != base.main and all(cell.where != where for cell in base.cells)

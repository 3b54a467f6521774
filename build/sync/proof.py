"""The proof before anything is written: the edited sources are stitched, and must give the edited notebook again."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from build.core.errors import CheckFailed, Problem
from build.notebooks.base import Base
from build.notebooks.edited_cells import EditedCell
from build.stitch.notebook import GENERATED, IMPORTS, Cell
from build.sync.cell_matching import CellMatching, base_text
from build.sync.imports import without_imports
from build.sync.source_names import with_source_names
from build.sync.sync_result import SyncResult
from kernel_src.runtime.untrusted import quoted


@dataclass(frozen=True)
class _Shown:
    """A cell as it is compared: a build gathers imports, and closes the gap that they leave."""

    kind: str
    text: str
    lost_imports: bool = False

    def equals(self, other: "_Shown") -> bool:
        if self.lost_imports or other.lost_imports:
            return self.kind == other.kind and _dense(self.text) == _dense(other.text)
        return (self.kind, self.text) == (other.kind, other.text)


def _says_the_same(one: _Shown, two: _Shown, renamed: Mapping[str, str]) -> bool:
    """Whether two cells differ only where they mention renamed names in comments and Markdown, which nobody runs."""
    if not renamed or one.kind != two.kind:
        return False
    first, second = (_Shown(side.kind, with_source_names(side.text, renamed), side.lost_imports) for side in (one, two))
    if not first.equals(second):
        return False
    return one.kind != "code" or ast.dump(ast.parse(one.text)) == ast.dump(ast.parse(two.text))


def prove(
    cells: list[EditedCell], theirs: Mapping[str, str], base: Base, matching: CellMatching, result: SyncResult
) -> None:
    """Stitch the edited sources and compare with the edited notebook."""
    try:
        rebuilt = base.restitched(theirs)
    except CheckFailed as failed:
        result.problems += [
            replace(problem, what=f"the sources with this edit cannot be stitched: {problem.what}")
            for problem in failed.problems
        ]
        return
    kept = [cell for index, cell in enumerate(cells) if index not in matching.scratch]
    # A notebook that carries the hash of its own sources (OWN_HASH) carries another one after every edit.
    built = [replace(cell, source=cell.source.replace(rebuilt.sha256, base.sha256)) for cell in rebuilt.cells]
    wanted, got = _wanted(cells, base, matching), _built(built)
    for where in sorted({*wanted, *got} - {IMPORTS}):
        mine, other = wanted.get(where, []), got.get(where, [])
        if mine and not other and where in theirs and where != base.main:
            what = "nothing in the notebook needs this module any more, so the next build would leave it out"
            other_cell = quoted(mine[0].text.splitlines()[0])
            cure = f"put back what needs it, or delete its other cells, too, such as {other_cell}"
            result.problems.append(Problem(what=what, where=where, cure=cure))
        elif len(mine) != len(other) or not all(
            one.equals(two) or _says_the_same(one, two, base.renamed) for one, two in zip(mine, other, strict=True)
        ):
            what = "building from the edited sources would not give this notebook again"
            cure = f"make this edit in the source by hand; it concerns {quoted(_first_difference(mine, other))}"
            result.problems.append(Problem(what=what, where=where, cure=cure))
    mine_imports = {shown.text for shown in wanted.get(IMPORTS, [])}
    got_imports = {shown.text for shown in got.get(IMPORTS, [])}
    for text in sorted(mine_imports - got_imports):
        if not text.startswith(f"from {base.main.split('/')[0]}"):
            where = next((cell.where for cell in kept if text in cell.text), "")
            result.problems.append(Problem(what=f"no module uses `{text}`", where=where, cure="use it, or remove it"))
    for text in sorted(got_imports - mine_imports):
        what = f"`{text}` was removed from the notebook but is still used"
        result.problems.append(Problem(what=what, cure="put it back, or change what uses it"))
    _note_moves(cells, base, matching, rebuilt.cells, result)


def shows_otherwise(cells: list[EditedCell], base: Base, matching: CellMatching) -> bool:
    """Tell whether the notebook differs from its build, be it only in what it imports."""
    return _wanted(cells, base, matching) != _built(base.cells)


def _wanted(cells: list[EditedCell], base: Base, matching: CellMatching) -> dict[str, list[_Shown]]:
    kept = [index for index in range(len(cells)) if index not in matching.scratch]
    kept.sort(key=lambda index: not _is_docstring(index, base, matching))  # it stays on top of its module
    return _normal([(_source_of(index, base, matching), cells[index].kind, cells[index].text) for index in kept])


def _is_docstring(index: int, base: Base, matching: CellMatching) -> bool:
    number = matching.base_of.get(index, -1)
    return number >= 0 and base.cells[number].kind == "markdown" and base.cells[number].ordinal == 0


def _built(cells: Sequence[Cell]) -> dict[str, list[_Shown]]:
    return _normal([(cell.where, cell.kind, base_text(cell)) for cell in cells])


def _note_moves(
    cells: list[EditedCell], base: Base, matching: CellMatching, rebuilt: Sequence[Cell], result: SyncResult
) -> None:
    order = [_source_of(index, base, matching) for index in range(len(cells)) if index not in matching.scratch]
    library = list(dict.fromkeys(where for where in order if where not in {*GENERATED, base.main}))
    built = list(dict.fromkeys(cell.where for cell in rebuilt if cell.where not in {*GENERATED, base.main}))
    if [where for where in built if where in library] != library:
        result.notes.append("modules stay where they are first needed: the next build puts them back there")


def _first_difference(mine: list[_Shown], other: list[_Shown]) -> str:
    """Return the first line that only one of both has; of cells in another order, the first that moved."""
    lines = [[line for shown in side for line in shown.text.split("\n")] for side in (mine, other)]
    for one, two in (lines, lines[::-1]):
        if new := [line for line in one if line not in two]:
            return new[0]
    moved = [one.text.split("\n")[0] for one, two in zip(mine, other, strict=False) if not one.equals(two)]
    return moved[0] if moved else "where cells begin"


def _source_of(index: int, base: Base, matching: CellMatching) -> str:
    if index in matching.added:
        return matching.added[index]
    for first, pieces in matching.pieces.items():
        if index in pieces:
            index = first
    number = matching.base_of.get(index, -1)
    return base.cells[number].where if number >= 0 else IMPORTS


def _dense(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def _normal(cells: Sequence[tuple[str, str, str]]) -> dict[str, list[_Shown]]:
    """Return each source's cells without imports, and under `imports` those of all cells."""
    normal: dict[str, list[_Shown]] = {}
    for where, kind, text in cells:
        lost = False
        if kind == "code":
            text, clauses = without_imports(text)
            normal.setdefault(IMPORTS, []).extend(_Shown("import", str(clause)) for clause in clauses)
            lost = bool(clauses)
        if text.strip() and where not in GENERATED:
            normal.setdefault(where, []).append(_Shown(kind, text.strip("\n"), lost))
    return normal

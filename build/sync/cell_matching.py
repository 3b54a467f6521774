"""Which cell of the base an edited cell was, and which source a new one belongs to.

1. The same text is the same cell, if its first line claims no other source.
2. The same id, likewise.
3. Of what is left, the likest pairs of one kind and one source; two that are equally like are refused.
4. Between two known neighbours, what is left on both sides in equal number and kind.
5. Cells made of lines that their neighbour lost were split off; a lost cell, whose lines its neighbour gained, merged.
6. A cell of another kind that is one of the lost cells, or lines that one lost, was switched (to Raw, to Markdown, to
   code, to `scratch`): its text would leave the source, which nobody asked for, so it is refused.
7. New cells: the source that they claim; Markdown and definitions belong below what stands above them; the rest, and
   what is tagged `scratch`, stays in the notebook.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from build.core.errors import Problem
from build.notebooks.edited_cells import SCRATCH, EditedCell, header, without_header, without_note
from build.stitch.notebook import GENERATED, IMPORTS, Cell
from kernel_src.runtime.untrusted import quoted

LIKE = 0.5  # share of common lines from which two cells are taken for the same
CLAIMED = 0.25  # the same when the cell itself names the source
CLOSE = 0.1  # two likenesses nearer than this are no reason to choose


@dataclass
class CellMatching:
    """What became of every cell, by their indices in the base and in the edited notebook."""

    base_of: dict[int, int] = field(default_factory=dict)  # edited → base
    pieces: dict[int, list[int]] = field(default_factory=dict)  # edited → edited cells split off behind it
    merged: dict[int, list[int]] = field(default_factory=dict)  # edited → further base cells that it took in
    added: dict[int, str] = field(default_factory=dict)  # edited → source
    scratch: list[int] = field(default_factory=list)  # edited cells that stay in the notebook
    deleted: list[int] = field(default_factory=list)  # base
    problems: list[Problem] = field(default_factory=list)


def base_text(cell: Cell) -> str:
    """Return a base cell's text as an edited cell's would read."""
    return without_header(cell.source) if cell.kind == "code" else without_note(cell.source)


def match(base: list[Cell], edited: list[EditedCell]) -> CellMatching:
    """Find out what became of every cell."""
    return _Match(base, edited).result()


class _Match:
    def __init__(self, base: list[Cell], edited: list[EditedCell]) -> None:
        self.base, self.edited = base, edited
        self.texts = [base_text(cell) for cell in base]
        self.found = CellMatching()
        self.free_base = {index for index, text in enumerate(self.texts) if text}
        self.free = {
            index for index, cell in enumerate(edited) if SCRATCH not in cell.tags and cell.kind in {"code", "markdown"}
        }
        self.found.scratch = [index for index in range(len(edited)) if index not in self.free]

    def result(self) -> CellMatching:
        self.by_text()
        self.by_id()
        self.by_likeness()
        self.by_place()
        self.splits()
        self.merges()
        self.switched()
        self.new_cells()
        self.found.scratch.sort()
        self.found.deleted = sorted(self.free_base)
        return self.found

    def pair(self, index: int, base: int) -> None:
        self.found.base_of[index] = base
        self.free.discard(index)
        self.free_base.discard(base)

    def may(self, index: int, base: int) -> bool:
        """Whether kind and the cell's own words allow the pair."""
        cell, other = self.edited[index], self.base[base]
        return cell.kind == other.kind and (not cell.claim or cell.claim == self.source(base))

    def source(self, base: int) -> str:
        cell = self.base[base]
        return cell.source.partition("\n")[0][2:] if cell.where == IMPORTS else cell.where

    def by_text(self) -> None:
        places: dict[tuple[str, str], list[int]] = defaultdict(list)
        for base in sorted(self.free_base):
            places[self.base[base].kind, self.texts[base]].append(base)
        for index in sorted(self.free):
            cell = self.edited[index]
            candidates = [b for b in places[cell.kind, cell.text] if b in self.free_base and self.may(index, b)]
            own = [base for base in candidates if self.base[base].id == cell.id]
            if candidates:
                self.pair(index, (own or candidates)[0])

    def by_id(self) -> None:
        ids = {self.base[base].id: base for base in self.free_base}
        times = Counter(cell.id for cell in self.edited)
        for index in sorted(self.free):
            cell = self.edited[index]
            base = ids.get(cell.id, -1)
            if base in self.free_base and times[cell.id] == 1 and self.may(index, base):
                self.pair(index, base)

    def by_likeness(self) -> None:
        scores: dict[tuple[int, int], float] = {}
        for index in self.free:
            for base in self.free_base:
                if self.may(index, base):
                    score = likeness(self.edited[index].text, self.texts[base])
                    if self.edited[index].origin and self.edited[index].origin == self.base[base].where:
                        score += CLOSE * 2
                    if score >= (CLAIMED if self.edited[index].claim else LIKE):
                        scores[index, base] = score + CLOSE * 2 * self.neighbours(index, base)
        for (index, base), score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
            if index not in self.free or base not in self.free_base:
                continue
            rivals = [
                other
                for (one, other), value in scores.items()
                if one == index and other != base and other in self.free_base and score - value < CLOSE
            ]
            if any(self.texts[rival] != self.texts[base] for rival in rivals):
                cell = self.edited[index]
                places = ", ".join(sorted({self.base[one].where for one in [base, *rivals]}))
                self.found.problems.append(
                    Problem(
                        what=f"may be any of several cells of {places}: {quoted(cell.text.strip().splitlines()[0])}",
                        where=cell.where,
                        cure=f"write `# {self.base[base].where}` as its first line, or edit the source",
                    )
                )
                self.free.discard(index)
            else:
                self.pair(index, base)

    def neighbours(self, index: int, base: int) -> int:
        """Count on how many sides the known neighbours agree."""
        before, after = self.found.base_of.get(index - 1), self.found.base_of.get(index + 1)
        return (before == base - 1) + (after == base + 1)

    def by_place(self) -> None:
        for indices, bases in self.gaps():
            for kind in ("markdown", "code"):
                mine = [index for index in indices if index in self.free and self.edited[index].kind == kind]
                theirs = [base for base in bases if base in self.free_base and self.base[base].kind == kind]
                if kind == "code":
                    mine = [index for index in mine if self.edited[index].claim]
                if len(mine) == len(theirs) and all(map(self.may, mine, theirs)):
                    for index, base in zip(mine, theirs, strict=True):
                        self.pair(index, base)

    def gaps(self) -> Iterator[tuple[list[int], list[int]]]:
        """Yield what lies unmatched between neighbours whose order is that of the base."""
        known = sorted(self.found.base_of.items())
        ends = [(-1, -1), *known, (len(self.edited), len(self.base))]
        for (index, base), (next_index, next_base) in zip(ends, ends[1:], strict=False):
            if next_base > base:
                yield list(range(index + 1, next_index)), list(range(base + 1, next_base))

    def splits(self) -> None:
        for index, base in sorted(self.found.base_of.items()):
            lost = _lines(self.texts[base]) - _lines(self.edited[index].text)
            first, last = index, index
            while self.is_piece(first - 1, base, lost):  # without ids the likest piece was found, not the first one
                first -= 1
                lost -= _lines(self.edited[first].text)
            while self.is_piece(last + 1, base, lost):
                last += 1
                lost -= _lines(self.edited[last].text)
            if last > first:
                del self.found.base_of[index]
                self.found.base_of[first] = base
                self.found.pieces[first] = list(range(first + 1, last + 1))
                self.free -= set(range(first, last + 1))

    def is_piece(self, index: int, base: int, lost: Counter[str]) -> bool:
        """Whether a cell that is not matched yet is mostly made of lines that a cell of the base lost."""
        if index not in self.free or self.edited[index].kind != self.base[base].kind:
            return False
        lines, claim = _lines(self.edited[index].text), self.edited[index].claim
        return (not claim or claim == self.source(base)) and (lines & lost).total() * 2 >= lines.total()

    def merges(self) -> None:
        for index, base in sorted(self.found.base_of.items()):
            gained = _lines(self.edited[index].text) - _lines(self.texts[base])
            for step in (1, -1):
                other = base + step
                while (
                    other in self.free_base
                    and self.base[other].kind == "code" == self.base[base].kind
                    and self.base[other].where == self.base[base].where != IMPORTS
                    and (_lines(self.texts[other]) & gained).total() * 10 >= 6 * _lines(self.texts[other]).total()
                ):
                    self.found.merged.setdefault(index, []).append(other)
                    self.free_base.discard(other)
                    other += step

    def switched(self) -> None:
        """Refuse cells that were switched to a kind which no source has, or which is not that of their source."""
        times = Counter(cell.id for cell in self.edited)
        left: dict[int, Counter[str]] = defaultdict(Counter)  # base → the lines that still are where they were
        for index, base in self.found.base_of.items():
            for piece in (index, *self.found.pieces.get(index, [])):
                left[base] += _lines(self.edited[piece].text)
        for index in sorted({*self.free, *self.found.scratch}):
            cell, once = self.edited[index], times[self.edited[index].id] == 1
            whole = [base for base in sorted(self.free_base) if self.was(cell, base, once)]
            part = [base for base in sorted(left) if base >= 0 and self.was_part(cell, base, left[base])]
            for base in (whole + part)[:1]:
                self.found.problems.append(_switched(cell, self.base[base].kind, self.source(base)))
                self.free.discard(index)
                self.free_base.discard(base)
                self.found.scratch = [one for one in self.found.scratch if one != index]

    def was(self, cell: EditedCell, base: int, once: bool) -> bool:
        """Whether a cell is a lost one of the base, in another kind."""
        text, other = without_header(cell.text), self.base[base]
        if cell.kind == other.kind and SCRATCH not in cell.tags:
            return False
        if text == self.texts[base] or (once and cell.id == other.id):
            return True
        score = likeness(text, self.texts[base]) if cell.kind == "raw" else _share(text, self.texts[base])
        named = self.source(base) in {header(cell.text.partition("\n")[0]), cell.origin}
        return score >= (CLAIMED if named else LIKE)

    def was_part(self, cell: EditedCell, base: int, left: Counter[str]) -> bool:
        """Whether a cell is made of code that a cell of the base lost, and not of a copy of what was edited there."""
        if cell.kind == "code" or self.base[base].kind != "code":
            return False
        lines, before = _lines(without_header(cell.text)), _lines(self.texts[base])
        common = lines & (before - left)
        code = any(not line.startswith("#") for line in common)
        return code and common.total() * 2 >= lines.total() and (before.total() - left.total()) * 2 >= common.total()

    def new_cells(self) -> None:
        above = ""
        needed = self.read_names() if self.free else set()
        for index, cell in enumerate(self.edited):
            if index in self.found.base_of:
                where = self.base[self.found.base_of[index]].where
                above = above if where in GENERATED else where
            elif index in self.free:
                bound, defines = _bound(cell.text) if cell.kind == "code" else (set(), True)
                if cell.claim and not cell.claim.startswith(IMPORTS):
                    above = self.found.added[index] = cell.claim
                elif cell.claim:
                    self.found.base_of[index] = -1  # a cell of imports that the base did not have
                elif above and (defines or bound & needed):
                    self.found.added[index] = above
                else:
                    self.found.scratch.append(index)
        self.free.clear()

    def read_names(self) -> set[str]:
        """Return the names that cells with a known source mention."""
        names: set[str] = set()
        for index, cell in enumerate(self.edited):
            if index in self.found.base_of and cell.kind == "code":
                nodes = (node for statement in _body(cell.text) for node in ast.walk(statement))
                names |= {node.id for node in nodes if isinstance(node, ast.Name)}
        return names


def likeness(one: str, other: str) -> float:
    """Return the share of common lines; of short cells, of common characters."""
    score = _share(one, other)
    if score < LIKE and max(len(one), len(other)) < 600:
        matcher = SequenceMatcher(None, one, other, autojunk=False)
        if matcher.quick_ratio() >= LIKE:
            score = max(score, matcher.ratio())
    return score


def _share(one: str, other: str) -> float:
    mine, theirs = _lines(one), _lines(other)
    total = mine.total() + theirs.total()
    return 2 * (mine & theirs).total() / total if total else 0.0


def _switched(cell: EditedCell, kind: str, source: str) -> Problem:
    kinds = {"raw": "Raw", "markdown": "Markdown", "code": "Code"}
    now = f"is {kinds.get(cell.kind, quoted(cell.kind, 20))} now"
    back, off = f"make it {kinds[kind]} again", "to switch code off, comment it out"
    if cell.kind == kind:
        now, back = f"is tagged {SCRATCH} now", "remove the tag"
    lost = "code" if kind == "code" else "text"
    what = f"was {kinds[kind]} of {source} and {now}, so its {lost} would leave the source"
    cure = f"{back}; {f'{off}; ' if kind == 'code' else ''}to remove it from the source, delete the cell"
    return Problem(what=what, where=cell.where, cure=cure)


def _lines(text: str) -> Counter[str]:
    return Counter(line.strip() for line in text.split("\n") if line.strip())


def _body(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, RecursionError, MemoryError):  # reported where the cell is written back
        return []


def _bound(text: str) -> tuple[set[str], bool]:
    """Return the names that a cell binds, and whether it does nothing but define."""
    body = _body(text)
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    only = bool(names) and all(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Assign | ast.AnnAssign) and not any(isinstance(n, ast.Call) for n in ast.walk(node)))
        for node in body
    )
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return names, only

"""Edited cells as edited sources: every line outside the edit keeps its bytes.

A base cell knows the source line of each of its lines. Lines that the notebook has changed replace those source lines;
lines the notebook never showed (imports, the docstring, blank lines) stay where they were.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from inspect import cleandoc

from build.core.errors import Problem
from build.notebooks.base import Base
from build.notebooks.edited_cells import EditedCell, header
from build.stitch.cells import uncommented
from build.stitch.notebook import GENERATED, Cell
from build.sync.cell_matching import CellMatching, base_text
from build.sync.merging import merge_text

_SPLIT = "\0split"  # where a cell was split: no source holds a NUL
_TOP = re.compile(r"(async )?def |class |@")


@dataclass
class Group:
    """One run of a source's lines, and the cells that now hold it."""

    lines: list[str]  # without blank lines at the end
    blank: int = 0  # how many blank lines stood below
    first: int = 0  # its first and its last place in the base's source
    last: int = 0
    new: bool = False


def apply(base: Base, edited: Sequence[EditedCell], matching: CellMatching, problems: list[Problem]) -> dict[str, str]:
    """Return the base's sources with the edits in them, before imports follow the names; add what is wrong."""
    texts = dict(base.texts)
    sources = {cell.where for cell in base.cells if cell.where not in GENERATED} | set(matching.added.values())
    for where in sorted(sources):
        if where not in base.texts:
            indices = [index for index, one in matching.added.items() if one == where]
            problems.append(
                Problem(
                    what=f"says it belongs to {where}, which is none of the notebook's sources",
                    where=edited[indices[0]].where,
                    cure="write the source's path as in the other cells' first lines",
                )
            )
            continue
        texts[where] = _Source(where, base, edited, matching, problems).text()
    return texts


class _Source:
    def __init__(
        self, where: str, base: Base, edited: Sequence[EditedCell], matching: CellMatching, problems: list[Problem]
    ) -> None:
        self.where, self.base, self.edited, self.matching, self.problems = where, base, edited, matching, problems
        self.original = base.texts[where]
        lines = self.original.split("\n")
        if lines[-1] == "":
            lines.pop()
        self.slots = [[line] for line in lines]  # what stands for each source line now
        self.lines = lines
        own = [index for index, cell in enumerate(base.cells) if cell.where == where]
        self.docstring = next((i for i in own if self.is_docstring(base.cells[i])), None)
        self.atoms = sorted((i for i in own if i != self.docstring), key=lambda i: base.cells[i].span)
        self.edited_of = {one: index for index, one in matching.base_of.items()}
        for index, others in matching.merged.items():
            self.edited_of |= {other: index for other in others}

    def is_docstring(self, cell: Cell) -> bool:
        return cell.kind == "markdown" and cell.ordinal == 0

    def text(self) -> str:
        """Return the source with its cells' edits."""
        if not self.touched():
            return self.original
        if self.docstring is not None:
            self.set_docstring(self.docstring)
        head, groups = self.groups()
        lines = [line for slot in self.slots[:head] for line in slot]
        for number, group in enumerate(groups):
            self.join(lines, group, groups[number - 1] if number else None)
        lines = strip_end(lines)
        return "\n".join(lines) + ("\n" if lines else "")

    def touched(self) -> bool:
        order = []
        for index in range(len(self.edited)):
            base = self.matching.base_of.get(index, -1)
            if self.matching.added.get(index) == self.where:
                return True
            if base >= 0 and self.base.cells[base].where == self.where:
                order.append(base)
                if index in self.matching.pieces or index in self.matching.merged:
                    return True
                if self.edited[index].text != base_text(self.base.cells[base]):
                    return True
        mine = [i for i, cell in enumerate(self.base.cells) if cell.where == self.where and base_text(cell)]
        return order != mine

    # -- the docstring ----------------------------------------------------------------------------------------------

    def set_docstring(self, index: int) -> None:
        cell = self.base.cells[index]
        first, last = cell.span
        edited = self.edited_of.get(index)
        if edited is not None and self.edited[edited].text == base_text(cell):
            return
        for slot in self.slots[first - 1 : last]:
            slot.clear()
        if edited is None:
            return
        old = "\n".join(self.lines[first - 1 : last])
        text = self.edited[edited].text
        if cell.source == f"#{cleandoc(ast.literal_eval(old))}":  # in a chapter the heading is one level lower
            text = text.removeprefix("#")
        new = docstring(text, old)
        if new is None:
            self.refuse(edited, "no Python string can hold this text as it is", "avoid ''' beside \"\"\"")
            return
        self.slots[first - 1].extend(new.split("\n"))

    # -- cells ------------------------------------------------------------------------------------------------------

    def groups(self) -> tuple[int, list[Group]]:
        """Return how many lines stay on top, and the runs of lines in the notebook's order."""
        head, extents, fillers = self.extents()
        ordered: list[Group] = []
        for index in range(len(self.edited)):
            base = self.matching.base_of.get(index, -1)
            if base >= 0 and base in extents:
                atoms = sorted([base, *self.matching.merged.get(index, [])], key=self.atoms.index)
                ordered.append(self.group(index, atoms, extents))
            elif self.matching.added.get(index) == self.where:
                ordered.append(Group(self.new_lines(index), new=True))
        for unit, (start, end) in sorted(fillers.items()):  # cells of which the notebook shows nothing: imports alone
            lines = [line for slot in self.slots[start - 1 : end] for line in slot]
            blank = len(lines) - len(lines := strip_end(lines))
            above = [place for place, group in enumerate(ordered) if not group.new and group.last < unit]
            place = max(above, key=lambda one: ordered[one].last) + 1 if above else 0
            ordered.insert(place, Group(lines, blank, unit, unit))
        return head, [group for group in ordered if group.lines]

    def extents(self) -> tuple[int, dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
        """Return the number of lines on top, each atom's lines, and by their place the lines that show nowhere."""
        extents: dict[int, tuple[int, int]] = {}
        fillers: dict[int, tuple[int, int]] = {}
        self.units: dict[int, int] = {}  # atom → its place among atoms and fillers
        if not self.atoms:
            return len(self.lines), extents, fillers
        head = unit = 0
        done = 0  # the last line that has its place
        for number, index in enumerate(self.atoms):
            cell = self.base.cells[index]
            start, end = cell.span
            shown = [line for line in cell.lines if line >= start]
            if number == 0:
                if not is_marker(self.lines[start - 1]) and shown and self.where != self.base.main:
                    start = shown[0]  # docstring and imports stay on top whatever becomes of this cell
                head = start - 1
            elif start > done + 1:
                fillers[unit] = (done + 1, start - 1)
                unit += 1
            done = min(end, len(self.lines))
            extents[index], self.units[index] = (start, done), unit
            unit += 1
        if done < len(self.lines):
            fillers[unit] = (done + 1, len(self.lines))
        return head, extents, fillers

    def group(self, index: int, atoms: list[int], extents: dict[int, tuple[int, int]]) -> Group:
        first, last = extents[atoms[0]][0], extents[atoms[-1]][1]
        pieces = [index, *self.matching.pieces.get(index, [])]
        cells = [self.base.cells[atom] for atom in atoms]
        if cells[0].kind == "markdown":
            lines = self.markdown([self.edited[piece].text for piece in pieces], first, last)
        else:
            lines = self.code(cells, pieces, first, last)
        blank = len(lines) - len(lines := strip_end(lines))
        return Group(lines, blank, self.units[atoms[0]], self.units[atoms[-1]])

    def code(self, cells: list[Cell], pieces: list[int], first: int, last: int) -> list[str]:
        """Return the lines of code cells: what changed in the notebook changes in the source."""
        shown: list[tuple[str, int]] = []  # the base's lines with their source lines
        for cell in cells:
            body = list(zip(cell.source.split("\n"), cell.lines, strict=True))
            body = body[1:] if header(body[0][0]) else body
            while body and not body[0][0].strip():
                body.pop(0)
            if shown:  # between merged cells stands one blank line and what the edit makes of it
                self.close(shown[-1][1] + 1, body[0])
                shown.append(("", 0))
            shown += body
        texts: list[str] = []
        for number, piece in enumerate(pieces):
            texts += [_SPLIT] if number else []
            texts += self.edited[piece].text.split("\n")
        marker = cells[0].span[0] if is_marker(self.lines[cells[0].span[0] - 1]) else 0
        result: list[str] = []
        at = first  # the next source line that is not yet written

        def copy(until: int) -> None:
            nonlocal at
            for line in range(at, until):
                result.extend(self.slots[line - 1])
            at = max(at, until)

        if marker and shown and shown[0][1] == marker:  # the title's line, `# %% title` in the source
            title, _ = shown.pop(0)
            if texts[0] == title:
                copy(marker + 1)
                texts = texts[1:]
            else:
                renamed = texts[0].startswith("# ") and title not in texts
                result.append(f"# %% {texts[0][2:]}" if renamed else "# %%")
                texts = texts[1:] if renamed else texts
                at = marker + 1
        old = [text for text, _ in shown]
        for kind, i1, i2, j1, j2 in SequenceMatcher(None, old, texts, autojunk=False).get_opcodes():
            if kind == "equal":
                for _, number in shown[i1:i2]:
                    if number:
                        copy(number + 1)
                    else:
                        result.append("")
                continue
            lines = texts[j1:j2]
            numbers = [number for _, number in shown[i1:i2] if number]
            if numbers:
                copy(numbers[0])
                lines = self.reworded(numbers, old[i1:i2], lines)
            else:  # nothing but new lines: below what stands above, or at the top above what stands below
                following = next((number for _, number in shown[i2:] if number), 0)
                if following and not any(number for _, number in shown[:i1]):
                    copy(following)
            result.extend(self.split_lines(result, lines))
            if numbers:
                for line in range(numbers[0], numbers[-1] + 1):
                    if line not in numbers and self.lines[line - 1].strip():
                        result.extend(self.slots[line - 1])  # never shown: an import between two changed lines
                at = max(at, numbers[-1] + 1)
        copy(last + 1)
        return result

    def close(self, first: int, below: tuple[str, int]) -> None:
        """Take out blank lines and marker above the first line of the second of two merged cells; its title stays."""
        text, last = below
        for line in range(first, last + 1):
            if is_marker(self.lines[line - 1]):
                self.slots[line - 1] = [text] if line == last else []
            elif not self.lines[line - 1].strip():
                self.slots[line - 1] = []

    def reworded(self, numbers: list[int], old: list[str], new: list[str]) -> list[str]:
        """Undo the stitcher's own rewording (`metric.score` shown as `score`) where the edit left it alone."""
        source = [line for number in numbers for line in self.slots[number - 1]]
        shown = [line for line in old if line in source or line.strip()]
        if source == old or [line.rstrip() for line in source] == shown or not new:
            return new
        words = merge_text(_words(source), _words(old), _words(new))
        return new if words.conflicts else _unworded(words.text)

    def split_lines(self, before: list[str], lines: list[str]) -> list[str]:
        result: list[str] = []
        for line in lines:
            if line == _SPLIT:
                result = strip_end(result)
                while not result and before and not before[-1].strip():
                    before.pop()
                result += ["", "", "# %%"] if self.where != self.base.main else ["", "# %%"]
            else:
                result.append(line)
        return result

    def markdown(self, texts: list[str], first: int, last: int) -> list[str]:
        """Return the lines of a Markdown cell; those that say the same keep their spelling."""
        source = [line for slot in self.slots[first - 1 : last] for line in slot]
        marker, body = source[0], source[1:]
        bare = strip_end([uncommented(line) for line in body])
        lead = next((n for n, line in enumerate(bare) if line.strip()), 0)
        result = [marker, *body[:lead]]
        new = texts[0].split("\n")
        for kind, i1, i2, j1, j2 in SequenceMatcher(None, bare[lead:], new, autojunk=False).get_opcodes():
            if kind == "equal":
                result += body[lead + i1 : lead + i2]
            else:
                result += commented(new[j1:j2])
        for text in texts[1:]:
            result += ["", "# %% [markdown]", *commented(text.split("\n"))]
        return [*result, *body[len(bare) :]]

    def new_lines(self, index: int) -> list[str]:
        cell = self.edited[index]
        lines = cell.text.split("\n")
        return ["# %% [markdown]", *commented(lines)] if cell.kind == "markdown" else ["# %%", *lines]

    def join(self, lines: list[str], group: Group, before: Group | None) -> None:
        """Put a run of lines below another one, as far apart as they were, or as the formatter would have them."""
        follows = not group.new and (
            group.first == 0 if before is None else not before.new and before.last + 1 == group.first
        )
        if follows and before is not None:
            lines += [""] * before.blank
        elif not follows:
            while lines and not lines[-1].strip():
                lines.pop()
            if lines:
                lines += [""] * (2 if self.where != self.base.main or _ends_in_definition(lines) else 1)
            if lines and not is_marker(group.lines[0]):
                lines.append("# %%")
        lines += group.lines

    def refuse(self, index: int, what: str, cure: str) -> None:
        self.problems.append(Problem(what=what, where=self.edited[index].where, cure=cure))


def strip_end(lines: list[str]) -> list[str]:
    """Drop blank lines at the end."""
    last = len(lines)
    while last and not lines[last - 1].strip():
        last -= 1
    return lines[:last]


def is_marker(line: str) -> bool:
    """Whether a source line starts a cell."""
    return re.match(r"#\s*%%(\s|$)", line) is not None


def commented(lines: Sequence[str]) -> list[str]:
    """Write Markdown as comments."""
    return [f"# {line}" if line.strip() else "#" for line in lines]


def docstring(text: str, old: str) -> str | None:
    """Write a text as a module's docstring, in the quotes of the old one; None when it cannot be written."""
    prefix = "r" if "\\" in text else ""
    quotes = [q for q in ((old.lstrip("rRuU")[:3]), '"""', "'''") if q in {'"""', "'''"}]
    for quote in quotes:
        tail = "\n" if "\n" in text or text.endswith(("\\", quote[0])) else ""
        written = f"{prefix}{quote}{text}{tail}{quote}"
        try:
            value = ast.literal_eval(written)
        except (SyntaxError, ValueError):
            continue
        if isinstance(value, str) and value.strip("\n") == text:
            return written
    return None


def _ends_in_definition(lines: list[str]) -> bool:
    for line in reversed(lines):
        if line.strip() and not line.startswith((" ", "\t", ")")):
            return _TOP.match(line) is not None
    return False


_WORDS = {"\n": "\\n", "\0": "\\0"}  # two characters that are no word of a text; git takes a NUL for a binary file


def _words(lines: Sequence[str]) -> str:
    """Cut lines into words, one a line, so that a merge of lines is a merge of words."""
    words = re.findall(r"\w+|\n|\s|[^\w\s]", "\n".join(lines))
    return "".join(_WORDS.get(word, word) + "\n" for word in words)


def _unworded(text: str) -> list[str]:
    written = {two: one for one, two in _WORDS.items()}
    return "".join(written.get(word, word) for word in text.split("\n")).split("\n")

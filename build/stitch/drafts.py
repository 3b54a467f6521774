"""Text edits that remember where every line came from.

A draft is a source, line by line, each with its line number; edits replace a piece of text or take whole lines away.
"""

import ast
from dataclasses import dataclass, field

from build.stitch.cells import first_line
from build.stitch.modules import Module


@dataclass(frozen=True)
class Line:
    """One line of a cell."""

    text: str
    number: int  # in its source file; 0 when it is the stitcher's own


@dataclass(frozen=True, order=True)
class Edit:
    """Replace the text from one position (line from 1, column in characters) to another."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


@dataclass(eq=False)
class Draft:
    """A module's text under edit."""

    module: Module
    edits: list[Edit] = field(default_factory=list)
    removals: dict[int, tuple[int, list[str]]] = field(
        default_factory=dict
    )  # first line → last line, what stands instead
    # The same changes by node, so that the proof can make them in the tree.
    gone: dict[int, list[str]] = field(default_factory=dict)
    renamed: dict[int, str] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)

    def replace(self, node: ast.AST, text: str) -> None:
        """Replace an expression."""
        start = self.position(node, "lineno", "col_offset")
        end = self.position(node, "end_lineno", "end_col_offset")
        self.edits.append(Edit(start, end, text))

    def position(self, node: ast.AST, line: str, column: str) -> tuple[int, int]:
        """Return a position in characters; the tree counts bytes."""
        number = getattr(node, line)
        prefix = self.module.lines[number - 1].encode()[: getattr(node, column)]
        return number, len(prefix.decode())

    def remove(self, node: ast.stmt, instead: list[str]) -> None:
        """Take a statement's lines away; `instead` is put there with the same indentation."""
        line = self.module.lines[node.lineno - 1]
        indent = line[: len(line) - len(line.lstrip())]
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.If):  # comments that still stand in the block go with it
            while last < len(self.module.lines) and self.module.lines[last].startswith((" ", "\t")):
                last += 1
        self.removals[first_line(node)] = (last, [indent + text for text in instead])
        self.gone[id(node)] = instead

    def touched_lines(self) -> set[int]:
        """Return the lines of which any text changes."""
        lines = {line for edit in self.edits for line in range(edit.start[0], edit.end[0] + 1)}
        return lines.union(*(range(first, last + 1) for first, (last, _) in self.removals.items()))

    def lines(self, first: int, last: int) -> list[Line]:
        """Return the edited lines that come from `first` to `last`."""
        texts: dict[int, str] = dict(enumerate(self.module.lines, start=1))
        for edit in sorted(self.edits, reverse=True):
            head = texts[edit.start[0]][: edit.start[1]]
            tail = texts[edit.end[0]][edit.end[1] :]
            for number in range(edit.start[0], edit.end[0] + 1):
                texts.pop(number)
            texts[edit.start[0]] = head + edit.text + tail
        result: list[Line] = []
        number = first
        after_removal = False
        while number <= last:
            if number in self.removals:
                end, instead = self.removals[number]
                result += [Line(text, number) for text in instead]
                after_removal = after_removal or not instead
                number = end + 1
                continue
            if number in texts:
                text = texts[number]
                blank = not text.strip() and number not in self.module.string_lines
                if not (blank and after_removal and (not result or not result[-1].text.strip())):
                    result.append(Line("" if blank else text, number))
                    after_removal = after_removal and blank
            number += 1
        return strip_blank(result)


def strip_blank(lines: list[Line]) -> list[Line]:
    """Drop blank lines at both ends."""
    first, last = 0, len(lines)
    while first < last and not lines[first].text.strip():
        first += 1
    while last > first and not lines[last - 1].text.strip():
        last -= 1
    return lines[first:last]

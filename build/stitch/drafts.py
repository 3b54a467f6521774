"""Text edits that remember where every line came from.

A draft is a source, line by line, each with its line number; edits replace a piece of text or take whole lines away.
The same changes are made in the text and in the syntax tree, and what the cells parse to must equal the changed tree.
"""

import ast
import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from build.stitch.cells import first_line
from build.stitch.library import Library
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
    defined: dict[int, str] = field(default_factory=dict)  # a function's or class's own name, which its cell defines
    named: list[tuple[str, ast.Name]] = field(default_factory=list)  # modules of which names are taken, and where
    # Lines of the notebook alone, by the source line that they stand above or below, with their indentation.
    above: dict[int, list[str]] = field(default_factory=dict)
    below: dict[int, list[str]] = field(default_factory=dict)

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
        return lines.union(
            self.above, self.below, *(range(first, last + 1) for first, (last, _) in self.removals.items())
        )

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
            result += [Line(text, 0) for text in self.above.get(number, ())]
            if number in self.removals:
                end, instead = self.removals[number]
                result += [Line(text, number) for text in instead]
                after_removal = after_removal or not instead
                number = end + 1
                result += [Line(text, 0) for text in self.below.get(end, ())]
                continue
            if number in texts:
                text = texts[number]
                blank = not text.strip() and number not in self.module.string_lines
                if not (blank and after_removal and (not result or not result[-1].text.strip())):
                    result.append(Line("" if blank else text, number))
                    after_removal = after_removal and blank
            result += [Line(text, 0) for text in self.below.get(number, ())]
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


# -- the proof that the edits did what was meant, and nothing else -----------------------------------------------------


def require_equal(draft: Draft, cells: list[tuple[int, str]], library: Library) -> None:
    """Compare a module's cells (first line, text) with its changed tree; a difference is noted as a problem."""
    module = draft.module
    found: list[ast.stmt] = []
    for line, text in cells:
        try:
            found += _parsed(text).body
        except SyntaxError as error:
            library.refuse(
                module.at(line), f"the cell that starts here would not parse: {error.msg}", "simplify the code"
            )
            return
    touched = draft.touched_lines()
    expected: list[tuple[ast.stmt, bool]] = []
    for node in module.tree.body:
        edited = any(line in touched for line in range(first_line(node), (node.end_lineno or node.lineno) + 1))
        changed = _Changes(draft).visit(node) if edited else node
        own = ast.parse("\n".join(draft.above.get(first_line(node), ()))).body
        expected += [(one, edited) for one in [*own, *(changed if isinstance(changed, list) else [changed])]]
    if len(found) != len(expected):
        library.refuse(module.at(1), "the cells of this module do not hold its statements", "simplify its cell markers")
        return
    for one, (other, edited) in zip(found, expected, strict=True):
        if not (ast.dump(one) == ast.dump(other) if edited else _same_shape(one, other)):
            library.refuse(module.at(other), "this statement cannot be rewritten safely", "use `from … import name`")
            return


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.Module:
    """Parse a cell once for all notebooks and builds that hold it; the result is never changed."""
    return ast.parse(text)


def _same_shape(one: ast.stmt, other: ast.stmt) -> bool:
    """Whether two statements, of whose text nothing was edited, are the same one."""
    size = (one.end_lineno or 0) - one.lineno == (other.end_lineno or 0) - other.lineno
    return type(one) is type(other) and size and one.col_offset == other.col_offset


class _Changes(ast.NodeTransformer):
    """Makes a draft's changes in a copy of the tree: the tree itself is read again by the next notebook."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def visit(self, node: ast.AST) -> Any:
        key = id(node)
        if key in self.draft.gone:
            return ast.parse("\n".join(self.draft.gone[key])).body
        if key in self.draft.renamed:
            return ast.Name(id=self.draft.renamed[key], ctx=ast.Load())
        if key in self.draft.values:
            return ast.parse(self.draft.values[key], mode="eval").body
        changed = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):  # the transformer writes into it
                setattr(changed, name, list(value))
        result = self.generic_visit(changed)
        if key in self.draft.defined:
            assert isinstance(result, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            result.name = self.draft.defined[key]
            below = self.draft.below[result.end_lineno or 0]
            return [result, *ast.parse("\n".join(line.strip() for line in below)).body]
        return result

"""Which cell of a notebook runs, as far as its log shows that.

Certain: a line `Executing Cell 12------…`, which papermill prints where it is asked to log outputs; 12 counts all
cells, text cells too. The logs of Kaggle that people have published have no such lines.

Inferred otherwise, from what is printed: a line that only one of the cells from the present one on can print. A cell
can print what the `print` calls in it say, and those of the functions and classes that it names, directly or by way of
others; `print(f())` says what the `return` statements of `f` do. A line that several cells could print changes nothing.
So the cell is at least this one; one that prints nothing of its own is never seen.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from build.run.rehearse.executed_cells import Cells, CodeCell

_EXECUTING = re.compile(r"Executing Cell (\d+)-{3,}\s*$")
_FEWEST = 6  # letters that a line must have in common with a print call
_MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)


Template = tuple[str, ...]  # the words of a printed line, around what differs from run to run


@dataclass
class _Words:
    """What a piece of code prints, and what it names."""

    prints: list["Template"] = field(default_factory=list)
    returns: list["Template"] = field(default_factory=list)
    printed: set[str] = field(default_factory=set)  # functions whose results are printed
    names: set[str] = field(default_factory=set)


class RunningCell:
    """Follows the lines of a run; `cell` is the one that runs, `certain` where papermill said so."""

    def __init__(self, cells: Cells) -> None:
        """Begin before the first cell."""
        self._cells = cells
        self.cell: CodeCell | None = None
        self.certain = False

    def read(self, line: str) -> bool:
        """Take a line of the log; return whether another cell runs since."""
        if found := _EXECUTING.search(line):
            self.certain = True
            return self._go_to(self._cells.at(int(found[1]) - 1))
        if self.certain:
            return False
        at = self.cell.index if self.cell else -1
        able = [cell for cell in self._cells.cells if cell.index >= at and self._can_print(cell, line)]
        return len(able) == 1 and self._go_to(able[0])

    def _go_to(self, cell: CodeCell | None) -> bool:
        changed = cell is not None and cell is not self.cell
        self.cell = cell or self.cell
        return changed

    def _can_print(self, cell: CodeCell, line: str) -> bool:
        return any(fits(line, template) for template in self._templates.get(cell.index, ()))

    @cached_property
    def _templates(self) -> dict[int, list[Template]]:
        defined: dict[str, _Words] = {}
        own = {cell.index: _read_cell(cell.text, defined) for cell in self._cells.cells}
        return {index: _reachable(words, defined) for index, words in own.items()}


def fits(line: str, template: Template) -> bool:
    """Return whether a line is what a print call says, whatever stands between its words."""
    first, *middle, last = template if len(template) > 1 else (*template, "")
    if len(template) == 1:
        return line.rstrip() == first.rstrip()
    if not line.startswith(first) or not line.rstrip().endswith(last.rstrip()):
        return False
    at, end = len(first), len(line.rstrip()) - len(last.rstrip())
    for words in middle:
        at = line.find(words, at) + len(words)
        if at < len(words):
            return False
    return at <= end


def _read_cell(text: str, defined: dict[str, _Words]) -> _Words:
    """Return what the code of a cell does at once; what it only defines goes into `defined`."""
    try:
        body = ast.parse(_MAGIC.sub("", text)).body
    except (SyntaxError, ValueError, RecursionError):
        return _Words()
    at_once = _Words()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            _collect(node, defined.setdefault(node.name, _Words()))
        else:
            _collect(node, at_once)
    return at_once


def _collect(node: ast.AST, words: _Words) -> None:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            words.names.add(inner.id)
        elif isinstance(inner, ast.Call) and _name_of(inner.func) == "print" and inner.args:
            words.prints += _templates_of(inner.args[0])
            if isinstance(inner.args[0], ast.Call):
                words.printed.add(_name_of(inner.args[0].func))
        elif isinstance(inner, ast.Return) and inner.value is not None:
            words.returns += _templates_of(inner.value)


def _name_of(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _templates_of(value: ast.expr) -> list[Template]:
    """Return one template for each line of a text that has words of its own."""
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    lines: list[list[str]] = [[""]]
    for part in parts:
        if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
            lines[-1].append("")
            continue
        first, *others = part.value.split("\n")
        lines[-1][-1] += first
        lines += [[other] for other in others]
    return [tuple(line) for line in lines if _letters(line) >= _FEWEST]


def _letters(words: Sequence[str]) -> int:
    return sum(map(str.isalpha, "".join(words)))


def _reachable(words: _Words, defined: dict[str, _Words]) -> list[Template]:
    """Return what a cell prints by itself, and by way of what it names."""
    prints, printed = list(words.prints), set(words.printed)
    seen, waiting = set[str](), list(words.names)
    while waiting:
        name = waiting.pop()
        if name in seen or name not in defined:
            continue
        seen.add(name)
        prints += defined[name].prints
        printed |= defined[name].printed
        waiting += defined[name].names
    return prints + [one for name in sorted(printed) if name in defined for one in defined[name].returns]

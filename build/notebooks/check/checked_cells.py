"""A notebook as the rules read it: its cells, their syntax trees, and where each line came from."""

import ast
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.notebooks.notebook_file import NotANotebook, origin_of, read_bytes, read_notebook

# `!ls`, `%time x`, `files = !ls`, `x = %who_ls`: what IPython alone understands.
_MAGIC = re.compile(r"\s*(?:[\w.,\s\[\]'\"]+=\s*)?([!%])|\s*\?\??\w|\s*\w[\w.]*\?\??\s*$")


@dataclass(frozen=True)
class Cell:
    """One cell; `number` counts all cells from 1, as a reader does."""

    notebook: str  # path relative to the root, for messages
    number: int
    kind: str  # "code", "markdown", "raw"
    text: str
    source: str = ""  # the file it came from
    lines: tuple[int, ...] = ()  # line in that file for each line of the text, 0 where there is none

    def where(self, line: int = 0) -> str:
        """Name the cell, and the file and line it was made from; `line` counts from 1 inside the cell."""
        place = f"{self.notebook} cell {self.number}"
        origin = self.lines[line - 1] if 0 < line <= len(self.lines) else 0
        if origin and self.source:
            return f"{place} ({self.source}:{origin})"
        return f"{place} line {line}" if line else place

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of a code cell's syntax tree, outer ones first; lines that are not Python are in `faults`."""
        return _parse_cell(self.text)[0] if self.kind == "code" else ()

    @cached_property
    def prose(self) -> set[int]:
        """The ids of the constants that are docstrings or stand alone as a statement: text, not data."""
        return {id(node.value) for node in self.nodes if isinstance(node, ast.Expr)}

    @cached_property
    def faults(self) -> list[Problem]:
        """IPython's lines and syntax errors."""
        if self.kind != "code":
            return []
        return [Problem(what=what, where=self.where(line), cure=cure) for line, what, cure in _parse_cell(self.text)[1]]


def read_cells(path: Path, name: str) -> list[Cell]:
    """Read a notebook's cells; `name` stands for it in messages.

    Raises:
        CheckFailed: it is not a notebook of format 4.
    """
    try:
        notebook = read_notebook(read_bytes(path))
    except NotANotebook as error:
        cure = f"{error.cure}; `make build` makes it anew once the file is deleted"
        raise CheckFailed([Problem(what=error.what, where=name, cure=cure)]) from None
    return cells_of(notebook, name)


def cells_of(notebook: dict[str, Any], name: str) -> list[Cell]:
    """Return the cells of a notebook that was read."""
    return [_read_cell(name, number, raw) for number, raw in enumerate(notebook["cells"], start=1)]


def _read_cell(name: str, number: int, raw: dict[str, Any]) -> Cell:
    """Read one cell; metadata that some editor dropped or changed only costs the way back to the source."""
    origin = origin_of(raw)
    return Cell(name, number, raw["cell_type"], raw["source"], origin["source"], tuple(origin["lines"]))


@cache  # the library's cells are the same in every notebook
def _parse_cell(text: str) -> tuple[tuple[ast.AST, ...], list[tuple[int, str, str]]]:
    """Parse a code cell: all nodes of its tree, and what is no Python as (line, what, cure)."""
    faults: list[tuple[int, str, str]] = []
    return tuple(ast.walk(_parse(text.split("\n"), faults))), faults


def _parse(lines: list[str], faults: list[tuple[int, str, str]]) -> ast.Module:
    """Parse lines; what IPython alone understands becomes `pass` and is noted in `faults`.

    A cell that parses holds no magic, whatever a line begins with: only a line at which Python stops is looked at, so
    text in strings and comments and a `%` that continues an expression are never taken for one.
    """
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("%%"):
        faults.append((1, f"cell magic {first.split()[0]}", "write it in Python"))
        return ast.Module(body=[], type_ignores=[])
    while True:
        try:
            flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            tree = compile("\n".join(lines), "<cell>", "exec", flags=flags, dont_inherit=True)
            return tree if isinstance(tree, ast.Module) else ast.Module(body=[], type_ignores=[])
        except ValueError as error:  # a null byte, on 3.11
            faults.append((1, f"no text: {error}", "correct the source"))
            return ast.Module(body=[], type_ignores=[])
        except SyntaxError as error:
            number = error.lineno or 1
            line = lines[number - 1] if number <= len(lines) else ""
            match = _MAGIC.match(line)
            if not match:
                faults.append((number, f"syntax error: {error.msg}", "correct the source"))
                return ast.Module(body=[], type_ignores=[])
            what = {"!": "a shell line", "%": "an IPython magic"}.get(match[1], "an IPython help line")
            faults.append((number, f"{what}: {line.strip()[:60]}", "write it in Python, without the network"))
            indent = line[: len(line) - len(line.lstrip())]
            lines[number - 1] = f"{indent}pass"

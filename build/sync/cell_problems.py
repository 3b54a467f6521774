"""Cells that cannot be written back: what is not Python, or has no place in a module."""

import ast
import math
import re
from collections.abc import Sequence

from build.core.errors import Problem
from build.notebooks.edited_cells import EditedCell
from build.sync.cell_matching import CellMatching
from kernel_src.runtime.untrusted import quoted

MOST_BITS = 10_000  # of a whole number: Python writes no more than 4,300 digits
_MAGIC = re.compile(r"\s*(%%?\w|!|\?\w|\w[\w.]*\?\??\s*$|[\w, ]+=\s*[!%])")


def cell_problems(edited: Sequence[EditedCell], matching: CellMatching) -> list[Problem]:
    """Return what is wrong with cells to be written back; a new one with a magic is refused even without a claim."""
    problems: list[Problem] = []
    for index, cell in enumerate(edited):
        home = index not in matching.scratch
        if cell.kind == "markdown" and home and cell.attached:
            problems.append(
                Problem(what="contains a pasted picture", where=cell.where, cure="link to a picture on the web instead")
            )
        if cell.kind != "code" or "scratch" in cell.tags:
            continue
        if problem := _unreadable(cell, home):
            problems.append(problem)
    return problems


def _unreadable(cell: EditedCell, home: bool) -> Problem | None:
    try:
        numbers = [node.value for node in ast.walk(ast.parse(cell.text)) if isinstance(node, ast.Constant)]
        if home and any(isinstance(number, int) and number.bit_length() > MOST_BITS for number in numbers):
            return Problem(what="contains a number that is too long to be written", where=cell.where, cure="compute it")
        return None
    except (RecursionError, MemoryError):
        what, cure = "contains code that is nested too deeply to be read", "write it in several statements"
        return Problem(what=what, where=cell.where, cure=cure) if home else None
    except (SyntaxError, ValueError) as error:
        lines = cell.text.split("\n")
        magic = next((line for line in lines if _MAGIC.match(line) and not _parses(line)), None)
        if magic is not None:
            cure = "a module cannot contain magics: tag the cell `scratch`, or write it as Python"
            return Problem(what=f"IPython's own line {quoted(magic.strip())}", where=cell.where, cure=cure)
        if not home:
            return None
        number = getattr(error, "lineno", None) or 1
        text = lines[number - 1].strip() if number <= len(lines) else ""
        what = f"syntax error: {getattr(error, 'msg', error)} in {quoted(text)}"
        return Problem(what=what, where=f"{cell.where}, line {number + bool(cell.claim)}", cure="correct it")


def _parses(line: str) -> bool:
    try:
        ast.parse(line.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def nesting(text: str) -> float:
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

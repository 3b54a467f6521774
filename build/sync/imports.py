"""Import statements as text: one added where a formatter would put it, one taken away; the rest keeps its bytes."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from build.stitch.imports import wrapped
from build.stitch.modules import STANDARD_LIBRARY, read_names
from build.sync.mapping import is_marker


@dataclass(frozen=True, order=True)
class Clause:
    """One thing that is imported: `import module as alias`, or `from module import name as alias`."""

    module: str
    name: str = ""  # "" for a plain import
    alias: str = ""

    @property
    def bound(self) -> str:
        """The name that it binds."""
        return self.alias or self.name or self.module.split(".")[0]

    def __str__(self) -> str:
        """Write the statement."""
        tail = f" as {self.alias}" if self.alias else ""
        return f"from {self.module} import {self.name}{tail}" if self.name else f"import {self.module}{tail}"


def clauses_of(node: ast.stmt) -> list[Clause]:
    """Return what an import statement imports; nothing for any other statement, relative and future imports."""
    if isinstance(node, ast.Import):
        return [Clause(one.name, "", one.asname or "") for one in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
        return [Clause(node.module or "", one.name, one.asname or "") for one in node.names]
    return []


@lru_cache(maxsize=512)
def top_level(text: str) -> Mapping[Clause, ast.stmt]:
    """Return the imports that stand directly in a module."""
    return {clause: node for node in read_names(text, True)[0].body for clause in clauses_of(node)}


@lru_cache(maxsize=1024)
def without_imports(text: str) -> tuple[str, Sequence[Clause]]:
    """Take the top-level imports out of a cell's text; return what is left and what they import."""
    lines: list[str | None] = list(text.split("\n"))
    found: list[Clause] = []
    for node in ast.parse(text).body:
        if clauses := clauses_of(node):
            found += clauses
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[line - 1] = None
    return "\n".join(line for line in lines if line is not None).strip("\n") if found else text, found


def drop(text: str, clause: Clause) -> str:
    """Take one clause out of a module's top-level imports."""
    node = top_level(text).get(clause)
    if node is None:
        return text
    lines = text.split("\n")
    kept = [one for one in clauses_of(node) if one != clause]
    return "\n".join([*lines[: node.lineno - 1], *_statement(node, kept), *lines[node.end_lineno or node.lineno :]])


def add(text: str, clause: Clause, ours: str, script_line: int = 0) -> str:
    """Add one clause to a module's imports.

    Args:
        text: the module.
        clause: what to import.
        ours: the top-level package whose imports come last.
        script_line: of a script, a line of the cell that needs it; 0 for a library module.
    """
    there = top_level(text)
    if clause in there:
        return text
    lines = text.split("\n")
    for node in there.values():
        if clause.name and isinstance(node, ast.ImportFrom) and node.module == clause.module:
            statement = _statement(node, [*clauses_of(node), clause])
            return "\n".join([*lines[: node.lineno - 1], *statement, *lines[node.end_lineno or node.lineno :]])
    first, last = _bounds(lines, script_line)
    block = [node for node in dict.fromkeys(there.values()) if first <= node.lineno <= last]
    if not script_line:
        block = _leading(block, text)
    rank = _rank(clause, ours)
    before = [node for node in block if _rank(clauses_of(node)[0], ours) <= rank]
    if before:
        at = before[-1].end_lineno or before[-1].lineno
        gap = [""] if _rank(clauses_of(before[-1])[0], ours)[0] != rank[0] else []
        return "\n".join([*lines[:at], *gap, str(clause), *lines[at:]])
    if block:
        at = block[0].lineno - 1
        gap = [""] if _rank(clauses_of(block[0])[0], ours)[0] != rank[0] else []
        return "\n".join([*lines[:at], str(clause), *gap, *lines[at:]])
    if script_line:
        return "\n".join([*lines[: first - 1], str(clause), "", *lines[first - 1 :]])
    at = _below_docstring(text)
    head = lines[:at]
    return "\n".join([*head, *([""] if head else []), str(clause), *([""] if head else ["", ""]), *lines[at:]])


def _bounds(lines: list[str], script_line: int) -> tuple[int, int]:
    """Return the lines of the cell around a line; of a library module, everything."""
    if not script_line:
        return 1, len(lines)
    first = script_line
    while first > 1 and not is_marker(lines[first - 2]):
        first -= 1
    last = script_line
    while last < len(lines) and not is_marker(lines[last]):
        last += 1
    return first, last


def _leading(block: list[ast.stmt], text: str) -> list[ast.stmt]:
    """Keep the imports that stand before any other statement but the docstring."""
    body = ast.parse(text).body
    others = [node.lineno for node in body if not isinstance(node, ast.Import | ast.ImportFrom) and node is not body[0]]
    if body and not isinstance(body[0], ast.Import | ast.ImportFrom) and ast.get_docstring(ast.parse(text)) is None:
        others.insert(0, body[0].lineno)
    return [node for node in block if not others or node.lineno < others[0]]


def _below_docstring(text: str) -> int:
    body = ast.parse(text).body
    at = 0
    for number, node in enumerate(body):
        is_docstring = number == 0 and ast.get_docstring(ast.parse(text)) is not None
        if is_docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            at = node.end_lineno or node.lineno
    return at


def _rank(clause: Clause, ours: str) -> tuple[int, bool, str]:
    top = clause.module.split(".")[0]
    section = 2 if top == ours else 0 if top in STANDARD_LIBRARY else 1
    return section, bool(clause.name), clause.module


def _statement(node: ast.stmt, clauses: list[Clause]) -> list[str]:
    """Write an import statement anew, in the formatter's way."""
    if not clauses:
        return []
    if isinstance(node, ast.Import):
        return [str(clause) for clause in clauses]
    names = sorted(dict.fromkeys(clauses), key=lambda one: (_kind(one.name), one.name))
    written = [f"{one.name} as {one.alias}" if one.alias else one.name for one in names]
    return wrapped([f"from {clauses[0].module} import {', '.join(written)}"])


def _kind(name: str) -> int:
    """Constants, then classes, then the rest."""
    return 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2

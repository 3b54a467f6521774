"""The proof that the text edits did what was meant, and nothing else.

The same changes are made twice, in the text and in the syntax tree; what the cells parse to must equal the changed
tree.
"""

import ast
import copy
from functools import lru_cache
from typing import Any

from build.stitch.cells import first_line
from build.stitch.drafts import Draft
from build.stitch.library import Library


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
        expected += [(one, edited) for one in (changed if isinstance(changed, list) else [changed])]
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
        return self.generic_visit(changed)

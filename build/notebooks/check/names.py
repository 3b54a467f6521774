"""What a dotted name in a notebook means: `np.load` is `numpy.load`, `run` may be `subprocess.run`.

A notebook is one namespace, so imports of all cells are read together. A name that nobody imports is no module: a
list called `requests` is only a list.
"""

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from build.notebooks.check.checked_cells import Cell


@dataclass
class Names:
    """Imports, definitions and simple values of one notebook."""

    modules: dict[str, str] = field(default_factory=dict)  # bound name → dotted name
    defined: set[str] = field(default_factory=set)  # names that the notebook itself binds
    values: dict[str, list[ast.expr]] = field(default_factory=dict)  # module-level name → what is assigned to it

    def dotted(self, node: ast.AST) -> str:
        """Return the full dotted name of an expression, "" where it has none that is known."""
        if isinstance(node, ast.Name):
            if node.id in self.modules:
                return self.modules[node.id]
            known = hasattr(builtins, node.id) or node.id == "get_ipython"
            return f"builtins.{node.id}" if known and node.id not in self.defined else ""
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        if isinstance(node, ast.Call) and self.dotted(node.func) == "builtins.getattr" and len(node.args) > 1:
            base, name = self.dotted(node.args[0]), node.args[1]
            if base and isinstance(name, ast.Constant) and isinstance(name.value, str):
                return f"{base}.{name.value}"
        return ""

    def constant(self, node: ast.AST | None) -> object:
        """Return the value of a literal, or of a name that is bound to exactly one; else `...`."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and len(self.values.get(node.id, ())) == 1:
            value = self.values[node.id][0]
            return value.value if isinstance(value, ast.Constant) else ...
        return ...

    def opening(self, node: ast.AST, depth: int = 0) -> str:
        """Return the text that a string expression begins with: of a literal, an f-string, a sum, a constant's name."""
        if isinstance(node, ast.BinOp):
            return self.opening(node.left, depth)
        if isinstance(node, ast.JoinedStr):
            return self.opening(node.values[0], depth) if node.values else ""
        if isinstance(node, ast.FormattedValue):
            return self.opening(node.value, depth)
        if isinstance(node, ast.Name) and len(self.values.get(node.id, ())) == 1 and depth < 8:  # `a = a + "x"` ends
            return self.opening(self.values[node.id][0], depth + 1)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def read_names(cells: Iterable[Cell]) -> Names:
    """Collect imports (also inside functions), definitions and module-level assignments of all cells."""
    names = Names()
    for cell in cells:
        for node in cell.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    names.modules[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    names.modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.defined.add(node.name)
            elif isinstance(node, ast.arg):
                names.defined.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.defined.add(node.id)
        for target, value in assignments(cell.tree.body):
            names.values.setdefault(target, []).append(value)
    return names


def assignments(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield name and value of each plain assignment in a list of statements."""
    for node in body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def last_name(node: ast.AST) -> str:
    """Return the last part of a name, `c` of `a.b.c`, known or not."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""

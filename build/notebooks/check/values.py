"""The strings that an expression in a notebook can be: literals, names, loops over them, parameters of functions.

Nothing is run. What cannot be read with certainty is None, never a guess.
"""

import ast
from collections.abc import Callable, Iterable, Sequence

from build.notebooks.check.checked_cells import Cell
from build.notebooks.check.names import Names, assignments, last_name

_PASSED_ON = frozenset({"builtins.sorted", "builtins.list", "builtins.tuple", "builtins.set", "builtins.reversed"})
_DEPTH = 8  # of names that stand for names
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Read = Callable[[ast.expr, int], set[str] | None]


class Reader:
    """Finds the strings that an expression can be, or None where that cannot be read."""

    def __init__(self, cells: Sequence[Cell], names: Names) -> None:
        """Index calls, loops and assignments of the whole notebook once."""
        self.names = names
        self.owner: dict[int, Function] = {}  # id of a node → the innermost function around it
        self.calls: dict[str, list[ast.Call]] = {}
        self.bound: dict[tuple[int, str], list[tuple[str, ast.expr]]] = {}  # (function or 0, name) → loops and values
        for cell in cells:
            self._index(cell.tree, None)

    def _index(self, node: ast.AST, function: Function | None) -> None:
        if function is not None:
            self.owner[id(node)] = function
        scope = id(function) if function else 0
        if isinstance(node, ast.Call):
            self.calls.setdefault(last_name(node.func), []).append(node)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._bind_loop(scope, node.target, node.iter)
        elif isinstance(node, ast.NamedExpr):
            self.bound.setdefault((scope, node.target.id), []).append(("value", node.value))
        elif isinstance(node, ast.stmt):
            for name, value in assignments([node]):
                self.bound.setdefault((scope, name), []).append(("value", value))
        inner = node if isinstance(node, Function) else function
        for child in ast.iter_child_nodes(node):
            self._index(child, inner)

    def _bind_loop(self, scope: int, target: ast.expr, source: ast.expr) -> None:
        """Note `for slug in X`, `for slug, weight in X.items()` and `for i, slug in enumerate(X)`."""
        call = source if isinstance(source, ast.Call) else None
        if isinstance(target, ast.Name):
            self.bound.setdefault((scope, target.id), []).append(("item", source))
        elif isinstance(target, ast.Tuple) and call is not None and len(target.elts) == 2:
            if isinstance(call.func, ast.Attribute) and call.func.attr == "items" and not call.args:
                self._bind_loop(scope, target.elts[0], call.func.value)
            elif self.names.dotted(call.func) == "builtins.enumerate" and call.args:
                self._bind_loop(scope, target.elts[1], call.args[0])

    def strings(self, node: ast.expr, depth: int = 0) -> set[str] | None:
        """Return every string that the expression can be."""
        if depth > _DEPTH:
            return None
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else None
        if isinstance(node, ast.IfExp):
            return _union(self.strings(branch, depth + 1) for branch in (node.body, node.orelse))
        if isinstance(node, ast.Name):
            return self._of_name(node, depth, self.strings)
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
        ):
            return self._items(node.value, depth + 1)  # SLUGS[0]: one of them
        return None

    def _of_name(self, node: ast.Name, depth: int, read: Read) -> set[str] | None:
        """Read what a name stands for, looking from the innermost function around it outwards."""
        function = self.owner.get(id(node))
        while function is not None:
            if bound := self.bound.get((id(function), node.id)):
                return self._of_bound(bound, depth, read)
            if any(argument.arg == node.id for argument in _parameters(function)):
                return self._of_parameter(function, node.id, depth, read)
            function = self.owner.get(id(function))
        bound = self.bound.get((0, node.id))
        return self._of_bound(bound, depth, read) if bound else None

    def _of_bound(self, bound: list[tuple[str, ast.expr]], depth: int, read: Read) -> set[str] | None:
        found: list[set[str] | None] = []
        for kind, value in bound:
            if kind == "value":
                found.append(read(value, depth + 1))
            else:  # an item of a container whose items are containers is beyond this
                found.append(self._items(value, depth + 1) if read == self.strings else None)
        return _union(found)

    def _of_parameter(self, function: Function, name: str, depth: int, read: Read) -> set[str] | None:
        """Collect what the function's callers in this notebook pass."""
        calls = [] if isinstance(function, ast.Lambda) else self.calls.get(function.name, [])
        position = [argument.arg for argument in _parameters(function)].index(name)
        found: list[set[str] | None] = []
        for call in calls:
            passed = [k.value for k in call.keywords if k.arg == name] + call.args[position : position + 1]
            found.append(read(passed[0], depth + 1) if passed else None)
        return _union(found) if found else None

    def _items(self, node: ast.expr, depth: int) -> set[str] | None:
        """Return every string that iterating over the expression can give."""
        if depth > _DEPTH:
            return None
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return _union(self.strings(element, depth + 1) for element in node.elts)
        if isinstance(node, ast.Dict):
            return None if None in node.keys else _union(self.strings(k, depth + 1) for k in node.keys if k)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "keys" and not node.args:
                return self._items(node.func.value, depth + 1)
            passed_on = self.names.dotted(node.func) in _PASSED_ON and len(node.args) == 1
            return self._items(node.args[0], depth + 1) if passed_on else None
        if isinstance(node, ast.Name):
            return self._of_name(node, depth, self._items)
        return None


def _parameters(function: Function) -> list[ast.arg]:
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def _union(sets: Iterable[set[str] | None]) -> set[str] | None:
    together: set[str] = set()
    for strings in sets:
        if strings is None:
            return None
        together |= strings
    return together

"""Statements whose moment does not matter: running them earlier or later cannot change what anything computes.

Only across these may an import be moved. The rule is narrow on purpose: definitions, literals, and a short list of
calls that are known to do nothing but return a value.
"""

import ast
import builtins

from build.stitch.module_context import Meanings
from build.stitch.modules import Meaning, Module
from build.stitch.scopes import is_main_guard, is_typing_guard

_HARMLESS_CALLS = frozenset(
    "dataclasses.dataclass dataclasses.field functools.cache functools.lru_cache functools.total_ordering "
    "functools.cached_property functools.partial re.compile pathlib.Path pathlib.PurePath pathlib.PurePosixPath "
    "collections.namedtuple typing.TypeVar typing.NewType typing.overload typing.final typing.runtime_checkable "
    "abc.abstractmethod contextlib.contextmanager enum.unique enum.auto torch.no_grad torch.inference_mode".split()
)
_HARMLESS_BUILTINS = frozenset(
    "frozenset tuple list dict set range int float str bool len property staticmethod classmethod".split()
)


def is_inert(node: ast.stmt, module: Module, meanings: Meanings) -> bool:
    """Whether a module-level statement has no effect but to bind names to values that never change."""
    return _Inert(module, meanings).statement(node)


class _Inert:
    def __init__(self, module: Module, meanings: Meanings) -> None:
        self.module = module
        self.meanings = meanings

    def statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Pass():
                return True
            case ast.Expr(value=ast.Constant()):
                return True
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
                return (
                    all(map(self.harmless, node.decorator_list))
                    and all(map(self.value, defaults))
                    and not any(isinstance(part, ast.Call) for one in _annotations(node) for part in ast.walk(one))
                )
            case ast.ClassDef():
                return (
                    not node.keywords
                    and all(map(self.harmless, node.decorator_list))
                    and all(map(self.base, node.bases))
                    and all(map(self.statement, node.body))
                )
            case ast.Assign():
                return all(map(self.target, node.targets)) and self.value(node.value)
            case ast.AnnAssign():
                called = any(isinstance(part, ast.Call) for part in ast.walk(node.annotation))
                return not called and self.target(node.target) and (node.value is None or self.value(node.value))
            case ast.If():
                if is_main_guard(node) and not self.module.is_main:
                    return not node.orelse
                return is_typing_guard(node) and all(map(self.statement, [*node.body, *node.orelse]))
            case ast.Try():  # try: import cv2 / except ImportError: cv2 = None
                handled = [statement for handler in node.handlers for statement in handler.body]
                return all(map(self.statement, [*node.body, *handled, *node.orelse, *node.finalbody]))
        return False

    def target(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) or (isinstance(node, ast.Tuple) and all(map(self.target, node.elts)))

    def meaning(self, node: ast.expr) -> Meaning | None:
        """Return what a dotted name means at module level."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        meaning = self.meanings.meaning(self.module.name, node.id)
        if meaning is None:
            return Meaning("outside", ".".join(["builtins", node.id, *names])) if hasattr(builtins, node.id) else None
        if meaning.kind == "outside":
            return Meaning("outside", ".".join([meaning.module, *names]))
        return None if names else meaning

    def harmless(self, node: ast.expr) -> bool:
        """Whether calling this (as a decorator, or as it stands with its arguments) only returns a value."""
        if isinstance(node, ast.Call):
            later = [one.value for one in node.keywords if one.arg == "default_factory"]  # called later, not now
            now = [*node.args, *(one.value for one in node.keywords if one.arg != "default_factory")]
            named = all(isinstance(one, ast.Name | ast.Attribute) or self.value(one) for one in later)
            return self.harmless(node.func) and named and all(map(self.value, now))
        meaning = self.meaning(node)
        if meaning is None or meaning.kind != "outside":
            return False
        top, _, rest = meaning.module.partition(".")
        return meaning.module in _HARMLESS_CALLS or (top == "builtins" and rest in _HARMLESS_BUILTINS)

    def base(self, node: ast.expr) -> bool:
        """Whether deriving from this runs nothing of ours."""
        if isinstance(node, ast.Subscript):
            return self.base(node.value)
        meaning = self.meaning(node)
        if meaning is None:
            return False
        if meaning.kind == "outside":
            return True
        # One of our own classes may have hooks that run when somebody derives from it.
        return meaning.module == self.module.name and not any(
            isinstance(part, ast.FunctionDef) and part.name == "__init_subclass__"
            for part, _ in self.module.names.nodes
        )

    def value(self, node: ast.expr) -> bool:
        """Whether an expression has the same value whenever it is evaluated, and no effect."""
        match node:
            case ast.Constant():
                return True
            case ast.Lambda():
                return all(map(self.value, [*node.args.defaults, *filter(None, node.args.kw_defaults)]))
            case ast.Tuple() | ast.List() | ast.Set():
                return all(map(self.value, node.elts))
            case ast.Dict():
                return all(key is not None and self.value(key) for key in node.keys) and all(
                    map(self.value, node.values)
                )
            case ast.UnaryOp():
                return self.value(node.operand)
            case ast.BinOp():
                return self.value(node.left) and self.value(node.right)
            case ast.Call():
                return self.harmless(node)
            case ast.Name():
                return self.constant(node.id)
        return False

    def constant(self, name: str) -> bool:
        """Whether a name of this module holds a literal for ever."""
        bindings = self.module.runtime(name)
        if not bindings:
            return hasattr(builtins, name) and isinstance(getattr(builtins, name), type)
        values = [
            statement.value
            for statement in self.module.tree.body
            if isinstance(statement, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)
        ]
        return len(bindings) == 1 and len(values) == 1 and _is_immutable(values[0])


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    found = [argument.annotation for argument in arguments if argument is not None]
    return [one for one in [*found, node.returns] if one is not None]


def _is_immutable(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_immutable, node.elts))
    if isinstance(node, ast.UnaryOp):
        return _is_immutable(node.operand)
    return isinstance(node, ast.Constant)

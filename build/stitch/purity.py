"""Statements whose moment does not matter: running them earlier or later cannot change what anything computes.

Only across these may an import or a module be moved. The rule is narrow on purpose: definitions, names, literals, and
a short list of calls that are known to do nothing but return a value. Names are followed into modules of ours that are
seen from here; what somebody else's module holds is taken to stay the same, except in `sys` and `os`.
"""

import ast
import builtins
import re

from build.stitch.module_context import Meanings
from build.stitch.modules import Meaning, Module
from build.stitch.scopes import is_main_guard, is_typing_guard

_HARMLESS_CALLS = frozenset(
    "dataclasses.dataclass dataclasses.field functools.cache functools.lru_cache functools.total_ordering "
    "functools.cached_property functools.partial re.compile pathlib.Path pathlib.PurePath pathlib.PurePosixPath "
    "collections.namedtuple typing.TypeVar typing.NewType typing.overload typing.final typing.runtime_checkable "
    "abc.abstractmethod contextlib.contextmanager enum.unique enum.auto torch.no_grad torch.inference_mode".split()
)
_CHANGING = frozenset({"os", "sys"})
_CHANGEABLE = (ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp)
_READS = (  # what looks into its operands
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Subscript, ast.Slice, ast.JoinedStr),
    *(ast.FormattedValue, ast.Starred, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.Tuple, ast.List, ast.Set, ast.Dict, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
_HARMLESS_BUILTINS = frozenset(
    "frozenset tuple list dict set range int float str bool len property staticmethod classmethod".split()
)


def is_inert(node: ast.stmt, module: Module, meanings: Meanings) -> bool:
    """Whether a module-level statement has no effect but to bind names to values that never change."""
    return _Inert(module, meanings).statement(node)


class _Inert:
    def __init__(self, module: Module, meanings: Meanings, asked: frozenset[Meaning] = frozenset()) -> None:
        self.module = module
        self.meanings = meanings
        self.asked = asked  # constants that this one is asked for: one that is made of itself is none

    def statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Import() | ast.ImportFrom():
                return not any(one.stays and one.site.node is node for one in self.meanings.imports(self.module))
            case ast.Pass():
                return True
            case ast.Expr(value=ast.Constant()):
                return True
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
                return (
                    all(map(self.harmless, node.decorator_list))
                    and all(map(self.value, defaults))
                    and not any(isinstance(part, ast.Call) for one in annotations(node) for part in ast.walk(one))
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
            return self.harmless(node.func) and named and all(map(self.content, now))
        if isinstance(node, ast.Attribute) and node.attr in {"setter", "deleter"}:  # of a property above it
            return isinstance(node.value, ast.Name) and self.meaning(node.value) is None
        meaning = self.meaning(node)
        if meaning is None or meaning.kind != "outside":
            return meaning is not None and self.record(meaning)
        top, _, rest = meaning.module.partition(".")
        return meaning.module in _HARMLESS_CALLS or (top == "builtins" and rest in _HARMLESS_BUILTINS)

    def record(self, meaning: Meaning) -> bool:
        """Whether this is a class of ours that makes records which cannot be changed, and does nothing else."""
        owner, definition = self.definition(meaning)
        if owner is None or not isinstance(definition, ast.ClassDef) or definition.keywords:
            return False
        if _methods(definition) & {"__new__", "__init__", "__post_init__"}:
            return False
        decorators = [ast.unparse(one) for one in definition.decorator_list]
        if not decorators:
            return [ast.unparse(one) for one in definition.bases] == ["NamedTuple"]
        frozen = len(decorators) == 1 and re.fullmatch(r"dataclass\(.*frozen=True.*\)", decorators[0])
        above = _Inert(owner, self.meanings, self.asked)
        return bool(frozen) and all(map(above.record_or_abstract, definition.bases))

    def record_or_abstract(self, node: ast.expr) -> bool:
        """Whether a record's base adds nothing to what making one does."""
        meaning = self.meaning(node)
        if meaning is None:
            return False
        return meaning.module == "abc.ABC" if meaning.kind == "outside" else self.record(meaning)

    def base(self, node: ast.expr) -> bool:
        """Whether deriving from this runs nothing of ours."""
        if isinstance(node, ast.Subscript):
            return self.base(node.value)
        meaning = self.meaning(node)
        if meaning is None or meaning.kind == "outside":
            return meaning is not None
        # One of our own classes may have hooks that run when somebody derives from it.
        owner, definition = self.definition(meaning)
        return (
            owner is not None
            and isinstance(definition, ast.ClassDef)
            and all(map(_Inert(owner, self.meanings).base, definition.bases))
            and "__init_subclass__" not in _methods(definition)
        )

    def value(self, node: ast.expr) -> bool:
        """Whether an expression gives the same object, or an equal new one, whenever it is evaluated."""
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
            case ast.Call():
                return self.harmless(node)
            case ast.Name() | ast.Attribute():
                return self.fixed(node)
        return self.content(node)

    def fixed(self, node: ast.expr) -> bool:
        """Whether a dotted name is bound once, to whatever it is."""
        meaning = self.meaning(node)
        if meaning is None or meaning.kind == "module":
            return False
        if meaning.kind == "outside":
            return meaning.module.split(".")[0] not in _CHANGING
        # Of a name that an import binds, the collisions are refused, and it does not follow `global`.
        return meaning.module != self.module.name or len(self.module.runtime(meaning.name)) == 1

    def content(self, node: ast.AST, own: frozenset[str] = frozenset()) -> bool:
        """Whether what an expression looks into never changes; `own` are the names of the comprehensions around it."""
        match node:
            case ast.Constant():
                return True
            case ast.Name():
                return node.id in own or not isinstance(node.ctx, ast.Load) or self.constant(node)
            case ast.Attribute():
                return self.fixed(node) if self.meaning(node) else self.content(node.value, own)
            case ast.Call() | ast.Lambda():
                return self.value(node)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                targets = [part for one in node.generators for part in ast.walk(one.target)]
                own = own.union(part.id for part in targets if isinstance(part, ast.Name))
        return isinstance(node, _READS) and all(self.content(child, own) for child in ast.iter_child_nodes(node))

    def constant(self, node: ast.Name) -> bool:
        """Whether a name holds for ever something that cannot change: literals in tuples, a class, a function."""
        meaning = self.meaning(node)
        if meaning is None or meaning.kind != "name":
            return self.fixed(node)
        owner, definition = self.definition(meaning)
        if owner is None or meaning in self.asked:
            return False
        if isinstance(definition, ast.expr):
            changes = any(isinstance(part, _CHANGEABLE) for part in ast.walk(definition))
            return not changes and _Inert(owner, self.meanings, self.asked | {meaning}).content(definition)
        return definition is not None

    def definition(self, meaning: Meaning) -> tuple[Module | None, ast.AST | None]:
        """Return the module where a value of ours is made, if it is seen here, and the one definition or expression."""
        owner = self.meanings.defined_in(meaning)
        if owner is None or len(owner.runtime(meaning.name)) != 1:
            return None, None
        for statement in owner.tree.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=found)
                    | ast.AnnAssign(target=ast.Name(id=name), value=found)
                ):
                    pairs: list[tuple[str, ast.AST | None]] = [(name, found)]
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    pairs = [
                        (one.id, value) for one, value in zip(names, values, strict=False) if isinstance(one, ast.Name)
                    ]
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    pairs = [(name, statement)]
                case _:
                    continue
            for bound, made in pairs:
                if bound == meaning.name:
                    return owner, made
        return owner, None


def annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    """Return the annotations of a function's arguments and of what it returns."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    found = [argument.annotation for argument in arguments if argument is not None]
    return [one for one in [*found, node.returns] if one is not None]


def _methods(definition: ast.ClassDef) -> set[str]:
    return {node.name for node in definition.body if isinstance(node, ast.FunctionDef)}

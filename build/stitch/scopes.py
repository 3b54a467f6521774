"""Which names a module binds and reads, scope by scope, as the compiler would decide it.

What the walk over a tree (walk.py) finds: bindings, reads, attribute chains and import statements. Nothing here knows
of files or notebooks.
"""

import ast
from dataclasses import dataclass, field
from typing import Literal

Statement = ast.Import | ast.ImportFrom
Block = list[ast.stmt]
How = Literal["import", "value", "delete"]


@dataclass(eq=False)
class Scope:
    """A module, a class body or anything that has local variables (function, lambda, comprehension)."""

    kind: Literal["module", "class", "function", "comprehension"]
    parent: "Scope | None" = None
    bound: dict[str, list["Binding"]] = field(default_factory=dict)
    global_names: set[str] = field(default_factory=set)
    outer_names: set[str] = field(default_factory=set)  # declared nonlocal

    def holder(self, name: str) -> "Scope":
        """Return the scope whose variable `name` is when it is mentioned here; the module when nobody else has it."""
        scope: Scope | None = self
        first = True
        while scope is not None and scope.kind != "module":
            if name in scope.global_names:
                break
            if name in scope.bound and name not in scope.outer_names and (first or scope.kind != "class"):
                return scope
            scope, first = scope.parent, False
        return self.module

    @property
    def module(self) -> "Scope":
        """The outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


@dataclass(eq=False, frozen=True, slots=True)
class Site:
    """One import statement and what surrounds it."""

    node: Statement
    scope: Scope
    block: Block  # the list of statements that holds it
    parents: tuple[ast.AST, ...]  # outermost first
    typing_only: bool  # under `if TYPE_CHECKING:`
    caught: bool = False  # a try around it that is decided would have caught its failure
    aliases: tuple[ast.alias, ...] = ()  # of `from ours import *`, what it brings

    @property
    def top_level(self) -> bool:
        """Whether the statement stands directly in the module."""
        return not self.parents

    @property
    def lazy(self) -> bool:
        """Whether it runs only when a function is called."""
        return any(isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) for parent in self.parents)


@dataclass(eq=False, frozen=True, slots=True)
class Binding:
    """One place where a scope gives a name a value (or deletes it)."""

    name: str
    node: ast.AST
    how: How
    site: Site | None = None
    alias: ast.alias | None = None
    typing_only: bool = False
    through_global: bool = False  # by a function that declares the name global


@dataclass(eq=False, frozen=True, slots=True)
class Use:
    """One mention of a name, with the attributes that follow it: `p.mod.score` is `p` with [`mod`, `score`]."""

    node: ast.Name
    name: str  # as the compiler knows it: `__x` in class C is `_C__x`
    scope: Scope
    attributes: tuple[ast.Attribute, ...]
    in_class: bool  # somewhere inside a class, where `__x` is mangled
    joined: ast.JoinedStr | None  # the outermost f-string around it
    typing_only: bool


@dataclass(eq=False)
class Names:
    """All that one walk finds."""

    module: Scope
    sites: list[Site] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    nodes: list[ast.AST] = field(default_factory=list)
    guards: list[ast.If] = field(default_factory=list)  # `if __name__ == "__main__"` at module level
    quoted: list[tuple[ast.Constant, Scope, bool]] = field(default_factory=list)  # annotations in quotes, typing-only?


def is_main_guard(node: ast.AST) -> bool:
    """Whether this is `if __name__ == "__main__":` (either way round)."""
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1):
        return False
    sides = [node.test.left, node.test.comparators[0]]
    names = [side.id for side in sides if isinstance(side, ast.Name)]
    values = [side.value for side in sides if isinstance(side, ast.Constant)]
    return isinstance(node.test.ops[0], ast.Eq) and names == ["__name__"] and values == ["__main__"]


def is_typing_guard(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING:` or `if typing.TYPE_CHECKING:` (a rule sees that it is typing's)."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING" and isinstance(test.value, ast.Name)
    )

"""One walk over a module's tree, which collects everything that the rules and the rewriting ask about."""

import ast
from dataclasses import replace
from typing import Literal

from build.stitch.scopes import Binding, Block, How, Names, Scope, Site, Statement, Use, is_main_guard, is_typing_guard


def find_names(tree: ast.Module, skip_guards: bool) -> Names:
    """Walk a module; with `skip_guards` the body of its main guards is left out, because it never runs on import."""
    walker = _Walker(skip_guards)
    for statement in tree.body:
        walker.block = tree.body
        walker.visit(statement)
    walker.attribute_globals()
    return walker.names


class _Walker:
    """The walk itself: the fields say where it stands."""

    def __init__(self, skip_guards: bool) -> None:
        self.skip_guards = skip_guards
        self.scope = Scope("module")
        self.names = Names(self.scope)
        self.parents: list[ast.AST] = []
        self.block: Block = []
        self.classes: list[str] = []
        self.typing_only = False
        self.joined: ast.JoinedStr | None = None
        self.scopes = [self.scope]

    # -- bookkeeping ------------------------------------------------------------------------------------------------

    def mangled(self, name: str) -> str:
        """Private names change inside a class: `__x` in class C is `_C__x`."""
        if self.classes and name.startswith("__") and not name.endswith("__"):
            owner = self.classes[-1].lstrip("_")
            return f"_{owner}{name}" if owner else name
        return name

    def bind(
        self,
        name: str,
        node: ast.AST,
        how: How = "value",
        scope: Scope | None = None,
        site: Site | None = None,
        alias: ast.alias | None = None,
    ) -> None:
        name = self.mangled(name)
        binding = Binding(name, node, how, site, alias, self.typing_only)
        (scope or self.scope).bound.setdefault(name, []).append(binding)

    def attribute_globals(self) -> None:
        """Move what a function binds under `global x` to the module; `nonlocal` bindings belong further out."""
        module = self.names.module
        for scope in self.scopes[1:]:
            for name in scope.global_names & set(scope.bound):
                for binding in scope.bound.pop(name):
                    module.bound.setdefault(name, []).append(replace(binding, through_global=True))

    def inside(self, kind: Literal["class", "function", "comprehension"]) -> Scope:
        self.scope = Scope(kind, self.scope)
        self.scopes.append(self.scope)
        return self.scope

    def visit_all(self, nodes: list[ast.stmt] | list[ast.expr], parent: ast.AST | None = None) -> None:
        """Visit a list; with a parent it is one of that node's blocks."""
        if parent is None:
            for node in nodes:
                self.visit(node)
            return
        outer = self.block
        self.parents.append(parent)
        for node in nodes:
            self.block = nodes  # type: ignore[assignment]
            self.visit(node)
        self.parents.pop()
        self.block = outer

    # -- the walk ---------------------------------------------------------------------------------------------------

    def visit(self, node: ast.AST | None) -> None:
        if node is None:
            return
        if self.skip_guards and not self.parents and is_main_guard(node):
            assert isinstance(node, ast.If)
            self.names.guards.append(node)
            self.visit_all(node.orelse, node)
            return
        self.names.nodes.append(node)
        method = getattr(self, f"_{type(node).__name__}", None)
        if method is not None:
            method(node)
        else:
            self.visit_children(node)

    def visit_children(self, node: ast.AST) -> None:
        for _, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                self.visit(value)
            elif isinstance(value, list) and value and isinstance(value[0], ast.AST):
                self.visit_all(value, node if isinstance(value[0], ast.stmt) else None)

    def _If(self, node: ast.If) -> None:
        outer = self.typing_only
        self.visit(node.test)
        self.typing_only = outer or is_typing_guard(node)
        self.visit_all(node.body, node)
        self.typing_only = outer
        self.visit_all(node.orelse, node)

    def _Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bind(node.id, node)
        elif isinstance(node.ctx, ast.Del):
            self.bind(node.id, node, "delete")
        self.use(node, ())

    def use(self, node: ast.Name, attributes: tuple[ast.Attribute, ...]) -> None:
        self.names.uses.append(
            Use(node, self.mangled(node.id), self.scope, attributes, bool(self.classes), self.joined, self.typing_only)
        )

    def _Attribute(self, node: ast.Attribute) -> None:
        chain = [node]
        while isinstance(chain[0].value, ast.Attribute):
            chain.insert(0, chain[0].value)
        if isinstance(chain[0].value, ast.Name):
            self.names.nodes += chain[:-1]
            self.use(chain[0].value, tuple(chain))
        else:
            self.visit(node.value)

    def _JoinedStr(self, node: ast.JoinedStr) -> None:
        outer = self.joined
        self.joined = outer or node
        self.visit_children(node)
        self.joined = outer

    def _Import(self, node: Statement) -> None:
        site = Site(node, self.scope, self.block, tuple(self.parents), self.typing_only)
        self.names.sites.append(site)
        for alias in node.names:
            if alias.name != "*":
                bound = alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)
                self.bind(bound, node, "import", site=site, alias=alias)

    _ImportFrom = _Import

    def _Global(self, node: ast.Global) -> None:
        if self.scope.kind != "module":
            self.scope.global_names.update(map(self.mangled, node.names))

    def _Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.outer_names.update(map(self.mangled, node.names))

    def annotation(self, node: ast.expr | None) -> None:
        if node is None:
            return
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                self.names.quoted.append((part, self.scope, self.typing_only))
        self.visit(node)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.value)
        self.annotation(node.annotation)
        self.visit(node.target)

    def arguments(self, node: ast.arguments) -> list[ast.arg]:
        """Visit what the enclosing scope evaluates; return the arguments themselves."""
        self.visit_all(node.defaults)
        self.visit_all([default for default in node.kw_defaults if default is not None])
        every = [*node.posonlyargs, *node.args, *node.kwonlyargs, *filter(None, (node.vararg, node.kwarg))]
        for arg in every:
            self.annotation(arg.annotation)
        return every

    def _FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit_all(node.decorator_list)
        arguments = self.arguments(node.args)
        self.annotation(node.returns)
        self.bind(node.name, node)
        outer = self.scope
        self.inside("function")
        for arg in arguments:
            self.bind(arg.arg, arg)
        self.visit_all(node.body, node)
        self.scope = outer

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda) -> None:
        arguments = self.arguments(node.args)
        outer = self.scope
        self.inside("function")
        for arg in arguments:
            self.bind(arg.arg, arg)
        self.visit(node.body)
        self.scope = outer

    def _ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all(node.decorator_list)
        self.visit_all(node.bases)
        for keyword in node.keywords:
            self.visit(keyword)
        self.bind(node.name, node)
        outer = self.scope
        self.inside("class")
        self.classes.append(node.name)
        self.visit_all(node.body, node)
        self.classes.pop()
        self.scope = outer

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        first, *rest = node.generators
        self.visit(first.iter)  # the first iterable is evaluated outside
        outer = self.scope
        self.inside("comprehension")
        self.visit(first.target)
        self.visit_all(first.ifs)
        for generator in rest:
            self.visit(generator.iter)
            self.visit(generator.target)
            self.visit_all(generator.ifs)
        if isinstance(node, ast.DictComp):
            self.visit(node.key)
            self.visit(node.value)
        else:
            self.visit(node.elt)
        self.scope = outer

    _ListComp = _SetComp = _GeneratorExp = _DictComp = _comprehension

    def _NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        scope = self.scope
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        self.bind(node.target.id, node.target, scope=scope)
        self.use(node.target, ())

    def _ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.visit(node.type)
        if node.name:
            self.bind(node.name, node)
        self.visit_all(node.body, node)

    def _MatchAs(self, node: ast.MatchAs) -> None:
        self.visit(node.pattern)
        if node.name:
            self.bind(node.name, node)

    def _MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bind(node.name, node)

    def _MatchMapping(self, node: ast.MatchMapping) -> None:
        self.visit_children(node)
        if node.rest:
            self.bind(node.rest, node)

"""Whose a name is that a class body reads and binds: the module's until the class has bound it, `lr = lr`."""

import ast
from typing import Literal

from build.stitch.modules import Module
from build.stitch.scopes import Use

Owner = Literal["module", "class", "either"]
_SIMPLE = (ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def read_from(use: Use, module: Module) -> Owner:
    """Return where the value comes from when a class body mentions a name that it binds somewhere itself."""
    if not isinstance(use.node.ctx, ast.Load):
        return "class"
    body = _body_around(use.node, module)
    at = next(number for number, statement in enumerate(body) if _holds(statement, use.node))
    nodes = [binding.node for binding in use.scope.bound[use.name]]
    binding_at = [number for number, one in enumerate(body) if any(_holds(one, node) for node in nodes)]
    simple = [number for number in binding_at if isinstance(body[number], _SIMPLE)]
    if len(simple) == len(binding_at) and at <= min(binding_at):
        return "module"  # what a statement reads, it reads before it binds
    deleted = any(binding.how == "delete" for binding in use.scope.bound[use.name])
    return "class" if any(number < at for number in simple) and not deleted else "either"


def _body_around(node: ast.AST, module: Module) -> list[ast.stmt]:
    """Return the body of the innermost class around a node."""
    classes = [one for one in module.names.nodes if isinstance(one, ast.ClassDef)]
    around = [one.body for one in classes if any(_holds(statement, node) for statement in one.body)]
    return around[-1]  # the walk comes to the outer ones first


def _holds(statement: ast.stmt, node: ast.AST) -> bool:
    return any(part is node for part in ast.walk(statement))

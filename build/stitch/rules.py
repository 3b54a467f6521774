"""What a notebook has not, or has with another value: each rule is a small function.

Every rule gets a module and notes each offending place; none stops at the first.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache

from build.core.errors import Problem
from build.stitch.kernel_differences import refuse_kernel_differences
from build.stitch.library import Library
from build.stitch.module_context import Meanings, ModuleContext, context_of, named
from build.stitch.modules import Module
from build.stitch.placement import RULES as PLACEMENT_RULES
from build.stitch.placement import Rule
from build.stitch.scopes import Use, is_typing_guard

REWRITTEN = frozenset({"__name__", "__file__", "__doc__", "__package__"})  # see module_names
# Names of a module that a notebook has not, or has with another value.
_MODULE_NAMES = frozenset(
    "__file__ __spec__ __package__ __loader__ __path__ __doc__ __builtins__ __annotations__".split()
)
_TRICKS = {
    "globals": "read names directly",
    "eval": "write the code itself",
    "exec": "write the code itself",
    "compile": "write the code itself",
    "__import__": "use an import statement",
    "__build_class__": "use a class statement",
}
# Names that IPython keeps in the notebook's namespace and changes by itself.
_IPYTHON_NAMES = {"_", "__", "___", "In", "Out", "_oh", "_dh", "_ih", "_i", "_ii", "_iii", "exit", "quit"}
_OUTSIDE = {
    "sys.modules": "import what you need by name",
    "sys._getframe": "pass the value as an argument",
    "sys.argv": "put the value into the parameters cell",
    "importlib": "use an import statement",
    "pkgutil": "use an import statement",
    "runpy": "use an import statement",
    "imp": "use an import statement",
    "builtins": "give the name a module of yours",
    "inspect.getsource": "there is no source file in a notebook",
    "inspect.getsourcelines": "there is no source file in a notebook",
    "inspect.getsourcefile": "there is no source file in a notebook",
    "inspect.getfile": "there is no source file in a notebook",
    "inspect.getmodule": "there is no module in a notebook",
    "inspect.stack": "pass the value as an argument",
    "inspect.currentframe": "pass the value as an argument",
    "inspect.getcomments": "there is no source file in a notebook",
}
_ALLOWED_OUTSIDE = ("importlib.metadata",)
_SET_UP = frozenset({"sys.argv"})  # a cell above somebody else's script makes it what it is on the command line


def refuse_in(module: Module, library: Library) -> None:
    """Apply every rule to one module."""
    for problem in _judge_all(context_of(module, library)):
        library.refuse(problem.where, problem.what, problem.cure)


@lru_cache(maxsize=256)
def _judge_all(context: ModuleContext) -> tuple[Problem, ...]:
    """Return what the rules say of a module, once for all notebooks and builds in which it sees the same."""
    for rule in (*RULES, *PLACEMENT_RULES):
        rule(context.module, context)
    refuse_kernel_differences(context.module, context, dotted)
    return tuple(context.problems)


def dotted(use: Use, module: Module, meanings: Meanings) -> Iterator[str]:
    """Yield what a use means outside, longer with every attribute: `os`, `os.environ`, `os.environ.get`."""
    holder = use.scope.holder(use.name)
    if holder.kind != "module":
        if all(binding.how != "import" for binding in holder.bound[use.name]):
            return
        found = [one for one in meanings.imports(module) if one.bound == use.name and one.site.scope is holder]
        meaning = found[0].meaning if found else None
    else:
        meaning = named(meanings, module, use.name)
    if meaning is None or meaning.kind != "outside":
        return
    path = meaning.module
    yield path
    for attribute in use.attributes:
        path += "." + attribute.attr
        yield path


def _module_names(module: Module, context: ModuleContext) -> None:
    for use in module.names.uses:
        name = use.name
        if use.scope.holder(name).kind != "module":
            continue
        if context.foreign and name in REWRITTEN:
            _own_name(use, module, context)
        elif name in _MODULE_NAMES:
            context.refuse(module.at(use.node), f"{name} differs in a notebook", "pass the value as a parameter")
        elif name == "__name__" and not module.is_main:
            context.refuse(
                module.at(use.node),
                f"__name__ would be '__main__' instead of {module.name!r}",
                "write the name as text",
            )


def _own_name(use: Use, module: Module, context: ModuleContext) -> None:
    """In somebody else's script the name is replaced by what it stands for, where it is only read."""
    if not isinstance(use.node.ctx, ast.Load):
        context.refuse(module.at(use.node), f"sets {use.name}", "give the value a name of its own")
    elif use.name == "__doc__" and use.scope.kind == "class":
        context.refuse(module.at(use.node), "__doc__ in a class body may be the class's own", "write the text")


def _attributes(module: Module, context: ModuleContext) -> None:
    for node in module.names.nodes:
        attribute = node.attr if isinstance(node, ast.Attribute) else None
        if attribute in {"__module__", "__globals__", "f_globals"}:
            context.refuse(module.at(node), f".{attribute} differs in a notebook", "write the value as text")


def _tricks(module: Module, context: ModuleContext) -> None:
    called = {id(node.func): node for node in module.names.nodes if isinstance(node, ast.Call)}
    for use in module.names.uses:
        name = use.name
        if use.scope.holder(name).kind != "module" or module.runtime(name):
            continue
        call = called.get(id(use.node))
        bare = call is None or not (call.args or call.keywords)
        if name in _TRICKS:
            context.refuse(module.at(use.node), f"{name} reaches names that the stitcher cannot follow", _TRICKS[name])
        elif name in {"vars", "dir"} and bare:
            context.refuse(module.at(use.node), f"{name}() lists the notebook's names", "name what you need")
        elif name == "locals" and use.scope.kind != "function":
            context.refuse(module.at(use.node), "locals() lists the notebook's names here", "name what you need")


def _ipython_names(module: Module, context: ModuleContext) -> None:
    for use in module.names.uses:
        name = use.name
        numbered = name.startswith("_") and name.lstrip("_i").isdigit()
        if (
            isinstance(use.node.ctx, ast.Load)
            and (name in _IPYTHON_NAMES or numbered)
            and use.scope.holder(name).kind == "module"
        ):
            cure = "raise SystemExit" if name in {"exit", "quit"} else "give it another name"
            context.refuse(module.at(use.node), f"IPython gives {name} a value of its own", cure)


def _outside(module: Module, context: ModuleContext) -> None:
    for imported in context.imports(module):
        node, name = imported.site.node, imported.alias.name
        if isinstance(node, ast.ImportFrom):
            _judge(module, context, node, "" if imported.runs else f"{node.module}.{name}")
        elif imported.meaning.kind == "outside" and name.split(".")[0] in _OUTSIDE:
            _judge(module, context, node, name)
    for use in module.names.uses:
        for path in dotted(use, module, context):
            if _judge(module, context, use.node, path):
                break


def _judge(module: Module, context: ModuleContext, node: ast.AST, path: str) -> bool:
    """Refuse a dotted name that is on the list, or lies in a module on it; say whether it was."""
    top = path.split(".")[0]
    key = path if path in _OUTSIDE else top
    if key not in _OUTSIDE or path.startswith(_ALLOWED_OUTSIDE) or (context.foreign and path in _SET_UP):
        return False
    if path == "importlib" and isinstance(node, ast.Name):  # `importlib.metadata` may follow
        return False
    context.refuse(module.at(node), f"{path} does not work the same way in a notebook", _OUTSIDE[key])
    return True


def _arguments(module: Module, context: ModuleContext) -> None:
    """`parser.parse_args()` reads the kernel's own command line."""
    for node in [] if context.foreign else module.names.nodes:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"parse_args", "parse_known_args"}
            and not node.args
            and not node.keywords
        ):
            context.refuse(
                module.at(node), f"{node.func.attr}() reads the kernel's command line", "use the parameters cell"
            )


def _hooks(module: Module, context: ModuleContext) -> None:
    for name in ("__getattr__", "__dir__"):
        for binding in module.runtime(name):
            context.refuse(
                module.at(binding.node), f"module-level {name} has no effect in a notebook", "define the names"
            )


def _new_syntax(module: Module, context: ModuleContext) -> None:
    for node in module.names.nodes:
        if getattr(node, "type_params", None) or type(node).__name__ == "TypeAlias":
            context.refuse(
                module.at(node), "type parameters need Python 3.12; the kit runs from 3.11 on", "use TypeVar"
            )


def _typing_flag(module: Module, context: ModuleContext) -> None:
    """`TYPE_CHECKING` is False when it is typing's and nobody sets it."""
    for use in module.names.uses:
        if isinstance(use.attributes[-1].ctx if use.attributes else use.node.ctx, ast.Load):
            continue
        if "typing.TYPE_CHECKING" in dotted(use, module, context):
            context.refuse(module.at(use.node), "sets TYPE_CHECKING", "leave it to the type checker")
    roots = {
        id(root_of(node.test)) for node in module.names.nodes if isinstance(node, ast.If) and is_typing_guard(node)
    }
    for use in module.names.uses:
        if id(use.node) in roots and "typing.TYPE_CHECKING" not in dotted(use, module, context):
            context.refuse(module.at(use.node), "TYPE_CHECKING is not typing's here", "import it from typing")


def root_of(node: ast.expr) -> ast.expr:
    """Return what a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


RULES: tuple[Rule, ...] = (
    _module_names,
    _attributes,
    _tricks,
    _ipython_names,
    _outside,
    _arguments,
    _hooks,
    _new_syntax,
    _typing_flag,
)

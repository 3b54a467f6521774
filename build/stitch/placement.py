"""Where an import stands: lines that cannot move or vanish from there without changing what the program does."""

import ast
from collections.abc import Callable

from build.stitch.cells import first_line
from build.stitch.decided import standing_for
from build.stitch.module_context import Meanings, ModuleContext
from build.stitch.modules import Module
from build.stitch.order import is_eager, is_gathered, is_third_party
from build.stitch.purity import is_inert
from build.stitch.scopes import Scope, is_main_guard, is_typing_guard

Rule = Callable[[Module, ModuleContext], None]


def _places(module: Module, context: ModuleContext) -> None:
    """Imports of ours that cannot vanish from where they stand."""
    for imported in context.imports(module):
        site = imported.site
        if not imported.runs or site.typing_only or is_eager(imported, module):
            continue
        kinds = {type(parent) for parent in site.parents}
        if ast.Try in kinds or ast.TryStar in kinds:
            what = "import of ours inside try: the notebook always has it"
        elif context.foreign and site.scope.kind == "module" and all(isinstance(one, ast.If) for one in site.parents):
            continue  # of a module that does nothing: the plan sees to that
        elif not site.lazy:
            what = "conditional import of ours"
        elif site.scope.kind == "class":
            what = "import of ours in a class body"
        elif imported.bound in site.scope.global_names | site.scope.outer_names:
            what = f"import of ours into the global or nonlocal name {imported.bound}"
        else:
            continue
        context.refuse(module.at(site.node), what, "import it at the top of the file")


def _early_uses(module: Module, context: ModuleContext) -> None:
    """Where an import of ours vanishes its name is always there: nothing may depend on its being missing before."""
    for imported in context.imports(module):
        site = imported.site
        if not imported.runs or site.typing_only:
            continue
        last = max(node.end_lineno or node.lineno for node in site.block)
        for use in module.names.uses:
            if use.name != imported.bound or use.scope.holder(use.name) is not site.scope:
                continue
            runs_now = _innermost(use.scope) is _innermost(site.scope)
            above = use.node.lineno < site.node.lineno and (site.lazy or runs_now)
            outside = site.lazy and use.node.lineno > last
            repeated = any(
                other.bound == imported.bound
                and other.site.scope is site.scope
                and other.site.node.lineno < use.node.lineno
                for other in context.imports(module)
                if other.site is not site and other.meaning == imported.meaning
            )
            if (above or outside) and not repeated:
                context.refuse(
                    module.at(use.node),
                    f"{imported.bound} is used where line {site.node.lineno} may not have imported it",
                    "move the import to the top",
                )


def _innermost(scope: Scope) -> Scope:
    """Return the scope whose code runs when this one's does: class bodies and comprehensions run at once."""
    while scope.kind in {"class", "comprehension"} and scope.parent is not None:
        scope = scope.parent
    return scope


def _late_imports(module: Module, context: ModuleContext) -> None:
    """A library module's imports run before its code in the notebook: so must they in the source."""
    if module.is_main or context.foreign:  # which is cut there
        return
    lines = {
        imported.site.node.lineno
        for imported in context.imports(module)
        if imported.site.top_level and (imported.runs or (is_gathered(imported) and is_third_party(imported)))
    }
    active = None
    for node in module.tree.body:
        if node.lineno in lines and active is not None:
            context.refuse(
                module.at(node), f"this import runs after line {active}, which does something", "move it to the top"
            )
        if active is None and not is_inert(node, module, context):
            active = node.lineno


def _main_guard(module: Module, context: ModuleContext) -> None:
    for node in [] if module.is_main else module.names.guards:
        if node.orelse:
            context.refuse(
                module.at(node), "main guard with an else branch in a library module", "drop the else branch"
            )


def _guarded_imports(module: Module, context: ModuleContext) -> None:
    """In the script's main guard an import of ours must come first: the cell cannot be cut there."""
    for node in module.tree.body if module.is_main else []:
        if not is_main_guard(node):
            continue
        assert isinstance(node, ast.If)
        lines = {one.site.node.lineno for one in context.imports(module) if one.runs and node in one.site.parents}
        active = False
        for statement in node.body:
            if statement.lineno in lines and active:
                context.refuse(
                    module.at(statement), "import of ours below code in the main guard", "move it to the top"
                )
            active = active or not is_inert(statement, module, context)


def _shared_lines(module: Module, context: ModuleContext) -> None:
    """What vanishes must have its lines for itself."""
    for node in removable(module, context):
        first, last = first_line(node), node.end_lineno or node.lineno
        before = module.lines[first - 1].encode()[: node.col_offset]
        after = module.lines[last - 1].encode()[node.end_col_offset :].decode().strip()
        if before.strip() or (after and not after.startswith("#")):
            context.refuse(module.at(node), "shares its line with another statement", "put it on a line of its own")


def removable(module: Module, meanings: Meanings) -> list[ast.stmt]:
    """Return the statements that do not appear in the notebook where they stand in the source."""
    gone: dict[int, ast.stmt] = {}
    for site in module.names.sites:
        if isinstance(site.node, ast.ImportFrom) and site.node.module == "__future__":
            gone[id(site.node)] = site.node
    for imported in meanings.imports(module):
        if imported.runs or is_gathered(imported):
            node = standing_for(module, imported.site.node)
            gone[id(node)] = node
    for guard in [] if module.is_main else module.names.guards:
        gone[id(guard)] = guard
    if module.docstring is not None:
        gone[id(module.docstring)] = module.docstring
    for node in module.tree.body:  # nothing is left of `if TYPE_CHECKING:` when all it held were imports of ours
        if (
            is_typing_guard(node)
            and isinstance(node, ast.If)
            and not node.orelse
            and all(id(one) in gone for one in node.body)
        ):
            for one in node.body:
                del gone[id(one)]
            gone[id(node)] = node
    return list(gone.values())


def _mixed(module: Module, context: ModuleContext) -> None:
    for site in module.names.sites:
        if site.top_level:
            continue
        ours = [bool(one.runs) for one in context.imports(module) if one.site is site]
        if any(ours) and not all(ours):
            context.refuse(
                module.at(site.node), "imports ours and others in one statement", "write one import per line"
            )


def _typing_else(module: Module, context: ModuleContext) -> None:
    for imported in [] if context.foreign else context.imports(module):
        parents = imported.site.parents
        if imported.runs and imported.site.typing_only and not is_typing_guard(parents[-1]):
            context.refuse(
                module.at(imported.site.node),
                "nested import of ours under TYPE_CHECKING",
                "import it directly under the if",
            )


RULES: tuple[Rule, ...] = (
    _places,
    _early_uses,
    _late_imports,
    _main_guard,
    _guarded_imports,
    _shared_lines,
    _mixed,
    _typing_else,
)

"""What an import of ours will do is known before the program runs: a module's names with that decided.

- `try: from ours import f / except ImportError: f = None`: ours is there, so the handler never runs.
- `try: from .m import f / except ImportError: from m import f`: a script that is no module of a package has no
  relative imports, and a module that is not there cannot be imported, so the handler always runs.
- `from ours import *`: the names are those of `__all__`, or the public ones.

The whole `try` then stands for the imports that run. One with anything else in it is left as it is.
"""

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from build.stitch.modules import Module
from build.stitch.scopes import Binding, Names, Site, Statement
from build.stitch.walk import find_names

if TYPE_CHECKING:
    from build.stitch.library import Library

_CAUGHT = frozenset({"ImportError", "Exception", "BaseException"})


def decide(module: Module, library: "Library") -> None:
    """Give a module the names that it has with its tries and star imports decided."""
    module.decided = {}
    tries = [
        (node, live)
        for node in module.tree.body
        if isinstance(node, ast.Try) and (live := _live(node, module, library))
    ]
    stars = [site for site in module.names.sites if site.top_level and site.node.names[0].name == "*"]
    if not tries and not stars:
        return
    module.names = names = find_names(module.tree, not module.is_main)
    for node, live in tries:
        _keep(node, live, module)
    for site in [site for site in names.sites if site.top_level and site.node.names[0].name == "*"]:
        _spell_out(site, module, library)


# -- tries ---------------------------------------------------------------------------------------------------------


def _live(node: ast.Try, module: Module, library: "Library") -> list[ast.stmt]:
    """Return the imports of ours that a try comes down to; none where that is not known."""
    if node.orelse or node.finalbody or not _are_ours(node.body, module, library):
        return []
    catching = [one for one in node.handlers if _catches(one)]
    if not catching:
        return []
    if all(_is_there(one, module, library) for one in node.body):
        return node.body
    handler = catching[0]
    fails_at_once = not _is_there(node.body[0], module, library)
    alone = handler is node.handlers[0] and handler.name is None
    return handler.body if fails_at_once and alone and _are_ours(handler.body, module, library) else []


def _catches(handler: ast.ExceptHandler) -> bool:
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(one is None or (isinstance(one, ast.Name) and one.id in _CAUGHT) for one in types)


def _sources(statement: ast.stmt, module: Module) -> list[str] | None:
    """Return the modules that an import names; None for a relative one that reaches too far, or another statement."""
    if isinstance(statement, ast.Import):
        return [one.name for one in statement.names]
    if not isinstance(statement, ast.ImportFrom) or not statement.level:
        return [statement.module or ""] if isinstance(statement, ast.ImportFrom) else None
    parts = module.package.split(".") if module.package else []
    kept = len(parts) - statement.level + 1
    return [".".join(parts[:kept] + ([statement.module] if statement.module else []))] if kept > 0 else None


def _are_ours(statements: list[ast.stmt], module: Module, library: "Library") -> bool:
    for one in statements:
        sources = _sources(one, module)
        relative = isinstance(one, ast.ImportFrom) and one.level > 0
        if not relative and (sources is None or not all(map(library.is_ours, sources))):
            return False
    return True


def _is_there(statement: ast.stmt, module: Module, library: "Library") -> bool:
    sources = _sources(statement, module)
    return sources is not None and all(library.locate(one) is not None for one in sources)


def _keep(node: ast.Try, live: list[ast.stmt], module: Module) -> None:
    """Let the names be those of the live imports alone, as if they stood where the try stands."""
    names = module.names
    inside = {id(one) for one in ast.walk(node)}
    sites: dict[int, Site] = {}
    for site in names.sites:
        if any(site.node is one for one in live):
            caught = live is node.body
            sites[id(site.node)] = replace(site, parents=(), block=module.tree.body, caught=caught)
            module.decided[id(site.node)] = node
    names.sites[:] = [
        sites.get(id(site.node), site) for site in names.sites if id(site.node) in sites or id(site.node) not in inside
    ]
    names.uses[:] = [use for use in names.uses if id(use.node) not in inside]
    names.nodes[:] = [one for one in names.nodes if id(one) not in inside]
    for name, bindings in list(names.module.bound.items()):
        kept = [_kept(one, sites) for one in bindings if id(one.node) in sites or id(one.node) not in inside]
        if kept:
            names.module.bound[name] = kept
        else:
            del names.module.bound[name]


def _kept(binding: Binding, sites: dict[int, Site]) -> Binding:
    return replace(binding, site=sites.get(id(binding.node), binding.site))


# -- star imports --------------------------------------------------------------------------------------------------


def _spell_out(site: Site, module: Module, library: "Library") -> None:
    """Put the names that a star import of ours brings into a module's names."""
    sources = _sources(site.node, module)
    source = library.load(sources[0]) if sources and library.is_ours(sources[0]) else None
    exported = _exported(source) if source is not None else None
    if exported is None:  # the library refuses the star
        return
    (star,) = site.node.names
    aliases = tuple(ast.copy_location(ast.alias(name), star) for name in exported)
    spelled = replace(site, aliases=aliases)
    names: Names = module.names
    names.sites[names.sites.index(site)] = spelled
    for alias in aliases:
        binding = Binding(alias.name, site.node, "import", spelled, alias)
        names.module.bound.setdefault(alias.name, []).append(binding)


def _exported(source: Module) -> list[str] | None:
    """Return the names that `*` takes from a module, where its text says so."""
    made = source.runtime("__all__")
    if not made:
        return sorted(name for name in source.names.module.bound if not name.startswith("_") and source.runtime(name))
    for node in source.tree.body if len(made) == 1 else ():
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=items) | ast.Tuple(elts=items)):
                texts = [one.value for one in items if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                return texts if len(texts) == len(items) else None
    return None


def standing_for(module: Module, node: Statement) -> ast.stmt:
    """Return the statement that goes when an import of ours does: the try around it where that is decided."""
    return module.decided.get(id(node), node)

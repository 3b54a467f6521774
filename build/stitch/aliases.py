"""What becomes of an import of ours: its line vanishes, and names are made to match.

- `from p.m import f` needs nothing: `f` is there.
- `from p.m import f as g` becomes `g = f`, in its place.
- `from p import m`, `import p.m`, `import p.m as m`: `m.f` becomes `f` wherever it is read.
- What cannot be said so (the module as a value, an attribute that is set, a name that is shadowed) is refused.
"""

import ast
import re

from build.stitch.decided import standing_for
from build.stitch.drafts import Draft, Edit
from build.stitch.library import Imported, Library
from build.stitch.module_names import name_of, rewrite_names
from build.stitch.modules import Module
from build.stitch.order import Plan
from build.stitch.placement import removable
from build.stitch.scopes import Scope, Use


def rewrite(module: Module, library: Library) -> Draft:
    """Return the module's text without its imports of ours and with every name as the notebook has it."""
    draft = Draft(module)
    aliases = {one.bound for one in library.imports(module) if one.meaning.kind == "module"}
    for use in (use for use in module.names.uses if use.name in aliases):
        _follow(use, module, library, draft)
    _quoted(module, library)
    if library.foreign:
        rewrite_names(module, library, draft)
    _remove(module, library, draft)
    draft.above |= module.given
    _define(module, draft)
    return draft


def refuse_absent(draft: Draft, plan: Plan, library: Library) -> None:
    """A module whose names are taken is in the notebook only where something imports it."""
    there = {module.name for module in plan.modules}
    for name, node in draft.named:
        if name not in there:
            library.refuse(draft.module.at(node), f"{name} is used but never imported", f"import {name}")


# -- attribute access ----------------------------------------------------------------------------------------------


def _alias_of(name: str, use_scope: Scope, module: Module, library: Library) -> Imported | None:
    """Return the import that makes a name a module of ours in a scope."""
    for imported in library.imports(module):
        if imported.bound == name and imported.site.scope is use_scope and imported.meaning.kind == "module":
            return imported
    return None


def _follow(use: Use, module: Module, library: Library, draft: Draft) -> None:
    name = use.name
    imported = _alias_of(name, use.scope.holder(name), module, library)
    if imported is None or imported.site.typing_only or not isinstance(use.node.ctx, ast.Load):
        return
    current = imported.meaning.module
    for attribute in use.attributes:
        meaning = library.attribute(current, attribute.attr)
        if meaning is None and (written := name_of(current, attribute, library)) and use.joined is None:
            draft.replace(attribute, written)
            draft.values[id(attribute)] = written
            return
        if meaning is None:
            library.refuse(module.at(use.node), f"{current} does not define {attribute.attr}", "correct the name")
            return
        if meaning.kind == "module":
            current = meaning.module
            continue
        draft.named.append((current, use.node))
        if not isinstance(attribute.ctx, ast.Load):
            library.refuse(
                module.at(use.node),
                f"changes {current}.{attribute.attr} from outside",
                f"write a function in {current}",
            )
        elif _is_private(attribute.attr) and use.in_class:
            library.refuse(module.at(use.node), f"{attribute.attr} is mangled inside a class", "rename it")
        elif use.scope.holder(attribute.attr).kind != "module":
            library.refuse(
                module.at(use.node),
                f"{name}.{attribute.attr} becomes {attribute.attr}, but that is also a local name here",
                "rename the local one",
            )
        else:
            _replace(use, attribute, module, library, draft)
        return
    library.refuse(
        module.at(use.node), f"the module {current} is used as a value", f"use its names: {name}.… or from … import …"
    )


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def _replace(use: Use, attribute: ast.Attribute, module: Module, library: Library, draft: Draft) -> None:
    if use.joined is not None:
        _replace_in_string(use, attribute, module, library, draft)
    elif use.node.lineno != attribute.end_lineno:
        library.refuse(module.at(use.node), "an attribute of a module over several lines", "write it on one line")
    else:
        draft.replace(attribute, attribute.attr)
    draft.renamed[id(attribute)] = attribute.attr


def _replace_in_string(use: Use, attribute: ast.Attribute, module: Module, library: Library, draft: Draft) -> None:
    """Inside an f-string Python 3.11 gives no positions: every mention of the dotted name must be this kind of use."""
    joined = use.joined
    assert joined is not None
    written = ".".join([use.node.id, *(link.attr for link in use.attributes[: use.attributes.index(attribute) + 1])])
    wanted = sum(
        other.joined is joined
        and other.node.id == use.node.id
        and [link.attr for link in other.attributes[: written.count(".")]] == written.split(".")[1:]
        for other in module.names.uses
    )
    first, last = draft.position(joined, "lineno", "col_offset"), draft.position(joined, "end_lineno", "end_col_offset")
    places = [
        (number, column)
        for number in range(first[0], last[0] + 1)
        for column in _mentions(module.lines[number - 1], written)
        if first <= (number, column) < last
    ]
    if len(places) != wanted:
        library.refuse(module.at(joined), f"{written} inside an f-string", "give it a name before the f-string")
        return
    for number, column in places:
        edit = Edit((number, column), (number, column + len(written)), attribute.attr)
        if edit not in draft.edits:
            draft.edits.append(edit)


def _mentions(line: str, written: str) -> list[int]:
    """Return the columns where a dotted name stands by itself."""
    return [found.start() for found in re.finditer(rf"(?<![\w.]){re.escape(written)}(?!\w)", line)]


def _quoted(module: Module, library: Library) -> None:
    """An annotation in quotes is not rewritten: it must not name a module of ours that vanishes."""
    for node, scope, typing_only in module.names.quoted:
        if typing_only:
            continue
        try:
            names = [
                part.id for part in ast.walk(ast.parse(str(node.value), mode="eval")) if isinstance(part, ast.Name)
            ]
        except (SyntaxError, ValueError):
            continue
        for name in names:
            imported = _alias_of(name, scope.holder(name), module, library)
            if imported is not None and not imported.site.typing_only:
                library.refuse(
                    module.at(node), f"annotation in quotes names the module {name}", "import the name itself"
                )


# -- renamed functions and classes ---------------------------------------------------------------------------------


def _define(module: Module, draft: Draft) -> None:
    """Define a renamed function or class under its own name, and give it the other one in the line below."""
    for node in module.names.nodes if module.defined_as else ():
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        own = module.defined_as.get(node.name)
        if own is None or not any(binding.node is node for binding in module.names.module.bound[node.name]):
            continue
        line, column = draft.position(node, "lineno", "col_offset")
        text = module.lines[line - 1]
        start = text.index(node.name, column)
        draft.edits.append(Edit((line, start), (line, start + len(node.name)), own))
        draft.defined[id(node)] = own
        below = (f"{node.name} = {own}  # elsewhere {own} is another one", f"del {own}")
        draft.below[node.end_lineno or line] = [text[:column] + one for one in below]


# -- the lines -----------------------------------------------------------------------------------------------------


def _remove(module: Module, library: Library, draft: Draft) -> None:
    gone = removable(module, library)
    by_node: dict[int, list[Imported]] = {}
    for imported in library.imports(module):
        by_node.setdefault(id(standing_for(module, imported.site.node)), []).append(imported)
    instead = {
        id(node): [line for one in by_node.get(id(node), []) for line in _alias_line(one, module, library)]
        for node in gone
    }
    emptied = _emptied_blocks(module, gone, instead)
    for node in gone:
        lines = instead[id(node)] or (["pass"] if id(node) in emptied else [])
        draft.remove(node, lines)


def _alias_line(imported: Imported, module: Module, library: Library) -> list[str]:
    """Return the assignment that stands for `from m import f as g`, if one is needed."""
    written = imported.alias.name
    if not imported.runs or imported.site.typing_only or imported.meaning.kind == "module":
        return []
    scope = imported.site.scope
    around = scope if imported.bound != written else scope.parent
    if around is not None and around.holder(written).kind != "module":
        library.refuse(module.at(imported.site.node), f"{written} is also a local name here", "rename the local one")
    return [] if imported.bound == written else [f"{imported.bound} = {written}"]


def _emptied_blocks(module: Module, gone: list[ast.stmt], instead: dict[int, list[str]]) -> set[int]:
    """Return the first statement of each block of which nothing would be left."""
    nodes = {id(node) for node in gone}
    emptied = set()
    for site in module.names.sites:
        if site.parents and all(id(node) in nodes and not instead[id(node)] for node in site.block):
            emptied.add(id(site.block[0]))
    return emptied

"""Where the imports of somebody else's script are looked for: what Python has on `sys.path` when it runs.

`python scripts/train.py` finds modules beside the script first, then under the root (which the user has on the path in
some way), then in the folders that the script adds, where it says so in words that can be read here. A script with
relative imports is run as `python -m package.script`: then there is the root alone.
"""

import ast
import os
from pathlib import Path

from build.stitch.library import Library
from build.stitch.modules import STANDARD_LIBRARY, Module

_SAME = frozenset("str fspath Path PurePath abspath realpath normpath resolve absolute as_posix expanduser".split())


def set_search_path(script: Module, library: Library) -> None:
    """Tell the library how the script is run, and which folders it imports from."""
    relative = [site for site in script.names.sites if getattr(site.node, "level", 0) and not site.typing_only]
    caught = [any(isinstance(parent, ast.Try) for parent in site.parents) for site in relative]
    library.as_module = not all(caught)
    if library.as_module:
        return
    script.package = ""  # it has none: a relative import fails
    beside = script.path.parent
    folders = [beside, library.root] if beside.is_relative_to(library.root) else [library.root]
    added, unknown = _added_folders(script, library.root)
    library.folders = tuple(dict.fromkeys([*folders, *added]))
    library.added_folders = frozenset(added) - set(folders)
    for site in script.names.sites if unknown else ():
        names = [one.name for one in site.node.names] if isinstance(site.node, ast.Import) else [site.node.module or ""]
        for top in {name.split(".")[0] for name in names} - STANDARD_LIBRARY:
            if top and not library.is_ours(top) and (found := _below(library.root, top)):
                what = f"{top} may be {found}: which folders are on sys.path cannot be read here"
                library.refuse(script.at(site.node), what, "write the folder as text, or give it as --root")


def _added_folders(script: Module, root: Path) -> tuple[list[Path], bool]:
    """Return the folders under the root that a script adds to `sys.path`, and whether it adds some that are unknown."""
    added: list[Path] = []
    unknown = False
    for node in script.names.nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr="append" | "insert" | "extend" as how, value=value), args=[*_, last]):
                items = last.elts if how == "extend" and isinstance(last, ast.List | ast.Tuple) else [last]
            case ast.AugAssign(target=value, value=ast.List(elts=items)):
                pass
            case _:
                continue
        if ast.unparse(value) != "sys.path":
            continue
        for item in items:
            folder = _folder(item, script, root)
            unknown = unknown or folder is None
            if folder is not None and folder.is_relative_to(root) and folder.is_dir():
                added.append(folder)
    return added, unknown


def _folder(node: ast.expr, script: Module, root: Path) -> Path | None:
    """Return the path that an expression means, where it is made of texts, `__file__` and the working folder."""
    match node:
        case ast.Constant(value=str(text)):
            return Path(os.path.normpath(root / text))
        case ast.Name(id="__file__"):
            return script.path
        case ast.Name(id=name):
            found = [one for one in script.tree.body if isinstance(one, ast.Assign) and _binds(one, name)]
            single = len(found) == len(script.runtime(name)) == 1
            return _folder(found[0].value, script, root) if single else None
        case ast.Attribute(attr="parent", value=value):
            inner = _folder(value, script, root)
            return inner.parent if inner else None
        case ast.Subscript(value=ast.Attribute(attr="parents", value=value), slice=ast.Constant(value=int(count))):
            inner = _folder(value, script, root)
            return inner.parents[count] if inner and count < len(inner.parents) else None
        case ast.BinOp(left=left, op=ast.Div(), right=ast.Constant(value=str(text))):
            inner = _folder(left, script, root)
            return Path(os.path.normpath(inner / text)) if inner else None
        case ast.Call(func=ast.Attribute(attr="getcwd" | "cwd"), args=[]):
            return root
        case ast.Call(func=func, args=args):
            return _called(getattr(func, "attr", getattr(func, "id", "")), func, args, script, root)
    return None


def _called(name: str, func: ast.expr, args: list[ast.expr], script: Module, root: Path) -> Path | None:
    of = args[0] if args else func.value if isinstance(func, ast.Attribute) else None
    inner = _folder(of, script, root) if of is not None else None
    if inner is None or (name not in _SAME and name not in {"dirname", "join", "joinpath"}):
        return None
    if name in {"join", "joinpath"}:
        rest = args[1:] if name == "join" else args
        inner = _folder(func.value, script, root) if name == "joinpath" and isinstance(func, ast.Attribute) else inner
        texts = [one.value if isinstance(one, ast.Constant) else os.pardir for one in rest]
        known = all(
            isinstance(one, ast.Constant) or ast.unparse(one) in {"os.pardir", "os.path.pardir"} for one in rest
        )
        return Path(os.path.normpath(inner.joinpath(*map(str, texts)))) if inner and known else None
    return inner.parent if name == "dirname" else inner


def _binds(node: ast.Assign, name: str) -> bool:
    return len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name


def _below(root: Path, top: str) -> str:
    """Return where a module of this name lies in a folder below the root."""
    patterns = [f"{folders}{name}" for folders in ("*/", "*/*/") for name in (f"{top}.py", f"{top}/__init__.py")]
    return next((found.relative_to(root).as_posix() for one in patterns for found in sorted(root.glob(one))), "")

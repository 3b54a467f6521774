"""Which files a script can reach when it runs as a process: its imports as Python finds them, and what it names.

Followed are imports wherever they stand (in functions, under `if` and `try`), modules and files named by a literal
(`import_module("p.m")`, `"-m", "p.m"`, `"worker.py"`), all as seen from the script's folder, the root, and folders that
the code puts on `sys.path`. Where the code imports by a name that is not written down (exec, importlib with a variable,
pkgutil, Hydra), every Python file of the packages that it reaches and beside the script comes along: one file too many
costs nothing.
"""

import ast
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from build.core.errors import Problem
from build.stitch.data_files import files_below, is_left_out
from build.stitch.modules import MAIN, STANDARD_LIBRARY, Module, empty_package, parse
from build.stitch.scopes import Site

_DYNAMIC_NAMES = frozenset({"exec", "eval", "__import__"})
_DYNAMIC_MODULES = frozenset({"imp", "pkgutil", "runpy", "hydra", "pydoc", "mmengine", "mmcv"})
_DYNAMIC_CALLS = frozenset({"import_module", "spec_from_file_location", "run_path", "run_module", "walk_packages"})
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_NOT_SOURCES = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})
_DEEPEST = 5  # folders below the root in which a name on `sys.path` is looked for


@dataclass
class Reached:
    """The files of a script, and how it is run."""

    main: Module
    modules: list[Module] = field(default_factory=list)  # without the script, in the order in which imports run them
    others: list[Path] = field(default_factory=list)  # what dynamic imports may ask for, of these nothing is known
    dynamic: str = ""  # where the code first imports by a name that is not written down
    root_on_path: bool = False  # whether an import is found below the root, not beside the script
    as_module: str = ""  # `python -m NAME`, for a script with relative imports
    third_party: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)


def reach(main: Path, root: Path, without: Sequence[str] = ()) -> Reached:
    """Return what a script below the root reaches; what cannot be read of it is among the problems."""
    script = parse(main, main.relative_to(root).as_posix(), MAIN, "", False)
    if isinstance(script, Problem):
        return Reached(empty_package(main, main.relative_to(root).as_posix(), MAIN), problems=[script])
    search = _Search(script, root, tuple(without))
    search.follow(script)
    search.rest()
    return search.result()


@dataclass
class _Search:
    script: Module
    root: Path
    without: tuple[str, ...]
    folders: list[Path] = field(default_factory=list)  # where imports are looked for
    on_path: bool = False  # whether the code changes `sys.path`
    seen: dict[Path, Module | None] = field(default_factory=dict)
    later: deque[tuple[Path, bool]] = field(default_factory=deque)  # file, whether it is run as a script
    outside: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)  # literals
    sources: list[Path] | None = None  # every Python file below the root, once they are asked for
    reached: Reached = field(init=False)

    def __post_init__(self) -> None:
        self.reached = Reached(self.script)
        relative = any(_level(site) and not site.typing_only for site in self.script.names.sites)
        if relative:
            self.reached.as_module = self.script.where.removesuffix(".py").replace("/", ".")
        beside = [] if relative else [self.script.path.parent]
        self.folders = list(dict.fromkeys([*beside, self.root]))
        self.seen[self.script.path] = self.script

    # -- one module -------------------------------------------------------------------------------------------------

    def follow(self, module: Module) -> None:
        """Follow what a module imports at once; the rest is noted for later."""
        self.on_path = self.on_path or any(_is_sys_path(node) for node in module.names.nodes)
        for site in module.names.sites:
            if site.typing_only:
                continue
            for file in self.imported(module, site):
                if site.lazy:
                    self.later.append((file, False))
                else:
                    self.visit(file)
        for node in module.names.nodes:
            self.named(node, module)
            if not self.reached.dynamic and (what := _dynamic(node)):
                self.reached.dynamic = f"{module.at(node)}: {what}"
        for site in module.names.sites:
            tops = {name.split(".")[0] for name in _modules_of(site)}
            if not self.reached.dynamic and (found := tops & _DYNAMIC_MODULES):
                self.reached.dynamic = f"{module.at(site.node)}: {sorted(found)[0]}"

    def visit(self, file: Path, *, as_script: bool = False, lenient: bool = False) -> None:
        """Read a file once, with what it imports before it."""
        where = file.relative_to(self.root).as_posix()
        if file in self.seen or is_left_out(where, self.without):
            return
        module = parse(file, where, MAIN if as_script else where, "", file.name == "__init__.py")
        self.seen[file] = None
        if isinstance(module, Problem):
            if not lenient or "UTF-8" in module.what:
                cure = f"{module.cure}; where the script does not need it: --without '{where}'"
                self.reached.problems.append(Problem(what=module.what, where=module.where, cure=cure))
            else:
                self.reached.others.append(file)
            return
        self.seen[file] = module
        self.follow(module)
        self.reached.modules.append(module)

    def imported(self, module: Module, site: Site) -> Iterator[Path]:
        """Yield the files that an import statement runs, those of packages first."""
        level, node = _level(site), site.node
        for name in _modules_of(site):
            if level:
                folder = module.path.parent
                for _ in range(level - 1):
                    folder = folder.parent
                if not folder.is_relative_to(self.root):
                    continue
                yield from _below(folder, name.split(".") if name else [])
                package = folder.joinpath(*name.split(".")) if name else folder
            else:
                found = self.find(name, site)
                if found is None:
                    continue
                yield from found[1]
                package = found[0]
            if isinstance(node, ast.ImportFrom) and package.is_dir():
                for alias in node.names:
                    if alias.name == "*":
                        yield from sorted(package.glob("*.py"))
                    else:
                        yield from _below(package, [alias.name], own=False)

    def find(self, name: str, site: Site | None = None) -> tuple[Path, list[Path]] | None:
        """Return where a dotted name lies and the files that importing it runs; None where it is not ours."""
        parts = name.split(".")
        where = self.holder(parts[0], site)
        if where is None:
            if parts[0] not in STANDARD_LIBRARY:
                self.outside.add(parts[0])
            return None
        return where.joinpath(*parts), list(_below(where, parts, own=False))

    def holder(self, top: str, site: Site | None) -> Path | None:
        """Return the folder in which Python finds a top-level module of ours."""
        for folder in self.folders:
            if _holds(folder, top):
                break
        else:
            looked = self.on_path and top not in STANDARD_LIBRARY
            folder = next(self.anywhere(top), self.root) if looked else self.root
            if not _holds(folder, top):
                spaces = [one for one in self.folders if top not in STANDARD_LIBRARY and _is_namespace(one / top)]
                if not spaces:
                    return None
                folder = spaces[0]
            elif folder not in self.folders:
                self.folders.append(folder)
        in_try = site is not None and any(isinstance(one, ast.Try | ast.TryStar) for one in site.parents)
        beside = folder == self.script.path.parent or self.reached.as_module
        if folder == self.root and site is not None and not beside and not in_try:
            self.reached.root_on_path = True
        return folder

    def anywhere(self, top: str) -> Iterator[Path]:
        """Yield the folders below the root that hold a module: one of them may be put on `sys.path`."""
        for name, folders, files in os.walk(self.root):
            deep = len(Path(name).relative_to(self.root).parts)
            folders[:] = sorted(one for one in folders if _is_ours(one) and deep < _DEEPEST)
            if f"{top}.py" in files or (top in folders and Path(name, top, "__init__.py").is_file()):
                yield Path(name)

    # -- what literals name -----------------------------------------------------------------------------------------

    def named(self, node: ast.AST, module: Module) -> None:
        """Note the modules and Python files that a literal names."""
        if isinstance(node, ast.List | ast.Tuple):
            for flag, word in zip(node.elts, node.elts[1:], strict=False):
                if isinstance(flag, ast.Constant) and flag.value == "-m" and isinstance(word, ast.Constant):
                    self.by_name(str(word.value), as_script=True)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            if isinstance(node.args[0], ast.Constant) and isinstance(name := node.args[0].value, str):
                self.by_name(name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 300:
            text = node.value
            self.texts.append(text)
            if text.endswith(".py") and "\n" not in text and "\0" not in text:
                for file in self.files_called(text, module):
                    self.later.append((file, True))
            elif _DOTTED.fullmatch(text):
                self.by_name(text)

    def by_name(self, name: str, *, as_script: bool = False) -> None:
        """Note a module of ours, or the one that has a name of this dotted path."""
        parts = name.strip(".").split(".")
        folder = next((one for one in self.folders if _holds(one, parts[0]) or _is_namespace(one / parts[0])), None)
        if folder is None or not all(part.isidentifier() for part in parts):
            return
        files = list(_below(folder, parts, own=False))
        for file in files:
            self.later.append((file, as_script and file == files[-1]))
        package = folder.joinpath(*parts)
        if as_script and (package / "__main__.py").is_file():
            self.later.append((package / "__main__.py", True))

    def files_called(self, text: str, module: Module) -> list[Path]:
        """Return the files that a text may name; where none lies at that path, all that are called so."""
        folders = dict.fromkeys((module.path.parent, self.script.path.parent, self.root))
        direct = [Path(os.path.normpath(folder / text)) for folder in folders]
        direct = [file for file in direct if file.is_file() and file.is_relative_to(self.root)]
        name = text.rpartition("/")[2]
        if direct or not re.fullmatch(r"[\w.-]+", name):
            return direct
        if self.sources is None:
            self.sources = [file for file in files_below(self.root) if file.suffix == ".py"]
        return [file for file in self.sources if file.name == name and _all_ours(file, self.root)]

    # -- the rest ---------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Follow what was noted for later, then what dynamic imports may ask for."""
        self.drain()
        for file in sorted(self.script.path.parent.glob("*.py")):
            if file.stem in STANDARD_LIBRARY:  # Python takes it for the standard library's
                self.visit(file)
        if self.reached.dynamic:
            for file in self.dynamic_files():
                self.visit(file, lenient=True)
        self.drain()

    def drain(self) -> None:
        while self.later:
            file, as_script = self.later.popleft()
            self.visit(file, as_script=as_script)

    def dynamic_files(self) -> list[Path]:
        """Return every Python file of the packages reached, beside the script, and in folders that literals name."""
        files = set(self.script.path.parent.glob("*.py"))
        tops = {
            folder / file.relative_to(folder).parts[0]
            for file in self.seen
            for folder in self.folders
            if file.is_relative_to(folder) and len(file.relative_to(folder).parts) > 1
        }
        texts = "\n".join(self.texts)
        for folder in self.folders:
            for one in sorted(folder.iterdir()):
                if one.is_dir() and _is_ours(one.name) and re.search(rf"\b{re.escape(one.name)}[./]", texts):
                    tops.add(one)
        for top in tops:
            files.update(file for file in files_below(top) if file.suffix == ".py" and _all_ours(file, top))
        return sorted(files)

    def result(self) -> Reached:
        """Return all that was found."""
        self.reached.third_party = tuple(sorted(self.outside))
        # Code that changes `sys.path` finds its modules by itself; a root in front might hide what it finds.
        self.reached.root_on_path = self.reached.root_on_path and not self.on_path
        return self.reached


def _level(site: Site) -> int:
    return site.node.level if isinstance(site.node, ast.ImportFrom) else 0


def _modules_of(site: Site) -> list[str]:
    """Return the dotted names that a statement imports from, "" for `from . import x`."""
    if isinstance(site.node, ast.Import):
        return [alias.name for alias in site.node.names]
    return [] if site.node.module == "__future__" else [site.node.module or ""]


def _below(folder: Path, parts: Sequence[str], *, own: bool = True) -> Iterator[Path]:
    """Yield the files that importing a path below a folder runs: each package's `__init__.py`, then the module."""
    if own and (folder / "__init__.py").is_file():
        yield folder / "__init__.py"
    for part in parts:
        if (folder / part / "__init__.py").is_file():
            yield folder / part / "__init__.py"
        elif (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
            return
        folder = folder / part
        if not folder.is_dir():
            return


def _holds(folder: Path, top: str) -> bool:
    return (folder / top / "__init__.py").is_file() or (folder / f"{top}.py").is_file()


def _is_namespace(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix == ".py" for file in files_below(folder))


def _is_ours(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_SOURCES


def _all_ours(file: Path, above: Path) -> bool:
    return all(map(_is_ours, file.relative_to(above).parts))


def _is_sys_path(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "path" and getattr(node.value, "id", "") == "sys"


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _dynamic(node: ast.AST) -> str:
    """Return what a node imports by a name that is not written down, "" for almost every node."""
    if isinstance(node, ast.Name) and node.id in _DYNAMIC_NAMES:
        return node.id
    if isinstance(node, ast.Call) and (name := _called(node)) in _DYNAMIC_CALLS:
        literal = bool(node.args) and isinstance(node.args[0], ast.Constant) and len(node.args) == 1
        relative = literal and str(getattr(node.args[0], "value", "")).startswith(".")
        return "" if name == "import_module" and literal and not relative else name
    return ""

"""Everything under the root: which imports are ours, what they run, and what a name means.

A name's *meaning* is where its value was made, whichever way it came: two modules may share a name only if it means the
same in both.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from build.core.errors import Problem
from build.stitch.decided import decide
from build.stitch.modules import MAIN, STANDARD_LIBRARY, Meaning, Module, empty_package, parse
from build.stitch.scopes import Site

T = TypeVar("T")
_OF_A_PART = re.compile(r"# part: (\w+)$")  # behind an import: the notebook has it only where it has the part


@dataclass(frozen=True)
class Imported:
    """What one `import` clause does: the name it binds, its meaning, and the modules of ours that it runs, in order."""

    site: Site
    alias: ast.alias
    bound: str
    meaning: Meaning
    runs: tuple[str, ...] = ()
    target: str = ""  # the one of `runs` that must be complete, not merely begun
    part: str = ""  # the optional one that it belongs to; a notebook without it leaves the import out
    stays: bool = False  # a third-party import that runs where it stands, and not only when a function is called


@dataclass(eq=False)
class Library:
    """Everything under the root, read on demand."""

    root: Path
    parts: frozenset[str] | None = None  # of the optional ones, those that the notebook has; None: all
    arguments: str | None = None  # the command line of somebody else's script; None: a kernel of ours, which has none
    working_folder: str = ""  # the name, in the notebook, of the folder in which such a script starts
    as_module: bool = False  # such a script has relative imports: it is run by `python -m`
    problems: list[Problem] = field(default_factory=list)
    modules: dict[str, Module | None] = field(default_factory=dict)  # None: there is none, or it does not parse
    folders: tuple[Path, ...] = ()  # where such a script's imports are looked for, in this order; else under the root
    added_folders: frozenset[Path] = frozenset()  # of these, those that are there only after the script has added them
    cuts: dict[str, list[int]] = field(default_factory=dict)  # module → the lines after which it is cut
    _found: dict[tuple[Callable[..., Any], str], Any] = field(default_factory=dict)  # by `once`
    _files: dict[str, Path | None] = field(default_factory=dict)
    _imports: dict[str, list[Imported]] = field(default_factory=dict)
    _ours: dict[str, bool] = field(default_factory=dict)
    _meanings: dict[tuple[str, str], Meaning | None] = field(default_factory=dict)
    _deciding: set[str] = field(default_factory=set)
    _open: set[tuple[str, str]] = field(default_factory=set)

    @property
    def foreign(self) -> bool:
        """Whether the script is somebody else's: then what a notebook lacks is made good where that can be done."""
        return self.arguments is not None

    def refuse(self, where: str, what: str, cure: str) -> None:
        """Note a reason once."""
        problem = Problem(what=what, where=where, cure=cure)
        if problem not in self.problems:
            self.problems.append(problem)

    def once(self, find: Callable[[Module, "Library"], T], module: Module) -> T:
        """Return what `find` says of a module, asked once: it may depend on the sources, not on the parts or a plan."""
        key = (find, module.name)
        if key not in self._found:
            self._found[key] = find(module, self)
        return cast(T, self._found[key])

    def let_stay(self, statements: frozenset[int]) -> None:
        """Note the import statements, by identity, that are not gathered; what was found by then is asked again."""
        for name, imports in self._imports.items():
            self._imports[name] = [replace(one, stays=one.stays or id(one.site.node) in statements) for one in imports]
        self._found.clear()

    # -- finding ----------------------------------------------------------------------------------------------------

    def holds(self, part: str) -> bool:
        """Whether the notebook has an optional part; what belongs to none it always has."""
        return not part or self.parts is None or part in self.parts

    def locate(self, name: str) -> Path | None:
        """Return the file of a dotted name: `a/b.py`, `a/b/__init__.py`, or the folder of a namespace package."""
        if name not in self._files:
            base = self._folder_of(name.split(".")[0]).joinpath(*name.split("."))
            files = (base / "__init__.py", base.with_name(f"{base.name}.py"))
            self._files[name] = next((file for file in files if file.is_file()), base if base.is_dir() else None)
        return self._files[name]

    def _folder_of(self, top: str) -> Path:
        """Return the folder from which a top-level name is imported."""
        if len(self.folders) < 2:
            return self.root
        files = [one for one in self.folders if (one / top / "__init__.py").is_file() or (one / f"{top}.py").is_file()]
        found = files or [one for one in self.folders if (one / top).is_dir()]
        if len(found) > 1 and self.added_folders & set(found):
            places = " and ".join((one / top).relative_to(self.root).as_posix() for one in found)
            self.refuse(places, f"{top} lies in two folders, one of which the script adds to sys.path", "rename one")
        return found[0] if found else self.root

    def is_ours(self, dotted: str) -> bool:
        """Whether the top-level name of an import lies under the root."""
        top = dotted.split(".")[0]
        if top not in self._ours:
            path = self.locate(top)
            # A folder without __init__.py is ours only when it holds Python, and never before the standard library's.
            ours = path is not None and (
                not path.is_dir() or (top not in STANDARD_LIBRARY and next(path.rglob("*.py"), None) is not None)
            )
            self._ours[top] = ours
        return self._ours[top]

    def load(self, name: str) -> Module | None:
        """Return a module of ours by its dotted name, parsed; None when it is not there or does not parse."""
        if name not in self.modules:
            path = self.locate(name)
            if path is None:
                self.modules[name] = None
            elif path.is_dir():  # a namespace package: nothing runs
                self.modules[name] = empty_package(path, path.relative_to(self.root).as_posix(), name)
            else:
                is_package = path.name == "__init__.py"
                package = name if is_package else name.rpartition(".")[0]
                self.modules[name] = self.read(path, name, package, is_package)
        return self.modules[name]

    def read(self, path: Path, name: str, package: str, is_package: bool = False) -> Module | None:
        """Read and parse a file; what Python would refuse is noted as a problem."""
        where = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name
        module = parse(path, where, name, package, is_package)
        if isinstance(module, Problem):
            self.refuse(module.where, module.what, module.cure)
            return None
        if self.foreign and name != MAIN:  # how the script is run is not known yet
            self.decide(module)
        return module

    def decide(self, module: Module) -> None:
        """Settle what imports of ours in tries, and with a star, will do."""
        if module.name not in self._deciding:
            self._deciding.add(module.name)
            decide(module, self)
            self._deciding.discard(module.name)

    # -- what imports do --------------------------------------------------------------------------------------------

    def imports(self, module: Module) -> list[Imported]:
        """Return every import clause of a module, resolved; what cannot be resolved is noted as a problem."""
        if module.name not in self._imports:
            self._imports[module.name] = found = []
            for site in module.names.sites:
                for alias in site.aliases or site.node.names:
                    imported = self._resolve(module, site, alias)
                    if imported is not None:
                        found.append(imported)
        return self._imports[module.name]

    def _resolve(self, module: Module, site: Site, alias: ast.alias) -> Imported | None:
        if not (self.foreign and site.typing_only):
            return self._resolved(module, site, alias)
        noted = len(self.problems)
        imported = self._resolved(module, site, alias)
        place = module.at(site.node)  # it never runs, whatever it names
        self.problems[noted:] = [one for one in self.problems[noted:] if one.where != place]
        return imported

    def _resolved(self, module: Module, site: Site, alias: ast.alias) -> Imported | None:
        node = site.node
        if isinstance(node, ast.Import):
            bound = alias.asname or alias.name.split(".")[0]
            if not self.is_ours(alias.name):
                meaning = Meaning("outside", alias.name if alias.asname else bound)
                return Imported(site, alias, bound, meaning, stays=self._stays(site, alias.name))
            if not self._exists(module, node, alias.name):
                return None
            meaning = Meaning("module", alias.name if alias.asname else bound)
            return Imported(
                site, alias, bound, meaning, with_parents(alias.name), alias.name, self.part_of(module, node)
            )
        if node.module == "__future__" and not node.level:
            return None
        source = self.absolute(module, node)
        if source is None:
            return None
        if alias.name == "*":
            self.refuse(module.at(node), f"star import from {source} hides which names come in", "name what you import")
            return None
        bound = alias.asname or alias.name
        part = self.part_of(module, node)
        if part:
            self.refuse(
                module.at(node),
                f"the names of this import are not there in a notebook without the part {part!r}",
                f"write `import {source}`, and ask for them at run time",
            )
        if not node.level and not self.is_ours(source):
            meaning = Meaning("outside", f"{source}.{alias.name}")
            return Imported(site, alias, bound, meaning, stays=self._stays(site, source))
        if not self._exists(module, node, source):
            return None
        found = self.attribute(source, alias.name, importer=module.name)
        if found is None:
            parsed = self.load(source)
            if parsed is not None:
                self.refuse(module.at(node), f"{source} does not define {alias.name}", f"define it in {parsed.where}")
            return None
        submodule = f"{source}.{alias.name}"
        target = submodule if found == Meaning("module", submodule) else source
        return Imported(site, alias, bound, found, with_parents(target), target, part)

    def _stays(self, site: Site, name: str) -> bool:
        """Whether somebody else's package is imported where it stands, in a `try` or an `if` of a foreign module."""
        at_once = not site.top_level and not site.lazy and not site.typing_only
        return self.foreign and at_once and name.split(".")[0] not in STANDARD_LIBRARY

    def part_of(self, module: Module, node: ast.stmt) -> str:
        """Return the optional part that an import belongs to; nothing for most."""
        marks = (_OF_A_PART.search(one.text) for one in module.comments if one.line == node.lineno)
        return next((mark[1] for mark in marks if mark), "")

    def absolute(self, module: Module, node: ast.ImportFrom) -> str | None:
        """Return the absolute module name of a from-import."""
        if not node.level:
            return node.module or ""
        parts = module.package.split(".") if module.package else []
        kept = len(parts) - node.level + 1
        if kept < 1:
            self.refuse(
                module.at(node), "relative import reaches beyond the top package", "write the import with its full name"
            )
            return None
        return ".".join(parts[:kept] + ([node.module] if node.module else []))

    def _exists(self, module: Module, node: ast.AST, name: str) -> bool:
        """Note a problem when a module of ours is missing; one that does not parse was already noted."""
        for part in with_parents(name):
            path = self.locate(part)
            if path is None or (part == name and path.is_dir() and isinstance(node, ast.Import)):
                expected = part.replace(".", "/") + ".py"
                self.refuse(module.at(node), f"there is no module {part}", f"add {expected}, or correct the import")
                return False
            if part in STANDARD_LIBRARY:
                self.refuse(
                    module.at(node),
                    f"{part} is also a module of the standard library: others would get ours",
                    "rename it",
                )
        return self.load(name) is not None

    def attribute(self, source: str, name: str, importer: str = "") -> Meaning | None:
        """Return what `source.name` means, submodules included; None when there is no such name."""
        module = self.load(source)
        if module is None:
            return None
        submodule = f"{source}.{name}" if module.is_package else ""
        beside = submodule if submodule and self.locate(submodule) is not None else ""
        own = None if (source == importer and beside) else self.meaning(source, name)
        if beside and own is not None and own != Meaning("module", submodule):
            self.refuse(
                module.at(module.runtime(name)[0].node),
                f"{source}.{name} is both a name in {module.where} and the module {submodule}",
                "rename one of them",
            )
        if own is not None:
            return own
        return Meaning("module", submodule) if beside and self.load(submodule) is not None else None

    def meaning(self, source: str, name: str) -> Meaning | None:
        """Return what a module-level name means in a module, however it came there; None when it is not bound."""
        key = (source, name)
        if key in self._meanings:
            return self._meanings[key]
        if key in self._open:  # a name that is imported from itself: `from . import m` in `__init__`, or a cycle
            return None
        module = self.load(source)
        if module is None:
            return None
        self._open.add(key)
        found: set[Meaning | None] = set()
        for binding in module.runtime(name):
            if binding.how == "value":
                found.add(Meaning("name", source, name))
            elif binding.how == "import" and binding.site is not None and binding.alias is not None:
                imported = self._resolve(module, binding.site, binding.alias)
                found.add(imported.meaning if imported else None)
        self._open.discard(key)
        found.discard(None)
        result = None
        if found:
            result = found.pop() if len(found) == 1 else Meaning("name", source, name)
        self._meanings[key] = result
        return result

    def defined_in(self, meaning: Meaning) -> Module | None:
        """Return the module where a name's value is made."""
        return self.load(meaning.module)


def with_parents(name: str) -> tuple[str, ...]:
    """`a.b.c` → (`a`, `a.b`, `a.b.c`): the order in which Python runs them."""
    parts = name.split(".")
    return tuple(".".join(parts[:count]) for count in range(1, len(parts) + 1))

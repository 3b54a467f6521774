"""Files beside the sources that are no modules: which ones the code names, and which ones a notebook carries.

A file is named by a literal (`open("words.txt")`, `Path(__file__).parent / "config.yaml"`), by a text that is carried
(a YAML that names another one), or by a glob that the user gives. A folder is named where its text has a slash in it or
stands where a path is expected. Names that are put together at run time cannot be seen: those files need `--data`.

Text is carried as it is, byte for byte: `CarriedFile.text.encode()` is the file.
"""

import ast
import fnmatch
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath

from build.core.errors import Problem
from build.stitch.library import Library
from build.stitch.modules import Module, parse
from build.stitch.scopes import Names

LIMIT_BYTES = 200_000  # of all carried files together
MOST_FILES = 300  # in a folder
_NAMING = frozenset({".yaml", ".yml", ".json", ".toml", ".cfg", ".ini"})  # texts that may name other files
_NAMED = re.compile(r"[\w.][\w./-]*\.\w+")
_NEVER = frozenset({"__pycache__", "node_modules", "site-packages"})  # hidden files and folders neither
_PATH_CALLS = frozenset("Path join joinpath open listdir scandir glob iglob rglob walk".split())
_PATH_WORD = re.compile(r"(?:^|[_-])(?:path|dir|directory|folder|root)s?$", re.IGNORECASE)


@dataclass(frozen=True)
class CarriedFile:
    """One file that the notebook writes before anything runs."""

    path: str  # relative to the root, with slashes
    text: str  # with the line ends and the byte-order mark that it has


def carried(
    modules: Sequence[Module],
    root: Path,
    data: Sequence[str] = (),
    without: Sequence[str] = (),
    sources: Collection[str] = (),
) -> tuple[list[CarriedFile], list[Problem]]:
    """Return the files that a notebook of these modules carries, sorted, and what it cannot carry.

    Args:
        modules: whose literals are read.
        root: the folder that the notebook's working folder stands for.
        data: globs, relative to the root, of files that the code does not name.
        without: globs of files and folders that are left out.
        sources: paths relative to the root of Python files that the notebook holds as files in any case.
    """
    search = _Search(root, tuple(without), frozenset(sources), {str(module.path) for module in modules})
    for module in modules:
        search.literals(module)
    for pattern in data:
        search.glob(pattern)
    return search.found()


def is_left_out(path: str, without: Sequence[str]) -> bool:
    """Whether a path relative to the root, or a folder above it, matches one of the globs."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatchcase(one, pattern.rstrip("/")) for one in above for pattern in without)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; hidden ones, caches and installed packages are left out, without a look."""
    for name, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in _NEVER)
        paths = (Path(name, file) for file in files if not file.startswith("."))
        yield from (path for path in paths if path.is_file())


def refuse_data_files(module: Module, library: Library) -> None:
    """Note every file that a module names: a notebook that carries none has none."""
    folders = list(dict.fromkeys(map(str, (module.path.parent, library.root))))
    seen: dict[str, bool] = {}
    for line, text, path, _ in _paths_in(module.tree, module.names):
        if path not in seen:
            seen[path] = any(_is_there(f"{folder}/{path}", "/" in text.strip("./")) for folder in folders)
        if seen[path]:
            library.refuse(
                module.at(line),
                f"{text!r} is a file beside the sources, which a notebook does not contain",
                "put it into a dataset and take its path as a parameter; if a run left it there, delete it",
            )


# -- which files ---------------------------------------------------------------------------------------------------


@dataclass
class _Search:
    root: Path
    without: tuple[str, ...]
    sources: frozenset[str]
    modules: set[str]  # paths of the modules themselves
    texts: dict[str, str] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)  # path → where it is named first
    problems: list[Problem] = field(default_factory=list)

    def literals(self, module: Module) -> None:
        """Take what a module's literals name."""
        for line, text, path, expected in _paths_in(module.tree, module.names):
            for folder in dict.fromkeys((module.path.parent, self.root)):
                self.named(folder, path, module.at(line), or_folder=expected or "/" in text)

    def named(self, folder: Path, path: str, place: str, *, or_folder: bool) -> None:
        """Take a file, or the files of a folder, if it is there."""
        file = Path(os.path.normpath(folder / path))
        if file == self.root or self.root.is_relative_to(file):
            return
        if file.is_file():
            self.add(file, place)
        elif or_folder and file.is_dir():
            self.add_folder(file, place)

    def glob(self, pattern: str) -> None:
        """Take what a glob of the user's matches."""
        place = f"--data {pattern}"
        try:
            matches = sorted(self.root.glob(pattern))
        except (ValueError, NotImplementedError):
            matches = []
        for match in matches:
            if match.is_dir():
                self.add_folder(match, place)
            else:
                self.add(match, place, by_name=False)
        if not matches:
            self.refuse(place, f"no file below {self.root} matches", "correct the glob: it is relative to --root")

    def add_folder(self, folder: Path, place: str) -> None:
        """Take the files of a folder but for Python's: these are sources, or are named one by one."""
        if folder in self.folders or not folder.is_relative_to(self.root):
            return
        self.folders.add(folder)
        files, total = list[Path](), 0
        for file in files_below(folder):
            path = file.relative_to(self.root).as_posix()
            if file.suffix in {".py", ".pyc"} or is_left_out(path, self.without):
                continue
            files.append(file)
            total += file.stat().st_size
            if total > LIMIT_BYTES or len(files) > MOST_FILES:
                path = folder.relative_to(self.root).as_posix()
                what = f"the folder {path} holds more than the {LIMIT_BYTES:,} bytes, or {MOST_FILES} files, that a "
                self.refuse(place, f"{what}notebook carries", _dataset_cure(path))
                return
        for file in sorted(files):
            self.add(file, place)

    def add(self, file: Path, place: str, *, by_name: bool = True) -> None:
        """Take one file."""
        if not file.is_relative_to(self.root):
            self.refuse(place, f"{file} lies outside {self.root}", "move it below --root, or take its path from --args")
            return
        path = file.relative_to(self.root).as_posix()
        if path in self.places or path in self.sources or is_left_out(path, self.without):
            return
        self.places[path] = place
        if by_name and file.suffix == ".py" and str(file) in self.modules:
            what = f"names the source {path}, of which an inline notebook has no file"
            self.refuse(place, what, "use another text")
            return
        if (size := file.stat().st_size) > LIMIT_BYTES:
            self.refuse(place, f"{path} has {size:,} bytes, a notebook carries {LIMIT_BYTES:,}", _dataset_cure(path))
            return
        content = file.read_bytes()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self.refuse(place, f"{path} is not UTF-8 text, which is all a notebook carries", _dataset_cure(path))
            return
        self.texts[path] = text
        self.names_in(file, path, text)

    def names_in(self, file: Path, path: str, text: str) -> None:
        """Take what a carried text names in its turn."""
        if file.suffix == ".py":
            module = parse(file, path, path, "", False)
            if isinstance(module, Module):
                for line in _lines_that_import_ours(module, (file.parent, self.root)):
                    what = f"imports a module of ours, of which an inline notebook has no file ({self.places[path]})"
                    self.refuse(module.at(line), what, "name it by --without, or import it as a module")
                self.literals(module)
        elif file.suffix in _NAMING:
            for name in dict.fromkeys(_NAMED.findall(text)):
                for folder in dict.fromkeys((file.parent, self.root)):
                    self.named(folder, name, path, or_folder=False)

    def refuse(self, where: str, what: str, cure: str) -> None:
        self.problems.append(Problem(where=where, what=what, cure=cure))

    def found(self) -> tuple[list[CarriedFile], list[Problem]]:
        """Return all of it; too much text is one problem."""
        sizes = {path: len(text.encode()) for path, text in self.texts.items()}
        if (total := sum(sizes.values())) > LIMIT_BYTES:
            largest = sorted(sizes, key=lambda path: (-sizes[path], path))[:3]
            what = f"the files to carry have {total:,} bytes together, a notebook carries {LIMIT_BYTES:,}; the largest "
            what += "are " + ", ".join(f"{path} ({sizes[path]:,})" for path in largest)
            self.refuse(self.places[largest[0]], what, _dataset_cure(largest[0]))
        return [CarriedFile(path, self.texts[path]) for path in sorted(self.texts)], self.problems


def _dataset_cure(path: str) -> str:
    return (
        f"put it into a Kaggle dataset, attach that (`--dataset owner/slug`) and read it below /kaggle/input; "
        f"where the script does not need it (a run left it there): --without '{path}'"
    )


def _lines_that_import_ours(module: Module, folders: Sequence[Path]) -> Iterator[int]:
    """Yield the lines on which a file imports a module that lies in one of the folders."""
    for site in module.names.sites:
        node = site.node
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        tops = {name.split(".")[0] for name in names}
        there = any((folder / top).is_dir() or (folder / f"{top}.py").is_file() for top in tops for folder in folders)
        if relative or there:
            yield node.lineno


# -- texts that may be paths -----------------------------------------------------------------------------------------


def _is_there(path: str, or_folder: bool) -> bool:
    return os.path.isfile(path) or (or_folder and os.path.isdir(path))


@lru_cache(maxsize=256)
def _paths_in(tree: ast.Module, names: Names) -> list[tuple[int, str, str, bool]]:
    """Return each text that may be a path relative to the sources.

    That is its line, the text as it is written, in its usual form, and whether it stands where a path is expected.
    """
    documented = {
        id(node.body[0].value)
        for node in [tree, *names.nodes]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    expected = {id(text) for node in names.nodes for text in _expected_paths(node)}
    found = []
    for node in names.nodes:
        text = _path_text(node)
        if text is None or id(node) in documented:
            continue
        if 0 < len(text) < 200 and not text.startswith("/") and not any(char in text for char in "\n\0{}<>"):
            found.append((getattr(node, "lineno", 1), text, str(PurePath(text)), id(node) in expected))
    return found


def _path_text(node: ast.AST) -> str | None:
    """Return the path that a literal spells: `"a/b"`, `Path("a") / "b"`, `join("a", "b")`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(op=ast.Div()):
            left, right = _path_text(node.left), _path_text(node.right)
            return f"{left}/{right}" if left and right else None
        case ast.Call(func=ast.Name(id="Path" | "join") | ast.Attribute(attr="Path" | "join" | "joinpath")):
            parts = [_path_text(one) for one in node.args]
            return "/".join(filter(None, parts)) if parts and all(parts) else None
    return None


def _expected_paths(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions below a node that must be paths: `Path(…) / "data"`, `open("x")`, `DATA_DIR = "data"`."""
    match node:
        case ast.BinOp(op=ast.Div()):
            yield node.right
        case ast.Call():
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            option = node.args[0] if node.args else None
            is_option = called in {"add_argument", "option", "Option"} and isinstance(option, ast.Constant)
            wants_path = is_option and bool(_PATH_WORD.search(str(getattr(option, "value", ""))))
            yield from node.args if called in _PATH_CALLS else ()
            for keyword in node.keywords:
                if _PATH_WORD.search(keyword.arg or "") or (wants_path and keyword.arg == "default"):
                    yield keyword.value
        case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)]) if _PATH_WORD.search(name):
            yield node.value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()) if _PATH_WORD.search(name):
            assert node.value is not None
            yield node.value

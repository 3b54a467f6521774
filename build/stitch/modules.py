"""One source file: read, parsed and taken apart into tree, comments and names."""

import ast
import gc
import io
import sys
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from build.core.errors import Problem
from build.stitch.scopes import Binding, Names
from build.stitch.walk import find_names

MAIN = "__main__"

# Modules that 3.12 and 3.13 dropped: with them the standard library is the same set on 3.11, 3.12 and 3.13,
# except for underscored modules, which are taken to be the standard library's when any version has them.
_DROPPED = frozenset(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib "
    "_bootsubprocess _crypt _msi _sha256 _sha512 _android_support _colorize _interpchannels _interpqueues "
    "_interpreters _ios_support _opcode_metadata _pydatetime _pylong _pyrepl _sha2 _suggestions _sysconfig _wmi".split()
)
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names) | _DROPPED


@dataclass(frozen=True)
class Meaning:
    """Where a value was made."""

    kind: str  # "module" of ours, "name" of one of ours, or "outside": a dotted path in somebody else's package
    module: str
    name: str = ""

    def __str__(self) -> str:
        """Say it as a message would."""
        if self.kind == "module":
            return f"the module {self.module}"
        return f"{self.module}.{self.name}" if self.name else self.module


@dataclass(frozen=True)
class Comment:
    """A comment, as the tokenizer sees it."""

    line: int
    column: int
    text: str


@dataclass(eq=False)
class Module:
    """One source file."""

    name: str  # dotted; `__main__` for the script
    where: str  # relative to the root, with slashes
    path: Path
    package: str  # what a relative import starts from
    text: str
    tree: ast.Module
    comments: list[Comment]
    names: Names
    is_package: bool = False
    string_lines: frozenset[int] = frozenset()  # lines that begin inside a string
    # Of a module in which names were changed for the notebook:
    decided: dict[int, ast.Try] = field(default_factory=dict)  # import statement, by identity → the try it stands for
    before_renames: "Module | None" = None  # as it lies on disk
    defined_as: Mapping[str, str] = field(default_factory=dict)  # function or class → the name that its cell defines
    given: Mapping[int, list[str]] = field(default_factory=dict)  # the notebook's own lines, by the line below them

    @cached_property
    def lines(self) -> list[str]:
        """The text, line by line; the first has index 0."""
        return self.text.split("\n")

    @property
    def is_main(self) -> bool:
        """Whether this is the script."""
        return self.name == MAIN

    @property
    def source_text(self) -> str:
        """The text as it lies on disk."""
        return self.before_renames.text if self.before_renames is not None else self.text

    def at(self, node: ast.AST | int) -> str:
        """Return `file:line`."""
        return f"{self.where}:{node if isinstance(node, int) else getattr(node, 'lineno', 1)}"

    @cached_property
    def docstring(self) -> ast.Expr | None:
        """The statement that is the module's docstring."""
        return self.tree.body[0] if self.tree.body and ast.get_docstring(self.tree, clean=False) is not None else None  # type: ignore[return-value]

    def runtime(self, name: str) -> list[Binding]:
        """Return the bindings of a module-level name that happen when the program runs."""
        return [binding for binding in self.names.module.bound.get(name, ()) if not binding.typing_only]


def empty_package(path: Path, where: str, name: str) -> Module:
    """Return the module that stands for a folder without `__init__.py`."""
    tree = ast.parse("")
    return Module(name, where, path, name, "", tree, [], find_names(tree, True), is_package=True)


def decode(content: bytes) -> str:
    """Read a source: no byte-order mark, and one kind of line end."""
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def parse(path: Path, where: str, name: str, package: str, is_package: bool) -> Module | Problem:
    """Read a file and take it apart; what Python itself would refuse comes back as a problem."""
    try:
        text = decode(path.read_bytes())
    except UnicodeDecodeError as error:
        return Problem(where=f"{where}:1", what=f"not UTF-8 (byte {error.start})", cure="save the file as UTF-8")
    try:
        tree, comments, string_lines, names = take_apart(text, name != MAIN)
    except SyntaxError as error:
        return Problem(where=f"{where}:{error.lineno or 1}", what=f"syntax error: {error.msg}", cure="correct it")
    except (ValueError, RecursionError, tokenize.TokenError) as error:
        return Problem(where=f"{where}:1", what=f"Python cannot read this file: {error}", cure="correct it")
    return Module(name, where, path, package, text, tree, comments, names, is_package, string_lines)


@lru_cache(maxsize=256)
def read_names(text: str, library: bool) -> tuple[ast.Module, Names]:
    """Parse a text once for all notebooks and syncs of a process that hold it; the result is never changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(text)
    return tree, find_names(tree, library)


@lru_cache(maxsize=256)
def take_apart(text: str, library: bool) -> tuple[ast.Module, list[Comment], frozenset[int], Names]:
    """Return a text's tree, comments, lines that begin inside a string, and names.

    Raises:
        SyntaxError: Python refuses it.
        ValueError: see SyntaxError.
        RecursionError: it is nested too deeply.
        tokenize.TokenError: see SyntaxError.
    """
    tree, names = read_names(text, library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        compile(tree, "", "exec", dont_inherit=True)  # finds what parsing does not: `return` outside …
    comments, string_lines = _read_tokens(text)
    return tree, comments, string_lines, names


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage: syntax trees are many objects that all live to the end, and it takes a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _read_tokens(text: str) -> tuple[list[Comment], frozenset[int]]:
    """Return the comments, and the lines that begin inside a string."""
    comments: list[Comment] = []
    inside: set[int] = set()
    begun: list[int] = []  # f-strings are several tokens from 3.12 on, one before
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            comments.append(Comment(token.start[0], token.start[1], token.string))
        elif kind == "STRING":
            inside.update(range(token.start[0] + 1, token.end[0] + 1))
        elif kind == "FSTRING_START":
            begun.append(token.start[0])
        elif kind == "FSTRING_END":
            inside.update(range(begun.pop() + 1, token.end[0] + 1))
    return comments, frozenset(inside)

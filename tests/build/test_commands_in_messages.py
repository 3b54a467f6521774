"""Every command that a message, a page or a document gives can be typed: its target or verb takes what is given there.

Commands are found in the strings of the sources and in the Markdown files. The Makefile's own words and the real
command line parse them and run nothing. `…`, names in capitals and what a message fills in stand for values.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from tests.build.test_make import MAKEFILE, READ, ROOT, TARGETS, VERBS

TREES = ("build", "kernel_src", "bench")
PAGES = ("README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
ALL_TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
VARIABLES = {name for names in READ.values() for name in names} | {"PYTHON"}
USAGE_ERROR = typer.BadParameter.__base__ or typer.BadParameter  # typer brings a click of its own
FILLED = re.compile(r"FILLED(\d+)X")  # for the n-th {…} of an f-string
# What fills a command as it is: names, which can hold no blank. Whatever else does is quoted.
NAMES = {"experiment", "name", "slug", "dataset", "kernel"}
FENCED = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`|<code>(.+?)</code>", re.DOTALL)
# A command in prose reaches as far as its words look like one's.
VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s,;)\]\"']+)*"
MAKE = re.compile(rf"\bmake ([a-z][a-z-]*)((?:\s+(?:…|\[?[A-Z]{{2,}}={VALUE}\]?))*)")
KIT = re.compile(rf"\bpython -m build (?!\.)([a-z][a-z-]*)((?:(?: |\n +(?=--))(?:--)?[\[|…@]*{VALUE}\]?)*)")


def strings(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield where each string of a source stands, its text, and the expressions that it is filled with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            text, filled = "", []
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    text += f"FILLED{len(filled)}X"
                    filled.append(ast.unparse(part.value))
                else:
                    text += str(getattr(part, "value", ""))
            yield where, text, filled
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield where, node.value, []


@cache
def texts() -> list[tuple[str, str, list[str]]]:
    paths = (path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py")))
    pages = [(page, (ROOT / page).read_text(encoding="utf-8"), []) for page in PAGES]
    for path in (path for tree in TREES for path in sorted((ROOT / tree).rglob("*.jinja"))):
        filled = re.sub(r"\{\{.*?\}\}", "X", path.read_text(encoding="utf-8"))
        pages.append((str(path.relative_to(ROOT)), re.sub(r"</?code>", "`", filled), []))
    return [found for path in paths for found in strings(path)] + pages


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each piece of code in a text, then the rest without it; with whether it is code."""
    for block in FENCED.findall(text):
        yield from ((line.partition("#")[0], True) for line in block.replace("\\\n", " ").splitlines())
    text = FENCED.sub("\n", text)
    yield from ((one or other, True) for one, other in CODE.findall(text))
    yield CODE.sub(" ` ", text), False


def commands(text: str) -> Iterator[tuple[str, str, str, bool]]:
    """Yield `make` or `python -m build`, the target or verb, what is given to it, and whether it stands as code."""
    for piece, is_code in pieces(text):
        yield from (("make", target, rest, is_code) for target, rest in MAKE.findall(piece))
        yield from (("python -m build", verb, rest, is_code) for verb, rest in KIT.findall(piece))


def fault_of(start: str, name: str, rest: str, is_code: bool) -> str:
    """Say why a command cannot be typed, or nothing."""
    if start == "make":
        return _fault_of_make(name, rest, is_code)
    return _fault_of_verb(name, rest)


def _fault_of_make(target: str, rest: str, is_code: bool) -> str:
    names = re.findall(r"(?:^|[\s\[])([A-Z]{2,})=", rest)
    if target not in ALL_TARGETS:
        return "no such target" if names or is_code else ""  # else: an English sentence with `make`
    if unread := [name for name in names if name not in (*READ.get(target, []), "PYTHON")]:
        return f"it does not read {', '.join(unread)}"
    must = [word.partition("=")[2][:-1] for word in TARGETS.get(target, []) if word.endswith("!")]
    absent = [name for name in must if name not in names]
    return f"it wants {', '.join(absent)}, too" if names and absent and "… " not in rest else ""


def _fault_of_verb(name: str, rest: str) -> str:
    verb = VERBS.get(name)
    if verb is None:
        return "no such verb"
    try:
        words = shlex.split(re.sub(r"[\[\]]", " ", rest).rstrip(".: "))
    except ValueError as error:
        return str(error)
    options = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
    if unknown := [
        word
        for word in words  # one with a blank in it is the value of another, as in --args "--epochs 3"
        if word.startswith("--") and " " not in word and word.partition("=")[0] not in {*options, "--help"}
    ]:
        return f"no option {', '.join(unknown)}"
    if not words or "…" in words or "|" in words:
        return ""  # named, or shortened
    try:
        verb.make_context(name, [FILLED.sub("7", word) for word in words])
    except USAGE_ERROR as error:
        return str(error.format_message())  # type: ignore[attr-defined]
    return ""


def faults() -> list[str]:
    found = []
    for where, text, _ in texts():
        for start, name, rest, is_code in commands(text):
            if fault := fault_of(start, name, rest, is_code):
                found.append(f"{where}: {start} {name}{rest}: {fault}")
    return found


def test_what_messages_and_documents_advise_can_be_typed() -> None:
    assert len([1 for _, text, _ in texts() for _ in commands(text)]) > 300
    assert faults() == []


def test_what_fills_a_command_is_a_name_or_is_quoted() -> None:
    bare = []
    for where, text, filled in texts():
        for start, name, rest, _ in commands(text):
            for number in FILLED.findall(f"{name}{rest}"):
                expression = filled[int(number)]
                if not expression.startswith("shlex.quote(") and re.findall(r"\w+", expression)[-1] not in NAMES:
                    bare.append(f"{where}: {start} {name} … {{{expression}}}")
    assert bare == []


def test_variables_that_messages_name_alone_exist() -> None:
    named = {
        (where, name)
        for where, text, _ in texts()
        if where.startswith(("build/", "README", "docs/")) and not where.startswith("build/make.py")
        for name in re.findall(r"(?<![\w$./-])([A-Z]{2,})=(?=[\w…])", text)
    }
    assert {(where, name) for where, name in named if name not in {*VARIABLES, "NAME", "HANDLE"}} == set()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`make pull-kernel SLUG=i2b-v1-infer` fetches it", "it does not read SLUG"),
        ("run make pul-kernel EXPERIMENT=v1", "no such target"),
        ("`make everything`", "no such target"),
        ("make pull-kernel KERNEL=train", "it wants EXPERIMENT, too"),
        ("to make the bundle", ""),
        ("make push-training", ""),
        ("`make train … PSEUDO=dir SET=data.pseudo.weight=0.25`", ""),
        ('make train SET="schedule.epochs=3 batch.size=4" FOLD=1', "it does not read FOLD"),
        ("```sh\nmake infr DATA=x\n```", "no such target"),
        ("`python -m build bundel RUN`", "no such verb"),
        ("python -m build bundle", ""),
        ("`python -m build bundle RUN --dat DIR`", "no option --dat"),
        ("`python -m build push-inference --message m`", "Missing option '--experiment'."),
        ("`python -m build push-inference --message m …`", ""),
        ("python -m build describe v8 v9", "Got unexpected extra argument"),
        ("python -m build describe v8, then go on", ""),
        ("`python -m build lab --port PORT`", "Invalid value for '--port'"),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(text: str, fault: str) -> None:
    found = [fault_of(*command) for command in commands(text)]
    assert any(one.startswith(fault) for one in found) if fault else not any(found)

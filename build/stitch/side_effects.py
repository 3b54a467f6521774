"""Third-party imports that gathering would move before code that changes what they find.

`os.environ["X"] = "1"` between two third-party imports is meant for the second one; in the notebook both run before it.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from build.stitch.cells import first_line
from build.stitch.imports import statements
from build.stitch.library import Library
from build.stitch.modules import Module
from build.stitch.order import THIRD_PARTY, Plan, is_gathered, is_third_party
from build.stitch.rules import dotted, root_of
from build.stitch.scopes import Use

_SURROUNDINGS = frozenset(
    "os.environ os.putenv os.unsetenv os.chdir os.system sys.path sys.meta_path sys.path_hooks site.addsitedir "
    "subprocess resource.setrlimit".split()
)
_READING = frozenset("get keys items values copy".split())

Name = tuple[str, str]  # module, name


@dataclass(frozen=True)
class _Mentions:
    """What concerns the surroundings in one module, by line."""

    changes: list[int]  # lines that change them
    names: list[tuple[int, Name]]  # lines that mention a name of ours


def check_import_order(plan: Plan, library: Library) -> None:
    """Refuse a third-party import that the gathered cell would run before code that changes its surroundings."""
    mentions = {module.name: library.once(_find, module) for module in plan.everything}
    if not any(found.changes for found in mentions.values()):
        return
    tainted = _tainted_names(plan, mentions)
    lines = {name: _changing_lines(found, tainted) for name, found in mentions.items()}
    seen: set[str] = set()
    changed = ""
    for module, statement in _from_gathering_on(plan):
        for imported in library.imports(module):
            if imported.site.node is not statement or not is_gathered(imported) or not is_third_party(imported):
                continue
            if changed and imported.meaning.module not in seen:
                library.refuse(
                    module.at(statement),
                    f"{imported.meaning.module} is imported after {changed} changed the environment; gathered, before",
                    "move the import, or that code, before the first third-party import",
                )
            seen.add(imported.meaning.module)
        runs = not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.Import | ast.ImportFrom)
        if not changed and runs and _spans_one_of(lines[module.name], statement):
            changed = module.at(statement)


def _from_gathering_on(plan: Plan) -> Iterator[tuple[Module, ast.stmt]]:
    if THIRD_PARTY in plan.steps:
        yield from statements(Plan(plan.main, plan.modules, plan.steps[plan.steps.index(THIRD_PARTY) :]))


def _tainted_names(plan: Plan, mentions: dict[str, _Mentions]) -> set[Name]:
    """Return the functions and classes in which the surroundings are changed, directly or through one another."""
    tainted: set[Name] = set()
    while True:
        more = {
            (module.name, statement.name)
            for module in plan.everything
            if (lines := _changing_lines(mentions[module.name], tainted))
            for statement in module.tree.body
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and _spans_one_of(lines, statement)
        }
        if more <= tainted:
            return tainted
        tainted |= more


def _changing_lines(mentions: _Mentions, tainted: set[Name]) -> list[int]:
    return [*mentions.changes, *(line for line, name in mentions.names if name in tainted)]


def _spans_one_of(lines: list[int], statement: ast.stmt) -> bool:
    return any(first_line(statement) <= line <= (statement.end_lineno or statement.lineno) for line in lines)


def _find(module: Module, library: Library) -> _Mentions:
    changes, names = [], []
    reads = _reading(module)
    for use in module.names.uses:
        meaning = library.meaning(module.name, use.name)
        if meaning is not None and meaning.kind != "outside":
            for attribute in use.attributes:
                if meaning.kind == "module":
                    meaning = library.attribute(meaning.module, attribute.attr) or meaning
            names.append((use.node.lineno, (meaning.module, meaning.name)))
        elif _changes(use, module, library, reads):
            changes.append(use.node.lineno)
    return _Mentions(changes, names)


def _changes(use: Use, module: Module, library: Library, reads: set[int]) -> bool:
    paths = list(dotted(use, module, library))
    for position, path in enumerate(paths):
        if path in _SURROUNDINGS:
            after = paths[position + 1].rpartition(".")[2] if position + 1 < len(paths) else ""
            return not (path == "os.environ" and (after in _READING or id(use.node) in reads))
    return False


def _reading(module: Module) -> set[int]:
    """Return the names at the root of what is only read: `os.environ["X"]`, `"X" in os.environ`."""
    found = set()
    for node, _ in module.names.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            found.add(id(root_of(node.value)))
        elif isinstance(node, ast.Compare):
            found |= {id(root_of(side)) for side in node.comparators}
    return found

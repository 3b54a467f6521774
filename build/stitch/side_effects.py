"""Third-party imports that gathering would move before code that changes what they find.

`os.environ["X"] = "1"` between two third-party imports is meant for the second one; in the notebook both run before it.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from build.stitch.cells import first_line
from build.stitch.library import Library
from build.stitch.modules import Module
from build.stitch.order import THIRD_PARTY, Part, Plan, is_gathered, is_third_party
from build.stitch.rules import dotted, root_of
from build.stitch.scopes import Use

_SURROUNDINGS = frozenset(
    "os.environ os.putenv os.unsetenv os.chdir os.system sys.path sys.meta_path sys.path_hooks site.addsitedir "
    "subprocess resource.setrlimit".split()
)
_PACKAGES = frozenset(path.split(".")[0] for path in _SURROUNDINGS)
_READING = frozenset("get keys items values copy".split())

Name = tuple[str, str]  # module, name


@dataclass(frozen=True)
class _Mentions:
    """What concerns the surroundings in one module, by line."""

    changes: list[int]  # lines that change them
    names: dict[Name, list[int]]  # lines that mention a name of ours


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
        is_import = isinstance(statement, ast.Import | ast.ImportFrom)
        for imported in library.imports(module) if is_import else []:
            if imported.site.node is not statement or not is_gathered(imported) or not is_third_party(imported):
                continue
            if changed and imported.meaning.module not in seen:
                library.refuse(
                    module.at(statement),
                    f"{imported.meaning.module} is imported after {changed} changed the environment; gathered, before",
                    "move the import, or that code, before the first third-party import",
                )
            seen.add(imported.meaning.module)
        runs = not is_import and not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
        if lines[module.name] and not changed and runs and _spans_one_of(lines[module.name], statement):
            changed = module.at(statement)


def _from_gathering_on(plan: Plan) -> Iterator[tuple[Module, ast.stmt]]:
    """Yield every module-level statement below the third-party imports, in the order in which they run."""
    first = plan.steps.index(THIRD_PARTY) if THIRD_PARTY in plan.steps else len(plan.steps)
    for step in plan.steps[first:]:
        if isinstance(step, Module):
            yield from ((step, node) for node in step.tree.body)
        elif isinstance(step, Part):
            own = (node for node in plan.main.tree.body if step.first <= first_line(node) <= step.last)
            yield from ((plan.main, node) for node in own)


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
    return [*mentions.changes, *chain.from_iterable(mentions.names[name] for name in mentions.names.keys() & tainted)]


def _spans_one_of(lines: list[int], statement: ast.stmt) -> bool:
    return any(first_line(statement) <= line <= (statement.end_lineno or statement.lineno) for line in lines)


def _find(module: Module, library: Library) -> _Mentions:
    changes, names = list[int](), dict[Name, list[int]]()
    outside = {one.bound for one in library.imports(module) if one.meaning.module.split(".")[0] in _PACKAGES}
    reads = _reading(module) if outside else set()
    for use in module.names.uses:
        meaning = library.meaning(module.name, use.name)
        if meaning is not None and meaning.kind != "outside":
            for attribute in use.attributes:
                if meaning.kind == "module":
                    meaning = library.attribute(meaning.module, attribute.attr) or meaning
            names.setdefault((meaning.module, meaning.name), []).append(use.node.lineno)
        elif use.name in outside and _changes(use, module, library, reads):
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
    for node in module.names.nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            found.add(id(root_of(node.value)))
        elif isinstance(node, ast.Compare):
            found |= {id(root_of(side)) for side in node.comparators}
    return found

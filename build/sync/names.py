"""Imports follow the names: what a source uses after the edit is imported from where it is defined now.

The notebook is one namespace, the sources are many. A name that an edit brings into a source is imported from the
notebook's own imports or from the source that defines it; a name that an edit took away while others use it is refused.
"""

import ast
import builtins
from collections.abc import Mapping

from build.core.errors import Problem
from build.stitch.modules import read_names
from build.stitch.scopes import Names
from build.sync.imports import Clause, add, clauses_of, drop, top_level
from build.sync.sync_result import SyncResult

_GIVEN = {*dir(builtins), "__name__", "__doc__", "__file__", "__spec__", "__package__"}


def dotted(where: str) -> str:
    """Return a source's dotted name."""
    return where.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def names_of(text: str, library: bool) -> Names:
    """Return what a source binds and reads."""
    return read_names(text, library)[1]


def follow(
    before: Mapping[str, str],
    after: Mapping[str, str],
    main: str,
    known: Mapping[str, Clause],
    removed: set[Clause],
    needed: frozenset[str],
    result: SyncResult,
) -> dict[str, str]:
    """Return the sources with the imports corrected in all that an edit concerns.

    Args:
        before: the base's sources.
        after: the sources with the edits.
        main: the script.
        known: the notebook's own imports, by the name they bind.
        removed: imports that were taken out of the notebook.
        needed: the notebook's sources: only among these names are found and imports dropped.
        result: gets what is wrong, and notes.
    """
    texts = dict(after)
    gone = _gone(before, after, main)
    for where in sorted(needed):
        for clause in removed & set(top_level(texts[where])):
            texts[where] = drop(texts[where], clause)
    for where in sorted(texts):
        for clause in list(top_level(texts[where])) if where in needed else ():
            if (clause.module, clause.name) in gone:
                texts[where] = drop(texts[where], clause)
    homes = {name: where for where in sorted(needed) if where != main for name in _defined(texts[where])}
    for where in sorted(needed):
        lost = unresolved(texts[where], where != main)
        if not lost:
            continue
        old = set(unresolved(before[where], where != main)) if where in before else set()
        bound = {name for one in needed if one in before for name in names_of(before[one], one != main).module.bound}
        for name, line in lost.items():
            if name in old:
                continue
            if name in known:
                clause = known[name]
            elif name in homes and homes[name] != where:
                clause = Clause(dotted(homes[name]), name)
            elif name in bound:
                result.problems.append(
                    Problem(
                        what=f"{name} was removed from the notebook but is still used",
                        where=f"{where}:{line}",
                        cure="change what uses it as well, or put it back",
                    )
                )
                continue
            else:
                result.notes.append(f"{where}:{line}: nothing defines {name}")
                continue
            now = unresolved(texts[where], where != main).get(name, 1)
            texts[where] = add(texts[where], clause, main.split("/")[0], now if where == main else 0)
    return texts


def left_behind(
    before: Mapping[str, str], after: Mapping[str, str], main: str, others: Mapping[str, str]
) -> list[Problem]:
    """Return the imports, in sources that the notebook does not show, of names that the edit takes away."""
    gone = _gone(before, after, main)
    problems = []
    for where, text in sorted(others.items()):
        if not any(name in text for _, name in gone):
            continue
        for clause, node in top_level(text).items():
            if (clause.module, clause.name) in gone:
                problems.append(
                    Problem(
                        what=f"imports {clause.name}, which the edit removes from {clause.module}",
                        where=f"{where}:{node.lineno}",
                        cure=f"leave {clause.name} in the notebook, or change this source first",
                    )
                )
    return problems


def hoist(text: str) -> str:
    """Move imports that an edit put below the code of a library module to its imports."""
    body = ast.parse(text).body
    code = next(
        (
            number
            for number, node in enumerate(body)
            if not isinstance(node, ast.Import | ast.ImportFrom)
            and not (number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ),
        len(body),
    )
    late = [node for node in body[code:] if clauses_of(node)]
    lines = text.split("\n")
    for node in reversed(late):
        del lines[node.lineno - 1 : node.end_lineno or node.lineno]
        above, at = lines[node.lineno - 2], node.lineno - 1
        while at < len(lines) and not lines[at].strip() and (not above.strip() or above.startswith("# %%")):
            del lines[at]
    return "\n".join(lines)


def late_imports(text: str) -> list[Clause]:
    """Return the imports of a library module that stand below its first other statement."""
    return [clause for clause in top_level(text) if clause not in top_level(hoist(text))]


def unresolved(text: str, library: bool) -> dict[str, int]:
    """Return the names that a source reads and gets from nowhere, each with the line of its first use."""
    names = names_of(text, library)
    found: dict[str, int] = {}
    for use in names.uses:
        known = use.name in names.module.bound or use.name in _GIVEN
        if not known and isinstance(use.node.ctx, ast.Load) and use.scope.holder(use.name).kind == "module":
            found.setdefault(use.name, use.node.lineno)
    return found


def early_uses(text: str) -> dict[str, int]:
    """Return the names that a source reads, while it runs from top to bottom, above the line that first binds them."""
    bound: dict[str, int] = {}
    found: dict[str, int] = {}
    names = names_of(text, False)
    for name, bindings in names.module.bound.items():
        bound[name] = min(getattr(binding.node, "lineno", 1) for binding in bindings)
    for use in names.uses:
        eager = use.scope.kind == "module" and isinstance(use.node.ctx, ast.Load) and not use.typing_only
        if eager and use.name in bound and use.node.lineno < bound[use.name]:
            found.setdefault(use.name, use.node.lineno)
    return found


def _defined(text: str) -> set[str]:
    bound = names_of(text, True).module.bound
    return {name for name, bindings in bound.items() if any(binding.how == "value" for binding in bindings)}


def _gone(before: Mapping[str, str], after: Mapping[str, str], main: str) -> set[tuple[str, str]]:
    """Return the names that sources lost, as (dotted module, name)."""
    return {
        (dotted(where), name)
        for where, text in before.items()
        if where != main and after[where] != text
        for name in set(names_of(text, True).module.bound) - set(names_of(after[where], True).module.bound)
    }

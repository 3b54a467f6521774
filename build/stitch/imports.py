"""The gathered imports: the standard library's sorted, the others in the order in which the package runs them.

The order of third-party imports is kept because some packages change others when they are imported.
"""

import ast
from collections.abc import Iterable

from build.stitch.library import Imported, Library
from build.stitch.order import Plan, is_gathered, is_third_party
from build.stitch.purity import annotations

LINE_LENGTH = 120


def gathered_imports(plan: Plan) -> list[Imported]:
    """Return the imports that move to the gathered cells, in the order in which they run."""
    return list(filter(is_gathered, plan.imports))


def standard_library_lines(gathered: Iterable[Imported], plan: Plan, library: Library) -> list[str]:
    """Return the lines of the first code cell: `from __future__` first, then each import once, sorted."""
    future = ["from __future__ import annotations"] if _wants_future(plan, library) else []
    lines = _render([one for one in gathered if not is_third_party(one)])
    plain = sorted(line for line in lines if line.startswith("import "))
    froms = sorted((line for line in lines if not line.startswith("import ")), key=lambda line: line.split()[1])
    return [*future, *([""] if future and lines else []), *wrapped(plain + froms)]


def third_party_lines(gathered: Iterable[Imported]) -> list[str]:
    """Return the lines of the third-party cell, each import once, in the order of their first run."""
    return wrapped(_render([one for one in gathered if is_third_party(one)]))


def third_party_names(plan: Plan, library: Library) -> tuple[str, ...]:
    """Return the top-level names of every third-party package that is imported anywhere, sorted."""
    names = {
        one.meaning.module.split(".")[0]
        for module in plan.everything
        for one in library.imports(module)
        if not one.runs and not one.site.typing_only and is_third_party(one)
    }
    return tuple(sorted(names))


def _render(gathered: list[Imported]) -> list[str]:
    """Write imports as lines; several names from one module share a line, at the place of the first."""
    lines: dict[str, list[str]] = {}
    for imported in gathered:
        node, alias = imported.site.node, imported.alias
        name = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
        if isinstance(node, ast.Import):
            lines.setdefault(f"import {name}", [])
        else:
            names = lines.setdefault(f"from {node.module} import ", [])
            if name not in names:
                names.append(name)
    return [start + ", ".join(sorted(names)) for start, names in lines.items()]


def wrapped(lines: list[str]) -> list[str]:
    """Write each import that is too long for a line as the formatter would, one name a line."""
    result = []
    for line in lines:
        if len(line) <= LINE_LENGTH:
            result.append(line)
            continue
        start, _, names = line.partition(" import ")
        result += [f"{start} import (", *(f"    {name}," for name in names.split(", ")), ")"]
    return result


# -- from __future__ -----------------------------------------------------------------------------------------------


def _wants_future(plan: Plan, library: Library) -> bool:
    """Whether annotations are postponed: it holds for all cells, so all modules that have annotations must agree."""
    futures = [
        (module, site.node, {one.name for one in site.node.names})
        for module in plan.everything
        for site in module.names.sites
        if isinstance(site.node, ast.ImportFrom) and site.node.module == "__future__"
    ]
    with_it = [module for module, _, names in futures if "annotations" in names]
    for module in plan.everything if with_it else []:
        annotation = next((node for node in module.names.nodes if _is_annotated(node)), None)
        if module not in with_it and annotation is not None:
            library.refuse(
                module.at(annotation),
                f"annotations are evaluated here, but {with_it[0].where} postpones them for the whole notebook",
                "add `from __future__ import annotations` here, or remove it there",
            )
    for module, statement, names in futures:
        if "barry_as_FLUFL" in names:
            library.refuse(module.at(statement), "barry_as_FLUFL changes what != means", "remove it")
    return bool(with_it)


def _is_annotated(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return bool(annotations(node))
    return isinstance(node, ast.AnnAssign)

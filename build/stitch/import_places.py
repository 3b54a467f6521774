"""Which third-party imports of somebody else's script stay where they stand, instead of being gathered.

One is gathered only across statements that do nothing: so packages that change each other, that read the environment
or that print are imported in Python's order, after everything that ran before them. The same package again may be
gathered: it is there already.

A module of ours that Python imports late or perhaps never (in a function, under a condition) is in the notebook in any
case. What it imports is gathered, and must be there in any case, too.
"""

import ast
from collections.abc import Iterator

from build.stitch.cells import first_line
from build.stitch.library import Imported, Library
from build.stitch.modules import Module
from build.stitch.order import Plan, is_eager, is_gathered, is_third_party
from build.stitch.purity import is_inert


def staying_imports(plan: Plan, library: Library) -> frozenset[int]:
    """Return the import statements, by their identity, that the gathered cell would run too early."""
    stay: set[int] = set()
    there: set[str] = set()
    begun, acted = False, ""  # the gathered cell stands above what comes from here on; what did something since then
    for module, statement in _what_runs_at_once(plan, library):
        begun = begun or (not module.is_main and any(map(_is_gathered, library.imports(module))))
        if isinstance(statement, ast.Import | ast.ImportFrom):
            own = [one for one in library.imports(module) if one.site.node is statement]
            names = {one.meaning.module for one in own if _is_gathered(one)}
            begun = begun or bool(names)
            if acted and not names <= there:
                stay.add(id(statement))
                if any(one.runs for one in own):
                    what = f"imports ours and others in one statement, after {acted} did something"
                    library.refuse(module.at(statement), what, "write one import per line")
            else:
                there |= names
        elif begun and not acted and not is_inert(statement, module, library):
            acted = module.at(statement)
    return frozenset(stay)


def refuse_perhaps_missing(plan: Plan, library: Library) -> None:
    """Note packages that a module needs which perhaps never runs: the notebook would fail without them."""
    at_once = {module.name: module for module, _ in _what_runs_at_once(plan, library, caught=False)}
    every = (one for module in at_once.values() for one in library.imports(module) if one.site.top_level)
    there = {one.meaning.module.split(".")[0] for one in every if one.meaning.kind == "outside"}
    for module in plan.modules:
        for one in library.imports(module) if module.name not in at_once else ():
            package = one.meaning.module.split(".")[0]
            if _is_gathered(one) and package not in there:
                what = f"{package} is imported only when this module is; the notebook would import it in any case"
                library.refuse(module.at(one.site.node), what, "import it in the script, too, or inside the functions")


def _is_gathered(imported: Imported) -> bool:
    return is_gathered(imported) and is_third_party(imported)


def _what_runs_at_once(plan: Plan, library: Library, *, caught: bool = True) -> Iterator[tuple[Module, ast.stmt]]:
    """Yield every statement that runs on import, in Python's order; an import of ours only after all that it runs.

    With `caught`, also what is imported in a try.
    """
    done: set[str] = set()
    planned = {module.name: module for module in plan.modules}

    def run(module: Module) -> Iterator[tuple[Module, ast.stmt]]:
        eager = (one for one in library.imports(module) if one.runs and is_eager(one, module))
        imports = [one for one in eager if caught or not one.site.caught]
        for statement in module.tree.body:
            last = statement.end_lineno or statement.lineno
            for imported in imports:
                for name in imported.runs if first_line(statement) <= imported.site.node.lineno <= last else ():
                    if name in planned and name not in done:
                        done.add(name)
                        yield from run(planned[name])
            yield module, statement

    return run(plan.main)

"""Which third-party imports of somebody else's script stay where they stand, instead of being gathered.

One is gathered only across statements that do nothing: so packages that change each other, that read the environment
or that print are imported in Python's order, after everything that ran before them. The same package again may be
gathered: it is there already.
"""

import ast
from collections.abc import Iterator

from build.stitch.cells import first_line
from build.stitch.library import Imported, Library
from build.stitch.modules import Module
from build.stitch.order import Plan, is_gathered, is_third_party
from build.stitch.purity import is_inert


def staying_imports(plan: Plan, library: Library) -> frozenset[int]:
    """Return the import statements, by their identity, that the gathered cell would run too early."""
    stay: set[int] = set()
    there: set[str] = set()
    begun, acted = False, ""  # the gathered cell stands above what comes from here on; what did something since then
    for module, statement in _in_the_order_in_which_they_run(plan, library):
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


def _is_gathered(imported: Imported) -> bool:
    return is_gathered(imported) and is_third_party(imported)


def _in_the_order_in_which_they_run(plan: Plan, library: Library) -> Iterator[tuple[Module, ast.stmt]]:
    """Yield every module-level statement; an import of ours only after all that it runs."""
    done: set[str] = set()
    planned = {module.name: module for module in plan.modules}

    def run(module: Module) -> Iterator[tuple[Module, ast.stmt]]:
        imports = [one for one in library.imports(module) if one.runs and not one.site.typing_only]
        for statement in module.tree.body:
            last = statement.end_lineno or statement.lineno
            for imported in imports:
                for name in imported.runs if first_line(statement) <= imported.site.node.lineno <= last else ():
                    if name in planned and name not in done:
                        done.add(name)
                        yield from run(planned[name])
            yield module, statement

    return run(plan.main)

"""One namespace instead of many: which names would change their value when all modules share it.

Three ways to go wrong: two modules give a name different meanings; a module reads a name that it does not bind and
another one does (a builtin, most often); a name is taken by `from … import` and is changed by its own module later on.
"""

import ast
import builtins
from collections.abc import Mapping

from build.stitch.class_bodies import read_from
from build.stitch.library import Library
from build.stitch.module_context import named
from build.stitch.modules import Meaning, Module
from build.stitch.order import Plan, is_gathered
from build.stitch.scopes import Binding, Use


def refuse_collisions(plan: Plan, library: Library, reasons: Mapping[str, str] | None = None) -> None:
    """Note every name that the shared namespace would change; `reasons` say why `renames` left one as it is."""
    _different_meanings(plan, library, reasons or {})
    _borrowed_names(plan, library)
    for module in plan.everything:
        library.once(_rebound_imports, module)
        library.once(_snapshots, module)


def _different_meanings(plan: Plan, library: Library, reasons: Mapping[str, str]) -> None:
    found: dict[str, dict[Meaning, tuple[Module, Binding]]] = {}
    for module in plan.everything:
        for name, meaning, place in library.once(bound_meanings, module):
            if library.foreign and (meaning.kind == "module" or is_unused(name, plan)):
                continue  # the name of a module of ours is in no notebook
            if name != "__all__" or not is_plain_all(plan):
                found.setdefault(name, {}).setdefault(meaning, (module, place))
    for name, meanings in found.items():
        if len(meanings) < 2:
            continue
        (first_meaning, (first, first_binding)), *others = meanings.items()
        for meaning, (module, binding) in others:
            where = module.at(binding.node)
            if meaning.kind == first_meaning.kind == "name":
                what = f"{name} is defined here and in {first.at(first_binding.node)}"
            else:
                what = f"{name} means {_say(meaning)} here and {_say(first_meaning)} in {first.at(first_binding.node)}"
            why = f"; the build cannot: {reasons[name]}" if name in reasons else ""
            library.refuse(where, what, f"rename one of them{why}")


def is_unused(name: str, plan: Plan) -> bool:
    """Whether this is `_`, which stands for a value that nobody wants, and nobody reads it."""
    return name == "_" and not any(
        use.name == "_" and isinstance(use.node.ctx, ast.Load) and use.scope.holder("_").kind == "module"
        for module in plan.everything
        for use in module.names.uses
    )


def bound_meanings(module: Module, library: Library) -> list[tuple[str, Meaning, Binding]]:
    """Return each name that a module binds, with what it means and where it is bound."""
    found = []
    for name, bindings in module.names.module.bound.items():
        meaning = named(library, module, name)
        if meaning is not None:
            own = meaning.kind == "name" and meaning.module == module.name
            place = next((one for one in bindings if own and one.how == "value"), bindings[0])
            found.append((name, meaning, place))
    return found


def _say(meaning: Meaning) -> str:
    return "its own value" if meaning.kind == "name" and meaning.module == "__main__" else str(meaning)


def is_plain_all(plan: Plan) -> bool:
    """Whether nobody reads `__all__`: then it may stand in every module."""
    return not any(
        use.name == "__all__" and isinstance(use.node.ctx, ast.Load)
        for module in plan.everything
        for use in module.names.uses
    )


def _borrowed_names(plan: Plan, library: Library) -> None:
    owners: dict[str, tuple[Module, Binding]] = {}
    for module in plan.everything:
        for name in module.names.module.bound:
            bindings = module.runtime(name)
            if library.foreign and _vanishes(module, name, library):
                continue
            if bindings and name != "__all__":
                owners.setdefault(name, (module, bindings[0]))
    for module in plan.everything:
        for use in library.once(unbound_uses, module):
            name = use.name
            if name not in owners:
                continue
            owner, binding = owners[name]
            kind = "the builtin" if hasattr(builtins, name) else "a name that this module does not define"
            library.refuse(
                module.at(use.node),
                f"{name} is {kind} here, but in the notebook it is the one of {owner.at(binding.node)}",
                "rename that one, or import it",
            )


def _vanishes(module: Module, name: str, library: Library) -> bool:
    """Whether a name stands for a module of ours: no notebook has it."""
    meaning = library.meaning(module.name, name)
    return meaning is not None and meaning.kind == "module"


def unbound_uses(module: Module, library: Library) -> list[Use]:
    """Return where a module mentions names of the module level that it does not bind: builtins, or nothing."""
    found = []
    for use in module.names.uses:
        if use.typing_only or use.name in module.names.module.bound:
            continue
        scope = use.scope.holder(use.name)
        # A class body that binds the name still reads the module's until it does.
        if scope.kind == "module" or (scope.kind == "class" and read_from(use, module) != "class"):
            found.append(use)
    return found


def _rebound_imports(module: Module, library: Library) -> None:
    """A name that an import binds must keep that value: the import line moves or vanishes."""
    for imported in library.imports(module):
        never = library.foreign and imported.site.typing_only
        moves = (imported.runs or is_gathered(imported)) and not never
        for binding in imported.site.scope.bound.get(imported.bound, []) if moves else []:
            if binding.how == "import" and any(
                other.site is binding.site and other.bound == imported.bound and other.meaning == imported.meaning
                for other in library.imports(module)
            ):
                continue
            verb = "deletes" if binding.how == "delete" else "rebinds"
            library.refuse(
                module.at(binding.node),
                f"{verb} {imported.bound}, which line {imported.site.node.lineno} imports",
                "use another name",
            )


def _snapshots(module: Module, library: Library) -> None:
    """`from m import x` keeps the value of that moment; in one namespace `x` follows `global x` in m."""
    for imported in library.imports(module):
        meaning = imported.meaning
        if not imported.runs or meaning.kind != "name":
            continue
        owner = library.load(meaning.module)
        for binding in owner.runtime(meaning.name) if owner else []:
            if binding.through_global or binding.how == "delete":
                assert owner is not None
                library.refuse(
                    module.at(imported.site.node),
                    f"{meaning.name} is imported by value, but {owner.at(binding.node)} changes it later",
                    f"import the module and read {meaning.module.rpartition('.')[2]}.{meaning.name}",
                )

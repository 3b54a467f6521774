"""Which names get another one in the notebook, so that the modules of a package can share its one namespace.

A *variable* is a name with one meaning: where its value is made, and every module that imports it by this name. Where
several variables have one name, one keeps it; the others are called after their modules: `logger_checkpoint`.

1. A builtin that some module reads as such keeps its name, and so does what cannot be renamed (`fixed` says why).
2. Else a function or class keeps it, for they can be asked for their names; else the script; else whoever is first.
3. A name that a module reads and nobody gives it is a variable, too: renamed, it stays undefined.
4. A renamed function or class is still defined under its own name, and takes the new one in the line below: its
   `__name__`, its code and its decorators see what they see in the package. So it must be above whoever keeps the name.
5. A new name is a word that no source has anywhere: the way back is to replace the word.

What cannot be decided so is left as it is, and `collisions` refuses it. `renaming` changes the sources accordingly.
"""

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from build.stitch.collisions import bound_meanings, is_plain_all, is_unused, unbound_uses
from build.stitch.library import Library
from build.stitch.looked_up import LookedUp
from build.stitch.modules import Meaning, Module
from build.stitch.order import THIRD_PARTY, Part, Piece, Plan, is_gathered, is_third_party
from build.stitch.scopes import Binding

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Names that Python, the kit or IPython look for, whatever module they are in.
_LOOKED_FOR = frozenset(
    "__name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __annotations__ __builtins__ __all__ "
    "__getattr__ __dir__ TYPE_CHECKING PARTS SOURCE_SHA256 ARGS _ In Out exit quit".split()
)
Key = tuple[str, Meaning | str]  # a name, and what it means; of a missing one the module that reads it


@dataclass(frozen=True)
class Renames:
    """What was decided."""

    names: Mapping[tuple[str, str], str]  # module, name in it → name in the notebook
    keys: Mapping[tuple[str, str], Key]  # the same → its variable
    definitions: frozenset[tuple[str, str]]  # the functions and classes among them
    reasons: Mapping[str, str]  # name → why none of its variables could be renamed


NOTHING = Renames({}, {}, frozenset(), {})


@dataclass(eq=False)
class _Variable:
    name: str
    key: Key
    members: list[Module]
    kind: str  # "missing", "import", "value" or "definition"
    places: list[float] = field(default_factory=list)  # of its bindings, in the notebook
    defined: list[float] = field(default_factory=list)  # of those that are functions or classes
    fixed: str = ""  # why it cannot be renamed

    @property
    def worth(self) -> int:
        """How much there is to be said for keeping the name."""
        kind = {"missing": 0, "import": 1, "value": 1, "definition": 10}[self.kind]
        return kind + 3 * any(module.is_main for module in self.members)


def choose(plan: Plan, library: Library, fixed: Mapping[Key, str]) -> Renames:
    """Decide which names get another one; `fixed` are variables that cannot be renamed, and why."""
    chosen: list[_Variable] = []
    reasons: dict[str, str] = {}
    clashes = _clashes(plan, library)
    if not clashes:
        return NOTHING
    words, looked_up = _Words(plan), LookedUp(plan, library)
    for name, (variables, builtin) in clashes.items():
        for one in variables:
            one.fixed = fixed.get(one.key, "") or _why_fixed(one, plan, looked_up)
            _find_places(one, plan, library)
        renamed = _renamed(variables, builtin)
        if renamed is None:
            reasons[name] = "; ".join(dict.fromkeys(one.fixed for one in variables if one.fixed))
        chosen += renamed or []
    names, keys = dict[tuple[str, str], str](), dict[tuple[str, str], Key]()
    for variable in chosen:
        new = words.new_name(variable.name, _owner(variable), plan.main)
        for module in variable.members:
            names[module.name, variable.name] = new
            keys[module.name, variable.name] = variable.key
    definitions = {(_owner(one).name, one.name) for one in chosen if one.kind == "definition"}
    return Renames(names, keys, frozenset(definitions), reasons)


def _clashes(plan: Plan, library: Library) -> dict[str, tuple[list[_Variable], bool]]:
    """Return the variables of each name that has several, and whether it is a builtin that is read as such, too."""
    found: dict[str, dict[Key, _Variable]] = {}
    for module in plan.everything:
        for name, meaning, _ in library.once(bound_meanings, module):
            if meaning.kind == "module" or (name == "__all__" and is_plain_all(plan)):
                continue
            own = meaning.kind == "name" and (meaning.module, meaning.name) == (module.name, name)
            key: Key = (name, meaning)
            one = found.setdefault(name, {}).setdefault(key, _Variable(name, key, [], "import"))
            one.members.append(module)
            if own:
                defined = any(isinstance(binding.node, _DEFINITIONS) for binding in module.runtime(name))
                one.kind = "definition" if defined else "value"
    read: set[str] = set()
    for module in plan.everything:
        for use in library.once(unbound_uses, module):
            if use.name in found and hasattr(builtins, use.name):
                read.add(use.name)
            elif use.name in found:
                missing: Key = (use.name, module.name)
                found[use.name].setdefault(missing, _Variable(use.name, missing, [module], "missing"))
    return {
        name: (list(variables.values()), hasattr(builtins, name))
        for name, variables in found.items()
        if (len(variables) > 1 or name in read) and not is_unused(name, plan)
    }


def _renamed(variables: list[_Variable], builtin: bool) -> list[_Variable] | None:
    """Return the variables that get another name; None when it cannot be done.

    Of a builtin's name no variable keeps it, for each may begin by reading the builtin: `print = partial(print, …)`.
    """
    if not any(one.fixed for one in variables) and (builtin or not any(one.worth for one in variables)):
        return variables
    if builtin:
        return None
    order = sorted(variables, key=lambda one: -one.worth)  # of equal ones, the first; of definitions, the last
    best = [one for one in order if one.kind == "definition"][::-1] + order
    for keeper in [one for one in best if one.fixed] or sorted(best, key=lambda one: -one.worth):
        others = [one for one in variables if one is not keeper]
        last = max((place for one in others for place in one.defined), default=-2.0)
        if not any(one.fixed for one in others) and last < min(keeper.places, default=float("inf")):
            return others
    return None if any(one.fixed for one in variables) else variables


def _owner(variable: _Variable) -> Module:
    """Return the module that a variable is called after."""
    meaning = variable.key[1]
    if isinstance(meaning, Meaning):
        for module in variable.members:
            if meaning.kind == "name" and module.name == meaning.module:
                return module
    return variable.members[0]


# -- where it is -------------------------------------------------------------------------------------------------------


def _find_places(variable: _Variable, plan: Plan, library: Library) -> None:
    """Find where in the notebook a variable is bound."""
    for module in variable.members:
        gathered = {id(one.site.node): one for one in library.imports(module) if is_gathered(one)}
        for binding in module.runtime(variable.name):
            site = binding.site
            if site is not None and id(site.node) in gathered:
                third = is_third_party(gathered[id(site.node)]) and THIRD_PARTY in plan.layout
                variable.places.append(float(plan.layout.index(THIRD_PARTY)) if third else -1.0)
                continue
            place = _place(module, getattr(binding.node, "lineno", 1), plan)
            variable.places.append(place)
            if isinstance(binding.node, _DEFINITIONS):
                variable.defined.append(place)


def _place(module: Module, line: int, plan: Plan) -> float:
    for number, step in enumerate(plan.layout):
        own = module.is_main if isinstance(step, Part) else isinstance(step, Piece) and step.module is module
        if step is module or (isinstance(step, Part | Piece) and own and step.first <= line <= step.last):
            return float(number)
    return float(len(plan.layout))


# -- what cannot be renamed --------------------------------------------------------------------------------------------


def _why_fixed(variable: _Variable, plan: Plan, looked_up: LookedUp) -> str:
    """Return why a variable must keep its name; nothing where it may get another one."""
    name, bindings = variable.name, list(_bindings(variable))
    if name in _LOOKED_FOR:
        return f"{name} is looked for by its name"
    for module, binding in bindings:
        if isinstance(binding.site and binding.site.node, ast.Import) and binding.alias is not None:
            if not binding.alias.asname and "." in binding.alias.name:
                return f"{module.at(binding.node)} imports a module inside it"
        if binding.how == "delete" and hasattr(builtins, name):
            return f"{module.at(binding.node)} deletes it"
        if isinstance(binding.node, _DEFINITIONS) and binding.through_global:
            return f"{module.at(binding.node)} defines it inside a function"
        if module.is_main and _is_parameter(binding, plan):
            return f"{module.at(binding.node)} is a parameter"
    return looked_up.why(name, variable.members)


def _bindings(variable: _Variable) -> Iterator[tuple[Module, Binding]]:
    for module in variable.members:
        yield from ((module, binding) for binding in module.names.module.bound.get(variable.name, []))


def _is_parameter(binding: Binding, plan: Plan) -> bool:
    line = getattr(binding.node, "lineno", 0)
    return any(
        isinstance(step, Part) and "parameters" in step.segment.tags and step.first <= line <= step.last
        for step in plan.layout
    )


class _Words:
    """The words of all sources, which no new name may be."""

    def __init__(self, plan: Plan) -> None:
        self.taken = {word for module in plan.everything for word in re.findall(r"\w+", module.text)}

    def new_name(self, name: str, owner: Module, main: Module) -> str:
        """Return a name for a variable of a module that no source has as a word; it is taken from then on."""
        dotted = owner.name if owner is not main else re.sub(r"\W", "_", main.path.stem)
        parts = dotted.split(".")
        base = name.strip("_") or "unused" if name.startswith("__") else name  # `__x` is another name inside a class
        wanted = ["_".join([base, *parts[-count:]]) for count in range(1, len(parts) + 1)]
        wanted += [f"{wanted[-1]}_{number}" for number in range(2, len(self.taken) + 3)]
        new = next(one for one in wanted if one not in self.taken and one.isidentifier())
        self.taken.add(new)
        return new

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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from build.stitch.cells import first_line
from build.stitch.collisions import bound_meanings, is_plain_all, is_unused, unbound_uses
from build.stitch.library import Library
from build.stitch.modules import Meaning, Module
from build.stitch.order import THIRD_PARTY, Part, Plan, is_gathered, is_third_party
from build.stitch.scopes import Binding

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Names that Python, the kit or IPython look for, whatever module they are in.
_LOOKED_FOR = frozenset(
    "__name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __annotations__ __builtins__ __all__ "
    "__getattr__ __dir__ TYPE_CHECKING PARTS SOURCE_SHA256 ARGS _ In Out exit quit".split()
)
# Who looks up functions and classes by their names when it stores them or sends them to another process.
_PICKLES = re.compile(r"\b(c?[pP]ickle|dill|joblib|shelve|multiprocessing|mp|ProcessPoolExecutor|process_map|Pool)\b")
_SAVES = re.compile(r"(?<!json\.)\b(save|save_checkpoint|dump)\b *\(")  # torch.save pickles the classes that it meets
# Who reads the names of variables out of texts: pandas (`@name`), numexpr, duckdb, pandasql, timeit.
_READS_TEXTS = re.compile(r"\b(query|evaluate|numexpr|duckdb|p?y?sqldf|timeit|Timer)\b|\beval *\( *[^)\s]")
# Who shows annotations that are texts.
_SHOWS_ANNOTATIONS = re.compile(r"__annotations__|\b(signature|getfullargspec|get_annotations)\b|\.type\b")

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
    words = _Words(plan)
    for name, (variables, builtin) in clashes.items():
        for one in variables:
            one.fixed = fixed.get(one.key, "") or _why_fixed(one, plan, library, words)
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
        if step is module or (module.is_main and isinstance(step, Part) and step.first <= line <= step.last):
            return float(number)
    return float(len(plan.layout))


# -- what cannot be renamed --------------------------------------------------------------------------------------------


def _why_fixed(variable: _Variable, plan: Plan, library: Library, words: "_Words") -> str:
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
    if name in words.in_texts:
        return f"a text names {name}, and somebody may look it up"
    by_name = variable.kind == "definition" or any(_is_made_by_name(one, module) for module, one in bindings)
    if by_name and (words.pickles or (words.saves and any(isinstance(one.node, ast.ClassDef) for _, one in bindings))):
        return f"{name} may be pickled, by its name"
    if words.shows_annotations and name in words.in_annotations:
        return f"{name} is in an annotation that may be shown as a text"
    return ""


def _bindings(variable: _Variable) -> Iterator[tuple[Module, Binding]]:
    for module in variable.members:
        yield from ((module, binding) for binding in module.names.module.bound.get(variable.name, []))


def _is_parameter(binding: Binding, plan: Plan) -> bool:
    line = getattr(binding.node, "lineno", 0)
    return any(
        isinstance(step, Part) and "parameters" in step.segment.tags and step.first <= line <= step.last
        for step in plan.layout
    )


def _is_made_by_name(binding: Binding, module: Module) -> bool:
    """Whether a variable holds what was told its name: `Point = namedtuple("Point", …)`."""
    line = getattr(binding.node, "lineno", 0)
    return any(
        isinstance(node, ast.Assign)
        and first_line(node) <= line <= (node.end_lineno or line)
        and isinstance(node.value, ast.Call)
        and any(isinstance(one, ast.Constant) and one.value == binding.name for one in node.value.args)
        for node in module.tree.body
    )


class _Words:
    """The words of all sources: what is taken, and what somebody may look up by its name."""

    def __init__(self, plan: Plan) -> None:
        texts = [module.text for module in plan.everything]
        self.taken = {word for text in texts for word in re.findall(r"\w+", text)}
        self.pickles = any(map(_PICKLES.search, texts))
        self.saves = any(map(_SAVES.search, texts))
        self.shows_annotations = any(map(_SHOWS_ANNOTATIONS.search, texts))
        self.in_texts = _words(_texts(plan)) if any(map(_READS_TEXTS.search, texts)) else set()
        self.in_annotations = _words(_annotations(plan)) if self.shows_annotations else set()

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


def _texts(plan: Plan) -> Iterator[str]:
    """Yield every text that is no docstring."""
    for module in plan.everything:
        alone = {id(node.value) for node in module.names.nodes if isinstance(node, ast.Expr)}
        for node in module.names.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
                yield node.value


def _annotations(plan: Plan) -> Iterator[str]:
    """Yield the annotations that are texts: in quotes, and in a module that postpones them all."""
    for module in plan.everything:
        postponed = any(
            isinstance(site.node, ast.ImportFrom) and site.node.module == "__future__" for site in module.names.sites
        )
        yield from (str(node.value) for node, _, _ in module.names.quoted)
        for node in module.names.nodes if postponed else []:
            for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
                if isinstance(part, ast.expr):
                    yield ast.unparse(part)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                every += [one for one in (node.args.vararg, node.args.kwarg) if one is not None]
                yield from (ast.unparse(one.annotation) for one in every if one.annotation is not None)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w+", text)}

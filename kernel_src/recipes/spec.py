"""## Specs

A recipe is a value made of small values: frozen dataclasses that check themselves. Where there is a choice, each
alternative is a class of its own under one base class, so that what means nothing cannot be written. As JSON an
alternative carries its class as `kind`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_args, get_origin

from kernel_src.runtime.untrusted import quoted

KIND = "kind"
TYPE_WORDS: dict[Any, str] = {
    str: "a line of text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    NoneType: "nothing",
}


class ExperimentError(ValueError):
    """An experiment or ensemble, or a part of one, is written down as it cannot be."""


# %%
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Spec:
    """A part of a recipe. A class below adds fields, and `check` where their types do not say everything.

    Each is a frozen dataclass. What a dataclass usually compiles for every class anew (comparison, text, refusal to be
    changed) stands here once: for sixty classes that is 20 ms of every start.
    One that is `abstract` is what its alternatives have in common.
    """

    abstract: ClassVar[bool] = True
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, abstract: bool = False, kw_only: bool = False) -> None:
        """Make the class a dataclass, and note whether it is an alternative itself."""
        cls.abstract = abstract
        dataclass(repr=False, eq=False, kw_only=kw_only)(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field once, where the value is made."""
        if name in vars(self) or name not in self.__dataclass_fields__:
            raise FrozenInstanceError(f"cannot assign to field {name!r}: make another with dataclasses.replace")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Refuse."""
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        """Compare class and fields."""
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        """Equal specs have equal hashes."""
        return hash((type(self), *(getattr(self, name) for name in field_types(type(self)))))

    def __repr__(self) -> str:
        """Show the call that makes it: what has its default is left out."""
        cls = type(self)
        values = {name: getattr(self, name) for name in field_types(cls)}
        given = ", ".join(f"{name}={value!r}" for name, value in values.items() if value != default_of(cls, name))
        return f"{cls.__name__}({given})"

    def __post_init__(self) -> None:
        """Refuse values of other types than declared, and what `check` objects to.

        Raises:
            ExperimentError: names class, field and value.
        """
        for name, kind in field_types(type(self)).items():
            value = getattr(self, name)
            if not fits(value, kind):
                raise ExperimentError(f"{type(self).__name__}: {name}={quoted(value)} is not {described(kind)}")
        for objection in self.check():
            raise ExperimentError(f"{type(self).__name__}: {objection}")

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the values, naming the field."""
        yield from ()

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {name: _as_json(getattr(self, name), kind) for name, kind in field_types(type(self)).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], place: str = "") -> Self:
        """Build from what `as_json` returned; a field that is not named has its default.

        Raises:
            ExperimentError: an unknown or missing field or kind, a value of another type, or what a class refuses;
                begins with the path of the field, such as `optimizer.lr`, below `place`.
        """
        types = field_types(cls)
        if unknown := sorted(set(values) - set(types), key=str):
            names = ", ".join(one if str(one).isidentifier() else quoted(one) for one in unknown[:5])
            raise ExperimentError(f"{_label(place, cls)} has unknown fields {names}: misspelt, or of a newer kit")
        given = {name: _from_json(value, types[name], _below(place, name)) for name, value in values.items()}
        needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
        if lacking := [name for name in needed if name not in given]:
            raise ExperimentError(f"{_label(place, cls)} lacks {', '.join(lacking)}")
        try:
            return cls(**given)
        except ExperimentError as error:
            raise ExperimentError(f"{place}: {error}" if place else str(error)) from None


# %%
Alternative = TypeVar("Alternative", bound=Spec)


def field_types(cls: type[Spec]) -> dict[str, Any]:
    """Return the declared type of every field, in order."""
    return {one.name: one.type for one in fields(cls)}


def default_of(cls: type[Spec], name: str) -> Any:
    """Return the value that a field has unless one is given."""
    one = next(one for one in fields(cls) if one.name == name)
    return one.default_factory() if callable(one.default_factory) else one.default


def kinds_of(base: type[Alternative]) -> dict[str, type[Alternative]]:
    """Return the alternatives under a class by their names, itself among them unless it is abstract."""
    found = {} if base.abstract else {base.__name__: base}
    for cls in base.__subclasses__():
        found |= kinds_of(cls)
    return found


def spec_class(kind: Any) -> type[Spec] | None:
    """Return the class of specs that a field's type holds, one of them or none; otherwise None."""
    return next((one for one in _options(kind) if isinstance(one, type) and issubclass(one, Spec)), None)


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value has a declared type; whole numbers count as numbers, NaN and infinities do not."""
    if isinstance(kind, UnionType):
        return any(fits(value, option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if items[-1] is Ellipsis:
            return all(fits(one, items[0]) for one in value)
        return len(value) == len(items) and all(map(fits, value, items))
    if kind is str:
        return isinstance(value, str) and value.isprintable()
    if kind is int or kind is float:
        number = isinstance(value, int) or (kind is float and isinstance(value, float) and math.isfinite(value))
        return number and not isinstance(value, bool)
    return isinstance(value, kind)


def described(kind: Any) -> str:
    """Say in words what a field may hold."""
    if isinstance(kind, UnionType):
        return " or ".join(described(option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if items[-1] is Ellipsis:
            return f"a list, each of which is {described(items[0])}"
        return f"a list of {len(items)}: {', '.join(map(described, items))}"
    return TYPE_WORDS.get(kind) or f"one of {', '.join(kinds_of(kind))}"


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _label(place: str, cls: type[Spec]) -> str:
    return f"{place} ({cls.__name__})" if place else cls.__name__.lower()


# %%
def as_alternative(value: Spec) -> dict[str, Any]:
    """Return a spec as JSON, with its class."""
    return {KIND: type(value).__name__} | value.as_json()


def _as_json(value: Any, kind: Any) -> Any:
    if isinstance(value, tuple):
        item = next(option for option in _options(kind) if get_origin(option) is tuple)
        return [_as_json(one, get_args(item)[0]) for one in value]
    if not isinstance(value, Spec):
        return value
    return as_alternative(value) if (base := spec_class(kind)) and base.abstract else value.as_json()


def _from_json(value: Any, kind: Any, place: str) -> Any:
    """Read one field; a list becomes a tuple, an object the spec that its `kind` names."""
    if isinstance(value, list | tuple):
        item = next((option for option in _options(kind) if get_origin(option) is tuple), None)
        if item is not None:
            one = get_args(item)[0]
            read = tuple(_from_json(part, one, f"{place}[{number}]") for number, part in enumerate(value))
            if not fits(read, kind):
                raise ExperimentError(f"{place}={quoted(value)} is not {described(kind)}")
            return read
    base = spec_class(kind)
    if isinstance(value, Mapping) and base is not None:
        kinds, rest = kinds_of(base), dict(value)
        name = rest.pop(KIND, None) if base.abstract else base.__name__
        if not isinstance(name, str) or name not in kinds:
            raise ExperimentError(f"{place}: {quoted(name)} is not one of {', '.join(kinds)}")
        return kinds[name].from_json(rest, place)
    if not isinstance(value, Spec) and not fits(value, kind):
        raise ExperimentError(f"{place}={quoted(value)} is not {described(kind)}")
    return value


def by_path(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the fields of a spec's JSON by their paths, those of specs inside it too."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = _below(above, name)
        if isinstance(value, Mapping):
            found |= by_path(value, path)
        else:
            found[path] = value
    return found

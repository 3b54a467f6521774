"""## Specs

A recipe is a value made of small values: frozen dataclasses that check themselves. Where there is a choice, each
alternative is a class of its own under one base class, so that what means nothing cannot be written. As JSON an
alternative carries its class as `kind`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

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


@dataclass(frozen=True)
class Spec:
    """A part of a recipe. A class below adds fields, and `check` where their types do not say everything.

    One that is `abstract` is what its alternatives have in common.
    """

    abstract: ClassVar[bool] = True
    types: ClassVar[dict[str, Any]]  # what `field_types` found, so that it looks once

    def __init_subclass__(cls, abstract: bool = False) -> None:
        """Note whether the class is an alternative itself."""
        cls.abstract = abstract

    def __post_init__(self) -> None:
        """Refuse values of other types than declared, and what `check` objects to.

        Raises:
            ExperimentError: names class, field and value.
        """
        for field, kind in field_types(type(self)).items():
            value = getattr(self, field)
            if not fits(value, kind):
                raise ExperimentError(f"{type(self).__name__}: {field}={quoted(value)} is not {described(kind)}")
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


Alternative = TypeVar("Alternative", bound=Spec)


def field_types(cls: type[Spec]) -> dict[str, Any]:
    """Return the declared type of every field, in order."""
    if "types" not in vars(cls):
        hints = get_type_hints(cls)
        cls.types = {field.name: hints[field.name] for field in fields(cls)}
    return cls.types


def default_of(cls: type[Spec], name: str) -> Any:
    """Return the value that a field has unless one is given."""
    field = next(field for field in fields(cls) if field.name == name)
    return field.default_factory() if callable(field.default_factory) else field.default


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
            return tuple(_from_json(part, one, f"{place}[{number}]") for number, part in enumerate(value))
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

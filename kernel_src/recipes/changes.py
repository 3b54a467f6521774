"""## Changes to an experiment

A field is addressed by its path, such as `optimizer.lr` or `loss`: where people type it, in a search, and in the list
of what searches have found.
"""

from collections.abc import Mapping
from typing import Any

from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.spec import KIND, ExperimentError, Spec, as_alternative, field_types, kinds_of, spec_class


def changed(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """Return the experiment with the fields at some paths changed, to specs or to what JSON has for them.

    The bare name of an alternative (`{"loss": "SmoothL1"}`) keeps every field that the present one has too. A path
    below it may follow in the same changes: shorter paths are taken first.

    Raises:
        ExperimentError: a path does not exist, or a value is impossible.
    """
    values = experiment.as_json()
    for path in sorted(changes, key=lambda path: path.count(".")):
        _put(values, experiment, path, changes[path])
    return Experiment.from_json(values)


def _put(values: dict[str, Any], experiment: Experiment, path: str, value: Any) -> None:
    """Change the JSON of an experiment at one path."""
    cls: Any = Experiment
    *above, last = path.split(".")
    for depth, name in enumerate(above):
        kind = _field(cls, name, path)
        if not isinstance(values.get(name), dict):
            there = ".".join(above[: depth + 1])
            if spec_class(kind) is None:
                raise ExperimentError(f"{path}: {there} has no fields")
            raise ExperimentError(f"{path}: there is no {there}; give it first, e.g. {there}={_example(kind)}")
        values = values[name]
        cls = _class_of(values, kind)
    kind = _field(cls, last, path)
    base = spec_class(kind)
    if isinstance(value, Spec):
        value = as_alternative(value) if base is None or base.abstract else value.as_json()
    elif isinstance(value, tuple):
        value = [as_alternative(one) if isinstance(one, Spec) else one for one in value]
    elif isinstance(value, str) and base is not None:
        value = _other_kind(values.get(last), base, value, path)
    values[last] = value


def _class_of(values: Mapping[str, Any], kind: Any) -> Any:
    base = spec_class(kind)
    assert base is not None
    return kinds_of(base)[values.get(KIND, base.__name__)]


def _field(cls: Any, name: str, path: str) -> Any:
    """Return the declared type of a field.

    Raises:
        ExperimentError: there is none; names the alternatives that have it, or the fields that there are.
    """
    types = field_types(cls) if isinstance(cls, type) and issubclass(cls, Spec) else {}
    if name in types:
        return types[name]
    siblings = sorted(
        other.__name__
        for base in getattr(cls, "__mro__", ())[1:]
        if base is not Spec and isinstance(base, type) and issubclass(base, Spec)
        for other in kinds_of(base).values()
        if name in field_types(other)
    )
    hint = (
        f", which {' and '.join(dict.fromkeys(siblings))} can have" if siblings else f"; there are {', '.join(types)}"
    )
    raise ExperimentError(f"{path}: {cls.__name__} has no field {name!r}{hint}")


def _example(kind: Any) -> str:
    base = spec_class(kind)
    assert base is not None
    return f"{next(iter(kinds_of(base)))}(…)"


def _other_kind(present: Any, base: type[Spec], name: str, path: str) -> dict[str, Any] | None:
    """Return the JSON of the alternative of this name, with the fields that the present one has too; None for none."""
    if name in ("", "none", "None"):
        return None
    kinds = kinds_of(base)
    if name not in kinds:
        raise ExperimentError(f"{path}={name}: not one of {', '.join(kinds)}")
    kept = {key: value for key, value in (present or {}).items() if key in field_types(kinds[name])}
    return ({KIND: name} if base.abstract else {}) | kept


# %%
def known_paths(cls: type[Spec] = Experiment, above: tuple[type[Spec], ...] = ()) -> dict[str, Any]:
    """Return every path that some experiment has, with its declared type."""
    found: dict[str, Any] = {}
    for name, kind in field_types(cls).items():
        found.setdefault(name, kind)
        base = spec_class(kind)
        for alternative in kinds_of(base).values() if base is not None else ():
            if alternative not in (*above, cls):
                for path, declared in known_paths(alternative, (*above, cls)).items():
                    found.setdefault(f"{name}.{path}", declared)
    return found

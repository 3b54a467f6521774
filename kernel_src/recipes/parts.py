"""## Optional parts

What only some experiments use: depth, frozen features, external data, ... Nothing imports a name from such a module,
since the notebook may be without; it is asked for what it has by the part's name. The package holds all parts, a
notebook those that its experiment needs.
"""

from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any

from kernel_src.recipes.predictor import Predictor

HUB_NAMED = "dinov2"  # in the name of a backbone whose weights the hub also has under names of its own


class OptionalPart:
    """What one module adds to a part, as class attributes. To derive a class from this is all it takes to be found."""

    part = ""  # its name; several modules may make up one


class MissingPart(ValueError):
    """Something needs an optional part that this notebook was built without."""

    def __init__(self, name: str, held: Iterable[str]) -> None:
        """Say which part, and how to have it; `held` are those that there are."""
        super().__init__(
            f"this needs the part {name!r}, which this notebook was built without (it has "
            f"{', '.join(sorted(held)) or 'none'}): run the notebook that was built for it, or name the part in "
            "EXTRA_PARTS of kernel_src/recipes/kernel_cards.py and build again"
        )


def held_parts() -> set[str]:
    """Name the optional parts that this notebook holds."""
    return {found.part for found in OptionalPart.__subclasses__()}


def optional_part(name: str) -> Any:
    """Return what a part consists of, each under its own name.

    Raises:
        MissingPart: this notebook was built without it.
    """
    require_parts([name], held_parts())
    modules = [found for found in OptionalPart.__subclasses__() if found.part == name]
    return SimpleNamespace(**{key: getattr(found, key) for found in modules for key in vars(found) if key[0] != "_"})


def require_parts(names: Iterable[str], held: Collection[str]) -> None:
    """Make sure that parts are among those that this notebook holds.

    Raises:
        MissingPart: it was built without one.
    """
    for name in names:
        if name not in held:
            raise MissingPart(name, held)


def parts_to_predict(experiment: Predictor) -> tuple[str, ...]:
    """Name the parts that predicting with an experiment's bundle needs."""
    needed = {
        "depth": experiment.depth,
        "evidence": not (experiment.is_plain or experiment.is_frozen),
        "frozen": experiment.is_frozen,
        "hub_names": experiment.is_frozen and HUB_NAMED in experiment.encoder.timm,
    }
    return tuple(name for name, is_needed in needed.items() if is_needed)

"""## Optional parts

What only some experiments use: depth, frozen features, external data, ... Each such module enters here what it offers,
when it is imported. The package imports all of them; a notebook holds those that its experiment needs.
"""

from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any

from kernel_src.recipes.experiment import Experiment

HUB_NAMED = "dinov2"  # in the name of a backbone whose weights the hub also has under names of its own
OFFERED: dict[str, SimpleNamespace] = {}


class MissingPart(ValueError):
    """Something needs an optional part that this notebook was built without."""

    def __init__(self, name: str, held: Iterable[str]) -> None:
        """Say which part, and how to have it; `held` are those that there are."""
        super().__init__(
            f"this needs the part {name!r}, which this notebook was built without (it has "
            f"{', '.join(sorted(held)) or 'none'}): run the notebook that was built for it, or name the part in "
            "EXTRA_PARTS of kernel_src/recipes/kernel_cards.py and build again"
        )


def offer(name: str, **offered: Any) -> None:
    """Enter functions or classes of a part; several modules may make up one."""
    vars(OFFERED.setdefault(name, SimpleNamespace())).update(offered)


def optional_part(name: str) -> Any:
    """Return what a part offers, each under its own name.

    Raises:
        MissingPart: this notebook was built without it.
    """
    if name not in OFFERED:
        raise MissingPart(name, OFFERED)
    return OFFERED[name]


def require_parts(names: Iterable[str], held: Collection[str] = OFFERED) -> None:
    """Make sure that parts are among those that this notebook holds.

    Raises:
        MissingPart: it was built without one.
    """
    for name in names:
        if name not in held:
            raise MissingPart(name, held)


def parts_to_predict(experiment: Experiment) -> tuple[str, ...]:
    """Name the parts that predicting with an experiment's bundle needs."""
    needed = {
        "depth": experiment.depth,
        "frozen": experiment.is_frozen,
        "hub_names": experiment.is_frozen and HUB_NAMED in experiment.backbone,
    }
    return tuple(name for name, is_needed in needed.items() if is_needed)


def parts_to_train(experiment: Experiment) -> tuple[str, ...]:
    """Name the parts that training an experiment needs."""
    needed = {
        "depth": experiment.depth,
        "external": experiment.external_data,
        "hub_names": experiment.starting_weights and HUB_NAMED in experiment.backbone,
        "pseudo_labels": experiment.pseudo_weight,
    }
    return tuple(name for name, is_needed in needed.items() if is_needed)

"""## One competition at a time

A notebook holds one competition, a process on one's own machine works on one. Which one it is, is said once, where the
work begins: by the recipe, whose name belongs to one competition, or by COMPETITION=.
"""

from collections.abc import Iterable
from typing import TypeVar

# What is meant where nothing says otherwise; the packages below kernel_src/competitions/ have these names.
DEFAULT_COMPETITION = "biomass"
_chosen = [DEFAULT_COMPETITION]

Held = TypeVar("Held")


def choose_competition(name: str) -> None:
    """Work on this competition from now on."""
    _chosen[0] = name


def chosen_competition() -> str:
    """Return the name of the competition that this process works on."""
    return _chosen[0]


def own_or(usual: type[Held], name: str) -> type[Held]:
    """Return the class that a competition of this name derives from a usual one, or the usual one itself."""
    return next((one for one in usual.__subclasses__() if getattr(one, "competition") == name), usual)  # noqa: B009


def the_one(held: Iterable[type[Held]], name: str = "") -> Held:
    """Return what is held for a competition: the chosen one, unless another is named; or the only one there is.

    Each of `held` is a class with an attribute `competition`.

    Raises:
        ValueError: nothing is held for it; names those there are.
    """
    found = {str(getattr(one, "competition")): one for one in held}  # noqa: B009
    if len(found) == 1 and not name:
        return next(iter(found.values()))()
    wanted = name or chosen_competition()
    if wanted not in found:
        raise ValueError(f"there is no competition {wanted!r}; there are {', '.join(sorted(found)) or 'none'}")
    return found[wanted]()

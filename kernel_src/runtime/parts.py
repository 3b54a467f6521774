"""## Optional parts

What only some experiments use: depth, frozen features, external data, ... Nothing imports a name from such a module,
since the notebook may be without; whoever needs the part asks for it by its name. The package holds all parts, a
notebook those that its experiment needs.
"""

from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any


class OptionalPart:
    """What one module adds to a part, as class attributes. A class that derives from this is found."""

    part = ""  # its name; several modules may make up one


class MissingPart(ValueError):
    """Something needs an optional part that this notebook was built without."""

    def __init__(self, name: str, held: Iterable[str]) -> None:
        """Name the part, and how to get it; `held` are those that there are."""
        super().__init__(
            f"this needs the part {name!r}, which this notebook was built without (it has "
            f"{', '.join(sorted(held)) or 'none'}): run the notebook that was built for it, or name the part in "
            "EXTRA_PARTS of kernel_src/competitions/kernel_cards.py and build again"
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

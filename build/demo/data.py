"""The small competitions that the kit makes by itself, by the name of the competition whose layout they have."""

from collections.abc import Callable
from pathlib import Path

from build.core.errors import UsageError
from build.demo.competition import paint_competition
from build.demo.leaf import write_leaf
from build.demo.paws import write_paws
from kernel_src.competition.choice import chosen_competition

MAKERS: dict[str, Callable[[Path], None]] = {"biomass": paint_competition, "leaf": write_leaf, "paws": write_paws}


def make_demo_data(out: Path) -> None:
    """Make `competition/` and `hidden/` of the chosen competition under `out`, unless they are there.

    Raises:
        UsageError: the kit makes none in this layout, or `out` holds a folder that it did not make.
    """
    maker = MAKERS.get(chosen_competition())
    if maker is None:
        what = f"there is no demo of {chosen_competition()}; there is one of {', '.join(MAKERS)}"
        raise UsageError(f"{what}: give the folder of its own data")
    maker(out)

"""## The competition's facts

Of the competition that this notebook was built for; on one's own machine, of the one that was chosen.
"""

import kernel_src.competitions.biomass.facts  # noqa: F401  # part: biomass
import kernel_src.competitions.leaf.facts  # noqa: F401  # part: leaf
import kernel_src.competitions.paws.facts  # noqa: F401  # part: paws
from kernel_src.competition.choice import the_one
from kernel_src.competition.facts import Facts


def facts(competition: str = "") -> Facts:
    """Return the facts of the chosen competition, or of the one that is named.

    Raises:
        ValueError: there is no such competition.
    """
    return the_one(Facts.__subclasses__(), competition)


def competitions() -> tuple[str, ...]:
    """Return the names of all competitions that are held, in alphabetical order."""
    return tuple(sorted(held.competition for held in Facts.__subclasses__()))

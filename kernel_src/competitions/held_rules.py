"""## The competition's rules

Of the competition that this notebook was built for; on one's own machine, of the one that was chosen.
"""

import numpy as np

import kernel_src.competitions.biomass.rules  # noqa: F401  # part: biomass
import kernel_src.competitions.leaf.rules  # noqa: F401  # part: leaf
import kernel_src.competitions.paws.rules  # noqa: F401  # part: paws
from kernel_src.competition.choice import the_one
from kernel_src.competition.rules import Rules


def rules(competition: str = "") -> Rules:
    """Return the rules of the chosen competition, or of the one that is named.

    Raises:
        ValueError: there is no such competition.
    """
    return the_one(Rules.__subclasses__(), competition)


def weight_row() -> np.ndarray:
    """Return the weight of each target in the metric, (targets,)."""
    weight_of = rules().facts().weight_of
    return np.array([weight_of[target] for target in rules().facts.targets])

"""## How predictions are looked at, here

In the competition that was chosen, on one's own machine. No notebook needs this.
"""

import kernel_src.competitions.biomass.review  # noqa: F401  # part: biomass
from kernel_src.competition.choice import own_or
from kernel_src.competition.review import Review
from kernel_src.competitions.held_rules import rules


def review(competition: str = "") -> Review:
    """Return how predictions are looked at in the chosen competition, or in the one that is named.

    Raises:
        ValueError: there is no such competition.
    """
    chosen = rules(competition)
    return own_or(Review, chosen.competition)(chosen)

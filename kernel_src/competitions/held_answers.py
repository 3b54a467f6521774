"""## What becomes of a prediction, here

In the competition that this notebook was built for; on one's own machine, in the one that was chosen.
"""

import kernel_src.competitions.biomass.answers  # noqa: F401  # part: biomass
from kernel_src.competition.answers import Answers
from kernel_src.competition.choice import own_or
from kernel_src.competitions.held_facts import facts


def answers(competition: str = "") -> Answers:
    """Return what becomes of predictions in the chosen competition, or in the one that is named.

    Raises:
        ValueError: there is no such competition.
    """
    chosen = facts(competition)
    return own_or(Answers, chosen.competition)(chosen)

"""## What is needed on one's own machine, by competition

Of the one that was chosen; no notebook holds it.
"""

import kernel_src.competitions.biomass.workshop  # noqa: F401
from kernel_src.competition.choice import own_or
from kernel_src.competition.workshop import Workshop
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_rules import rules


def workshop(competition: str = "") -> Workshop:
    """Return the workshop of the chosen competition, or of the one that is named.

    Raises:
        ValueError: there is no such competition.
    """
    chosen = facts(competition)
    return own_or(Workshop, chosen.competition)(chosen, rules(chosen.competition))

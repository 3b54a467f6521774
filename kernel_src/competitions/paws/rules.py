"""## How Paws is judged

By the root of the mean squared error.
"""

from typing import ClassVar

from kernel_src.competition.facts import Facts
from kernel_src.competition.metrics import RootMeanSquaredError
from kernel_src.competition.rules import Metric, Rules
from kernel_src.competitions.paws.facts import PawsFacts


class PawsRules(Rules):
    """Each photograph stands for itself."""

    competition: ClassVar[str] = "paws"
    facts: ClassVar[type[Facts]] = PawsFacts
    metric: ClassVar[Metric] = RootMeanSquaredError()

"""## How Leaf is judged

By the share of photographs whose likeliest class is the true one.
"""

from typing import ClassVar

from kernel_src.competition.facts import Facts
from kernel_src.competition.metrics import Accuracy
from kernel_src.competition.rules import Metric, Rules
from kernel_src.competitions.leaf.facts import LeafFacts


class LeafRules(Rules):
    """Each photograph stands for itself."""

    competition: ClassVar[str] = "leaf"
    facts: ClassVar[type[Facts]] = LeafFacts
    metric: ClassVar[Metric] = Accuracy()
    label_column: ClassVar[str] = "label"

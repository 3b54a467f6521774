"""Whether a training table is the competition's own, told by the means of its targets."""

from collections.abc import Mapping

from kernel_src.competition.constants import TARGETS, TRAINING_MEANS_G

MEANS_TOLERANCE_G = 0.02  # of the training means: constants with two decimals, projected


def is_competitions_own(means_g: Mapping[str, float]) -> bool:
    """Tell whether the means are those of the real train.csv; a part of it, or a painted table, has others."""
    return all(abs(means_g.get(target, -1.0) - TRAINING_MEANS_G[target]) < MEANS_TOLERANCE_G for target in TARGETS)

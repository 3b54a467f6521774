"""What a score is held against: the floors of the library, and the ceiling of place and date alone."""

import numpy as np

from kernel_src.competitions.biomass.floors import group_out_floor, mean_floor
from kernel_src.competitions.biomass.metric import weighted_r2

# The same three on the 357 real training images, where no table is at hand to compute them.
REFERENCE_POINTS = {"each target's mean": 0.240, "mean of the other groups": 0.213, "true mean of each group": 0.611}


def group_mean_ceiling(grams: np.ndarray, groups: np.ndarray) -> float:
    """Score knowing each group's true mean: how far place and date alone would lead; 0.611 on the real images."""
    predicted = np.stack([grams[groups == group].mean(0) for group in groups])
    return weighted_r2(grams, predicted)


def reference_points(grams: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Return what a score is held against, named as in `REFERENCE_POINTS`: the two floors and the ceiling."""
    values = (mean_floor(grams), group_out_floor(grams, groups), group_mean_ceiling(grams, groups))
    return dict(zip(REFERENCE_POINTS, values, strict=True))

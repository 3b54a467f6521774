"""## Floors

What no photograph is needed for. A model below these has learnt nothing, however good its score looks.
"""

import numpy as np
import pandas as pd

from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.biomass.tables import group_labels, target_array


def mean_floor(grams: np.ndarray) -> float:
    """Score predicting each target's own mean, grams (images, 5); 0.240 on the real training images."""
    return weighted_r2(grams, np.broadcast_to(grams.mean(0), grams.shape))


def group_out_floor(grams: np.ndarray, groups: np.ndarray) -> float:
    """Score predicting the mean of all *other* groups, the honest twin of `mean_floor`; 0.213 on the real images."""
    predicted = np.stack([grams[groups != group].mean(0) for group in groups])
    return weighted_r2(grams, predicted)


def floor_scores(train: pd.DataFrame) -> dict[str, float]:
    """Return both floors of a wide training table."""
    grams, groups = target_array(train), group_labels(train)
    return {
        "each target's mean": mean_floor(grams),
        "mean of the other groups": group_out_floor(grams, groups),
    }

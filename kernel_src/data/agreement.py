"""## Where the folds agree

Where the folds predict alike for a photograph, they are more often right.
"""

import numpy as np

from kernel_src.competitions.held_rules import weight_row

CONFIDENT_SHARE = 0.5  # of the photographs, those that the folds agree on best


def fold_spread(fold_grams: np.ndarray) -> np.ndarray:
    """Return how far the folds disagree on each image, (folds, images, 5) to (images,) in grams.

    The standard deviation over the folds, averaged over the targets with the metric's weights.
    """
    return fold_grams.std(0) @ weight_row()

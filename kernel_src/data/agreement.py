"""## Where the folds agree

Where the folds predict alike for a photograph, they are more often right.
"""

import numpy as np

from kernel_src.competitions.held_rules import weight_row

CONFIDENT_SHARE = 0.5  # of the photographs, those that the folds agree on best


def fold_spread(fold_values: np.ndarray) -> np.ndarray:
    """Return how far the folds disagree on each image, (folds, images, targets) to (images,).

    The standard deviation over the folds, averaged over the targets with the metric's weights.
    """
    return fold_values.std(0) @ weight_row()

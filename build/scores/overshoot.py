"""The seed's own leak: outputs scaled by the training rows, given back the validation fold's mean and deviation.

A model that has not seen a fold is drawn towards what it was trained on: a fold heavier than the rest is predicted too
light. With the leak the scale already moves the fold by all of its distance from the rest, and the model moves it once
more: the heavier the fold, the more it is predicted *too heavy*.

1. Of each fold: the distance of its mean truth from that of the others, and its mean error (prediction minus truth).
2. The slope of error on distance over all folds and targets, by metric weight and images: below 0 for an honest model,
   0 for a perfect one.
3. The same for the same errors and visits under random cuts into folds of as many visits: an honest model's errors do
   not know the cut. The leak is named where the slope is above 0 and hardly any random cut reaches it.

Folds of a single visit cannot be dealt otherwise: there the leak is not seen.
"""

import numpy as np

from kernel_src.competition.metric import weight_row

CUTS = 1000


def overshoot(
    truth: np.ndarray, predicted: np.ndarray, folds: np.ndarray, groups: np.ndarray, cuts: int = CUTS
) -> tuple[float, float]:
    """Return the slope of rule 2 and the share of random cuts whose slope is at least as large.

    `truth` and `predicted` are grams (images, 5); `folds` and `groups` (images,). Where folds split groups, images are
    dealt instead of groups.
    """
    numbers = np.unique(folds, return_inverse=True)[1]
    units = np.unique(groups, return_inverse=True)[1]
    first = np.zeros(int(units.max()) + 1, int)
    first[units] = numbers
    if (first[units] != numbers).any():  # a group lies in several folds
        units, first = np.arange(len(numbers)), numbers
    sizes = np.bincount(units).astype(float)
    sums = np.stack([np.bincount(units, column) for column in np.hstack([truth, predicted - truth]).T], 1)
    own = _slope(first, sizes, sums)
    random = np.random.default_rng(0)
    reached = sum(_slope(random.permutation(first), sizes, sums) >= own - 1e-12 for _ in range(cuts))
    return own, (reached + 1) / (cuts + 1)


def _slope(fold_of: np.ndarray, sizes: np.ndarray, sums: np.ndarray) -> float:
    """Return the slope for units (units,) of these sizes with sums (units, 10) of truth and error."""
    folds = int(fold_of.max()) + 1
    images = np.bincount(fold_of, sizes, minlength=folds)[:, None]
    inside = np.stack([np.bincount(fold_of, column, minlength=folds) for column in sums.T], 1)
    half = sums.shape[1] // 2
    distance = inside[:, :half] / images - (sums[:, :half].sum(0) - inside[:, :half]) / (images.sum() - images)
    weights = images * weight_row()
    spread = float((weights * distance**2).sum())
    return float((weights * distance * inside[:, half:] / images).sum()) / spread if spread > 0 else 0.0

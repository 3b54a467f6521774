"""## Predictions as they come in

Every fold's and view's predictions are added up as they arrive. At any moment they give one prediction per photograph:
the mean of what is there, and the training mean where nothing is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernel_src.competitions.held_facts import facts
from kernel_src.inference.steps import Step


class PredictionStore:
    """What has been predicted so far."""

    def __init__(self, images: int, folds: Sequence[int]) -> None:
        """Begin without any prediction; `folds` counts those of each bundle."""
        self.images = images
        self._sums = [np.zeros((count, images, len(facts().targets))) for count in folds]
        self._counts = [np.zeros((count, images), int) for count in folds]
        self._after: dict[int, tuple[np.ndarray, float]] = {}  # by bundle: values (images, targets), and their share

    def record(self, step: Step, rows: Sequence[int], values: np.ndarray) -> list[int]:
        """Add values (rows, targets) of one step; rows that are not finite are left out and returned."""
        there = np.isfinite(values).all(1)
        taken = np.asarray(rows, int)[there]
        self._sums[step.bundle][step.fold, taken] += values[there]
        self._counts[step.bundle][step.fold, taken] += 1
        return [row for row, good in zip(rows, there, strict=True) if not good]

    def fold_values(self, bundle: int) -> np.ndarray:
        """Return the mean over the views of each fold, (folds, images, targets); NaN where there is none."""
        counts = self._counts[bundle][..., None]
        return np.where(counts > 0, self._sums[bundle] / np.maximum(counts, 1), np.nan)

    def bundle_values(self, bundle: int) -> np.ndarray:
        """Return what a bundle predicts, (images, targets): the mean of its folds; NaN where there is none."""
        before = _mean_of_folds(self.fold_values(bundle))
        if bundle not in self._after:
            return before
        after, share = self._after[bundle]
        both = (1 - share) * before + share * after
        return np.where(np.isfinite(both).all(1)[:, None], both, before)

    def blend_in(self, bundle: int, values: np.ndarray, share: float) -> None:
        """Give `share` of a bundle's prediction to (images, targets) that were computed later; NaN where there is none.

        The folds keep the rest, and all of it where there is no later one.
        """
        self._after[bundle] = (values.copy(), share)

    @property
    def passes(self) -> np.ndarray:
        """How many folds and views have predicted each photograph, (images,)."""
        return sum((counts.sum(0) for counts in self._counts), np.zeros(self.images, int))

    def blended(self, shares: Sequence[float], stack: Any | None) -> np.ndarray:
        """Blend what is there to (images, targets), unconstrained; NaN for photographs without any prediction.

        A bundle that has not predicted a photograph is replaced by the others: by their shares in a mean, in a stack
        by the mean of the others' predictions.
        """
        by_bundle = np.stack([self.bundle_values(bundle) for bundle in range(len(self._sums))])
        there = np.isfinite(by_bundle).all(2)  # (bundles, images)
        weights = np.asarray(shares, float)[:, None] * there
        # A bundle of share 0 is still better than the training mean.
        weights = np.where(weights.sum(0) > 0, weights, there)
        total = weights.sum(0)
        mean = np.einsum("bn,bnt->nt", weights, np.where(there[..., None], by_bundle, 0.0))
        mean = np.where(total[:, None] > 0, mean / np.maximum(total, 1e-12)[:, None], np.nan)
        if stack is None:
            return mean
        stacked: np.ndarray = stack.blended(np.where(there[..., None], by_bundle, mean))
        return stacked


def _mean_of_folds(values: np.ndarray) -> np.ndarray:
    """Average (folds, images, targets) over the folds that are there, (images, targets)."""
    there = np.isfinite(values).all(2)[..., None]
    count = there.sum(0)
    return np.where(count > 0, np.where(there, values, 0.0).sum(0) / np.maximum(count, 1), np.nan)

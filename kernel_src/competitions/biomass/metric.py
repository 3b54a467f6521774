"""## The metric

One weighted R² over all rows, in grams. Note the mean it compares with: the *weighted mean over all targets together*,
so that predicting each target's own mean already scores 0.24 on the training images.
"""

import numpy as np

from kernel_src.competitions.biomass.constants import TARGET_WEIGHTS, TARGETS


def weight_array() -> np.ndarray:
    """Return the weight of each target, (5,), in the order of `TARGETS`."""
    return np.array([TARGET_WEIGHTS[target] for target in TARGETS])


def weighted_r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the official score: `1 − Σ w (y − ŷ)² / Σ w (y − ȳ)²` with `ȳ = Σ w y / Σ w` over all rows.

    Both arrays are (images, 5) in grams. Source: the competition's Evaluation page.

    Raises:
        ValueError: the shapes differ, a value is not finite, or the truth is constant.
    """
    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    if truth.shape != predicted.shape or truth.ndim != 2 or truth.shape[1] != len(TARGETS):
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} must both be (images, {len(TARGETS)})")
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise ValueError("truth and prediction must be finite: a NaN would make every score NaN")
    weights = np.broadcast_to(weight_array(), truth.shape)
    mean = np.average(truth, weights=weights)
    spread = float((weights * (truth - mean) ** 2).sum())
    if spread == 0:
        raise ValueError("the truth is constant: R² is not defined")
    return 1.0 - float((weights * (truth - predicted) ** 2).sum()) / spread


# %%
def r2_per_target(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return the ordinary R² of each target, for diagnosis only: their mean is not the score.

    A target without spread has no R² and gets NaN.
    """
    squares = ((truth - truth.mean(0)) ** 2).sum(0)
    errors = ((truth - predicted) ** 2).sum(0)
    return {t: float(1 - e / s) if s > 0 else float("nan") for t, e, s in zip(TARGETS, errors, squares, strict=True)}

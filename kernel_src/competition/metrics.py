"""## Metrics

What competitions are often scored by. Truth and prediction are (images, targets); of classes the truth is 1 for the
row's own and 0 for the others, and the prediction a probability.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kernel_src.competition.rules import Metric, checked_pair

LEAST_PROBABILITY = 1e-15  # of a class, in the logarithm


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of photographs whose likeliest class is the true one."""

    name: ClassVar[str] = "accuracy"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … 1."""
        truth, predicted = checked_pair(truth, predicted)
        return float((truth.argmax(1) == predicted.argmax(1)).mean())


@dataclass(frozen=True)
class LogLoss(Metric):
    """The mean negative logarithm of the true class's probability."""

    name: ClassVar[str] = "log loss"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … ; the probabilities of a row are scaled to add up to 1."""
        truth, predicted = checked_pair(truth, predicted)
        clipped = np.clip(predicted, LEAST_PROBABILITY, None)
        return float(-(truth * np.log(clipped / clipped.sum(1, keepdims=True))).sum(1).mean())


@dataclass(frozen=True)
class RootMeanSquaredError(Metric):
    """The root of the mean squared error, over all targets together."""

    name: ClassVar[str] = "RMSE"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … , in the targets' unit."""
        truth, predicted = checked_pair(truth, predicted)
        return float(np.sqrt(((truth - predicted) ** 2).mean()))


# %%
@dataclass(frozen=True)
class MeanAbsoluteError(Metric):
    """The mean absolute error, over all targets together."""

    name: ClassVar[str] = "MAE"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … , in the targets' unit."""
        truth, predicted = checked_pair(truth, predicted)
        return float(np.abs(truth - predicted).mean())


@dataclass(frozen=True)
class R2(Metric):
    """One minus the squared error over the squared distance from each target's mean, averaged over the targets."""

    name: ClassVar[str] = "R²"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return … 1.

        Raises:
            ValueError: see `Metric.score`; a target is constant.
        """
        truth, predicted = checked_pair(truth, predicted)
        spread = ((truth - truth.mean(0)) ** 2).sum(0)
        if (spread == 0).any():
            raise ValueError("the truth is constant: R² is not defined")
        return float((1 - ((truth - predicted) ** 2).sum(0) / spread).mean())


@dataclass(frozen=True)
class QuadraticKappa(Metric):
    """Cohen's kappa of whole numbers with quadratic weights (Cohen 1968); predictions are rounded to the nearest.

    κ = 1 − Σ (y − ŷ)² / Σ over all pairs (y_i − ŷ_j)² / n: 1 minus the squared error over what chance would have.
    """

    name: ClassVar[str] = "quadratic kappa"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return −1 … 1.

        Raises:
            ValueError: see `Metric.score`; truth and prediction are one and the same number throughout.
        """
        truth, predicted = checked_pair(truth, predicted)
        low, high = truth.min(), truth.max()
        y, rounded = truth[:, 0], np.clip(np.floor(predicted[:, 0] + 0.5), low, high)
        chance = y.var() + rounded.var() + (y.mean() - rounded.mean()) ** 2
        if chance == 0:
            raise ValueError("truth and prediction are one number throughout: kappa is not defined")
        return float(1 - ((y - rounded) ** 2).mean() / chance)


METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "log_loss": LogLoss,
    "rmse": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "r2": R2,
    "quadratic_kappa": QuadraticKappa,
}

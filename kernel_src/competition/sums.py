"""## Sums that a metric needs

Many metrics follow from a few sums over rows. Where a metric brings them, its value without some rows costs one
subtraction: that is how intervals are found on one's own machine. No notebook needs this.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from kernel_src.competition.metrics import (
    LEAST_PROBABILITY,
    R2,
    Accuracy,
    LogLoss,
    MeanAbsoluteError,
    QuadraticKappa,
    RootMeanSquaredError,
)
from kernel_src.competition.rules import Metric


class Sums(ABC):
    """The sums of one metric; a class that derives from this is found by the metric that it names."""

    metric: ClassVar[type[Metric] | None] = None  # None: of no metric alone

    @abstractmethod
    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what is added up over rows, (images,) each, of truth and prediction (images, targets)."""

    @abstractmethod
    def score(self, *totals: np.ndarray) -> np.ndarray:
        """Return the score of the columns' sums, of any shape; not finite where it is not defined."""


class MeanSums(Sums):
    """Of a metric that is the mean of something over rows."""

    def score(self, *totals: np.ndarray) -> np.ndarray:
        """Return the mean."""
        rows, values = totals
        return values / rows


class AccuracySums(MeanSums):
    """How many photographs there are, and how many are judged right."""

    metric: ClassVar[type[Metric] | None] = Accuracy

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return 1, and 1 where the likeliest class is the true one."""
        return np.ones(len(truth)), (truth.argmax(1) == predicted.argmax(1)).astype(float)


class LogLossSums(MeanSums):
    """How many photographs there are, and their losses."""

    metric: ClassVar[type[Metric] | None] = LogLoss

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return 1, and the negative logarithm of the true class's probability."""
        clipped = np.clip(predicted, LEAST_PROBABILITY, None)
        return np.ones(len(truth)), -(truth * np.log(clipped / clipped.sum(1, keepdims=True))).sum(1)


class AbsoluteSums(MeanSums):
    """How many photographs there are, and the mean absolute error of each."""

    metric: ClassVar[type[Metric] | None] = MeanAbsoluteError

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return 1, and the error."""
        return np.ones(len(truth)), np.abs(truth - predicted).mean(1)


class SquareSums(MeanSums):
    """How many photographs there are, and the mean squared error of each."""

    metric: ClassVar[type[Metric] | None] = RootMeanSquaredError

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return 1, and the squared error."""
        return np.ones(len(truth)), ((truth - predicted) ** 2).mean(1)

    def score(self, *totals: np.ndarray) -> np.ndarray:
        """Return the root of the mean."""
        return np.sqrt(super().score(*totals))


# %%
class R2Sums(Sums):
    """Of each target: squared error, truth, squared truth."""

    metric: ClassVar[type[Metric] | None] = R2

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return 1, and the three of each target."""
        return np.ones(len(truth)), *((truth - predicted) ** 2).T, *truth.T, *(truth**2).T

    def score(self, *totals: np.ndarray) -> np.ndarray:
        """Return the mean over the targets."""
        rows, *others = totals
        errors, firsts, seconds = np.array_split(np.stack(others), 3)
        return (1 - errors / (seconds - firsts**2 / rows)).mean(0)


class KappaSums(Sums):
    """Of whole numbers: squared error, truth, prediction and their squares.

    Predictions are cut off at the least and the greatest truth of all rows, also where the row with it is left out.
    """

    metric: ClassVar[type[Metric] | None] = QuadraticKappa

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return 1, and the five of them."""
        y = truth[:, 0]
        rounded = np.clip(np.floor(predicted[:, 0] + 0.5), y.min(), y.max())
        return np.ones(len(y)), (y - rounded) ** 2, y, y**2, rounded, rounded**2

    def score(self, *totals: np.ndarray) -> np.ndarray:
        """Return −1 … 1."""
        rows, squares, first, second, own_first, own_second = totals
        mean, own_mean = first / rows, own_first / rows
        chance = second / rows - mean**2 + own_second / rows - own_mean**2 + (mean - own_mean) ** 2
        return 1 - squares / rows / chance


class WeightedR2Sums(Sums):
    """Of `1 − Σ w (y − ŷ)² / Σ w (y − ȳ)²` with one mean `ȳ = Σ w y / Σ w` over all targets: four sums."""

    def __init__(self, weights: np.ndarray) -> None:
        """Take the weight of each target, (targets,)."""
        self.weights = weights

    def columns(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return Σ w (y − ŷ)², Σ w, Σ w y and Σ w y² of each row."""
        errors = ((truth - predicted) ** 2) @ self.weights
        return errors, np.full(len(truth), self.weights.sum()), truth @ self.weights, truth**2 @ self.weights

    def score(self, *totals: np.ndarray) -> np.ndarray:
        """Return … 1."""
        errors, weight, first, second = totals
        return 1 - errors / (second - first**2 / weight)


def sums_of_metric(metric: Metric) -> Sums | None:
    """Return the sums of one of the usual metrics; None for another, which can only be computed again."""

    def derived(base: Any) -> list[Any]:
        return [one for own in base.__subclasses__() for one in (own, *derived(own))]

    return next((one() for one in derived(Sums) if one.metric is type(metric)), None)

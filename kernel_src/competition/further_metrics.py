"""## Further metrics

Of classes where rare ones count as much as common ones, and of columns that are judged one by one.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kernel_src.competition.metrics import LEAST_PROBABILITY, METRICS
from kernel_src.competition.rules import Metric, checked_pair


@dataclass(frozen=True)
class BalancedAccuracy(Metric):
    """The share of right answers among each class's photographs, averaged over the classes that there are."""

    name: ClassVar[str] = "balanced accuracy"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … 1."""
        truth, predicted = checked_pair(truth, predicted)
        right = truth.argmax(1) == predicted.argmax(1)
        return float(np.mean([right[truth.argmax(1) == one].mean() for one in np.unique(truth.argmax(1))]))


@dataclass(frozen=True)
class MacroF1(Metric):
    """F1 of each class, averaged over the classes that are true or predicted somewhere.

    F1 = 2 tp / (2 tp + fp + fn), of the likeliest class.
    """

    name: ClassVar[str] = "macro F1"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … 1."""
        truth, predicted = checked_pair(truth, predicted)
        true, likeliest = truth.argmax(1), predicted.argmax(1)
        of_class = []
        for one in np.union1d(true, likeliest):
            both = ((true == one) & (likeliest == one)).sum()
            of_class.append(2 * both / ((true == one).sum() + (likeliest == one).sum()))
        return float(np.mean(of_class))


@dataclass(frozen=True)
class AreaUnderCurve(Metric):
    """The area under the ROC curve of each column, averaged (Hanley & McNeil 1982).

    It is the share of pairs, one true and one not, of which the true one is predicted higher; ties count half. A
    column that has only one answer in these rows has none, and is left out.
    """

    name: ClassVar[str] = "AUC"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … 1.

        Raises:
            ValueError: see `Metric.score`; each column has one answer throughout.
        """
        truth, predicted = checked_pair(truth, predicted)
        areas = []
        for true, score in zip((truth > 0.5).T, predicted.T, strict=True):
            positives, negatives = true.sum(), (~true).sum()
            if positives and negatives:
                _, place, count = np.unique(score, return_inverse=True, return_counts=True)
                ranks = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1, ties share the middle one
                areas.append((ranks[true].sum() - positives * (positives + 1) / 2) / (positives * negatives))
        if not areas:
            raise ValueError("the truth is one answer throughout: the area under the curve is not defined")
        return float(np.mean(areas))


@dataclass(frozen=True)
class ColumnLogLoss(Metric):
    """The mean negative logarithm of the right answer's probability, yes or no in each column by itself."""

    name: ClassVar[str] = "log loss"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … , averaged over rows and columns."""
        truth, predicted = checked_pair(truth, predicted)
        kept = np.clip(predicted, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return float(-(truth * np.log(kept) + (1 - truth) * np.log1p(-kept)).mean())


@dataclass(frozen=True)
class MeanColumnRMSE(Metric):
    """The root of the mean squared error of each target, averaged over the targets."""

    name: ClassVar[str] = "mean column-wise RMSE"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … , in the targets' unit."""
        truth, predicted = checked_pair(truth, predicted)
        return float(np.sqrt(((truth - predicted) ** 2).mean(0)).mean())


@dataclass(frozen=True)
class RootMeanSquaredLogError(Metric):
    """The root of the mean squared error of log(1 + value), over all targets together; values are not negative."""

    name: ClassVar[str] = "RMSLE"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return 0 … ; a negative prediction counts as 0.

        Raises:
            ValueError: see `Metric.score`; a true value is negative.
        """
        truth, predicted = checked_pair(truth, predicted)
        if truth.min() < 0:
            raise ValueError("a true value is negative: its logarithm is not defined here")
        return float(np.sqrt(((np.log1p(truth) - np.log1p(np.clip(predicted, 0, None))) ** 2).mean()))


ALL_METRICS: dict[str, type[Metric]] = METRICS | {
    "balanced_accuracy": BalancedAccuracy,
    "macro_f1": MacroF1,
    "auc": AreaUnderCurve,
    "column_log_loss": ColumnLogLoss,
    "mean_column_rmse": MeanColumnRMSE,
    "rmsle": RootMeanSquaredLogError,
}

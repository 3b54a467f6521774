"""Calibration by quantile: where the model says 40 g, are there 40 g on average?

The slope is that of the truth on the prediction. 1 is calibrated; below 1 the predictions are spread too wide, above 1
they are drawn too much to the middle. It may be read, but not multiplied with: a factor fitted here and scored here
would be optimistic.
"""

from dataclasses import dataclass

import numpy as np

from build.report.diagnostics.subject import Subject
from build.scores.intervals import Interval, jackknife
from kernel_src.competitions.biomass.constants import TARGETS

BINS = 10


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The images of one tenth of the predictions."""

    images: int
    predicted_g: float
    truth_g: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One target."""

    target: str
    bins: tuple[Bin, ...]  # by rising prediction
    slope: Interval | None  # None where all predictions are the same; jackknifed over groups


def calibrations(subject: Subject, bins: int = BINS) -> tuple[Calibration, ...]:
    """Cut the predictions of each target into tenths and compare the means."""
    truth, predicted, groups = subject.validation.truth, subject.predicted, subject.validation.groups
    found = []
    for i, target in enumerate(TARGETS):
        order = np.argsort(predicted[:, i], kind="stable")
        cut = np.array_split(order, min(bins, len(order)))
        found.append(
            Calibration(
                target=target,
                bins=tuple(
                    Bin(
                        images=len(own),
                        predicted_g=float(predicted[own, i].mean()),
                        truth_g=float(truth[own, i].mean()),
                    )
                    for own in cut
                ),
                slope=slope_interval(predicted[:, i], truth[:, i], groups),
            )
        )
    return tuple(found)


def slope_interval(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Interval | None:
    """Return the slope of y on x with its jackknife interval over groups; None where x does not vary."""
    numbers = np.unique(groups, return_inverse=True)[1]
    ones = np.ones(len(x))
    sums = np.stack([np.bincount(numbers, column) for column in (ones, x, y, x * x, x * y)])  # (5, groups)

    def slope(n: np.ndarray, sx: np.ndarray, sy: np.ndarray, sxx: np.ndarray, sxy: np.ndarray) -> np.ndarray:
        return (sxy - sx * sy / n) / (sxx - sx * sx / n)

    whole, left = sums.sum(1), sums.sum(1, keepdims=True) - sums
    if (np.append(left[3] - left[1] ** 2 / left[0], whole[3] - whole[1] ** 2 / whole[0]) < 1e-9).any():
        return None
    return jackknife(float(slope(*whole)), slope(*left))

"""Zero-inflation: what is predicted where there is nothing, and what that costs.

A smooth regression never says 0. Whether cutting small predictions to 0 would help is answered by thresholds that are
chosen on the other groups: nothing is tuned on what it is scored on.
"""

from dataclasses import dataclass

import numpy as np

from build.report.diagnostics.adversarial import area_under_curve
from build.report.diagnostics.subject import Subject
from build.scores.intervals import Interval, difference_interval, group_sums
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.held_rules import weight_row

NOTICED_G = 1.0  # a prediction of less counts as nothing
THRESHOLDS_G = np.arange(0, 10.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Zeros:
    """One target that is sometimes absent."""

    target: str
    images: int  # whose truth is 0
    predicted_g: float  # mean there
    noticed: int  # of them, with a prediction of at least NOTICED_G
    cost_r2: float  # what the score would gain if exactly 0 were predicted there, in the rows of this target
    missed: int  # images that have some, with a prediction below NOTICED_G
    told_apart: float | None  # area under the curve: does the prediction rank what has some above what has none?
    cutting: Interval  # gain in R² by predicting 0 below a threshold chosen on the other groups


def zeros(subject: Subject) -> tuple[Zeros, ...]:
    """Describe every target that is 0 on some image."""
    truth = subject.validation.truth
    predicted = np.clip(subject.predicted, 0, None)
    weights = weight_row()
    mean = np.average(truth.mean(0), weights=weights)
    spread = float((weights * (truth - mean) ** 2).sum())
    found = []
    for i, target in enumerate(TARGETS):
        nothing, own = truth[:, i] == 0, predicted[:, i]
        if not nothing.any():
            continue
        found.append(
            Zeros(
                target=target,
                images=int(nothing.sum()),
                predicted_g=float(own[nothing].mean()),
                noticed=int((own[nothing] >= NOTICED_G).sum()),
                cost_r2=float(weights[i] * (own[nothing] ** 2).sum() / spread),
                missed=int((own[~nothing] < NOTICED_G).sum()),
                told_apart=area_under_curve(own, ~nothing),
                cutting=cutting_gain(subject, predicted, i),
            )
        )
    return tuple(found)


def cutting_gain(subject: Subject, predicted: np.ndarray, target: int) -> Interval:
    """Return what predicting 0 below a threshold gains over predictions clipped at 0, (images, 5).

    The threshold of each group is the one that would have been best on all the others.
    """
    truth, groups = subject.validation.truth, subject.validation.groups
    numbers = np.unique(groups, return_inverse=True)[1]
    own = predicted[:, target]
    cut = np.where(own < THRESHOLDS_G[:, None], 0, own)  # (thresholds, images)
    squares = np.stack([np.bincount(numbers, row) for row in (cut - truth[:, target]) ** 2])  # (thresholds, groups)
    best = np.argmin(squares.sum(1, keepdims=True) - squares, axis=0)  # per group, without it; of equals the lowest
    nested = predicted.copy()
    nested[:, target] = cut[best[numbers], np.arange(len(own))]
    return difference_interval(group_sums(truth, np.stack([predicted, nested]), groups, weight_row()), 0, 1)

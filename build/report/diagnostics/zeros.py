"""Zero-inflation: what is predicted where there is nothing, and what that costs.

A smooth regression never says 0. Whether cutting small predictions to 0 would help is answered by thresholds that are
chosen on the other groups: nothing is tuned on what it is scored on.
"""

from dataclasses import dataclass

import numpy as np

from build.report.diagnostics.adversarial import area_under_curve
from build.report.diagnostics.subject import Subject
from build.scores.blends import gain_of
from build.scores.intervals import Interval, difference_interval, group_scores
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review


@dataclass(frozen=True, kw_only=True)
class Zeros:
    """One target that is sometimes absent."""

    target: str
    images: int  # whose truth is 0
    predicted: float  # mean there
    noticed: int  # of them, with a prediction of at least `Review.noticed`
    cost: float  # what the score would gain if exactly 0 were predicted there, in the rows of this target
    missed: int  # images that have some, with a prediction below `Review.noticed`
    told_apart: float | None  # area under the curve: does the prediction rank what has some above what has none?
    cutting: Interval  # gain in the score by predicting 0 below a threshold chosen on the other groups


def zeros(subject: Subject) -> tuple[Zeros, ...]:
    """Describe every target that is 0 on some image, where the competition asks for it."""
    noticed = review().noticed
    if not noticed:
        return ()
    truth = subject.validation.truth
    predicted = np.clip(subject.predicted, 0, None)
    found = []
    for i, target in enumerate(facts().targets):
        nothing, own = truth[:, i] == 0, predicted[:, i]
        if not nothing.any():
            continue
        exact = predicted.copy()
        exact[nothing, i] = 0
        found.append(
            Zeros(
                target=target,
                images=int(nothing.sum()),
                predicted=float(own[nothing].mean()),
                noticed=int((own[nothing] >= noticed).sum()),
                cost=gain_of(truth, exact) - gain_of(truth, predicted),
                missed=int((own[~nothing] < noticed).sum()),
                told_apart=area_under_curve(own, ~nothing),
                cutting=cutting_gain(subject, predicted, i),
            )
        )
    return tuple(found)


def cutting_gain(subject: Subject, predicted: np.ndarray, target: int) -> Interval:
    """Return what predicting 0 below a threshold gains over predictions clipped at 0, (images, targets).

    The threshold of each group is the one that would have been best on all the others.
    """
    truth, groups = subject.validation.truth, subject.validation.groups
    numbers = np.unique(groups, return_inverse=True)[1]
    own = predicted[:, target]
    cut = np.where(own < np.array(review().thresholds)[:, None], 0, own)  # (thresholds, images)
    squares = np.stack([np.bincount(numbers, row) for row in (cut - truth[:, target]) ** 2])  # (thresholds, groups)
    best = np.argmin(squares.sum(1, keepdims=True) - squares, axis=0)  # per group, without it; of equals the lowest
    nested = predicted.copy()
    nested[:, target] = cut[best[numbers], np.arange(len(own))]
    return difference_interval(group_scores(truth, np.stack([predicted, nested]), groups), 0, 1)

"""Whether the test set looks like the training images to the model: the distributions of its predictions compared.

The distance is Kolmogorov and Smirnov's: the largest gap between two cumulative distributions, 0 to 1. Photographs of
one visit are alike, so textbook p-values would call every test set shifted. What is usual is taken from the visits at
hand: half of them against the other half, many times.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from build.core.errors import UsageError
from build.report.diagnostics.subject import Subject
from build.scores.oof_files import read_oof
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.tables import target_array

HALVES, USUAL = 500, 0.95
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ENOUGH_IMAGES = 20  # the public test set has one image


@dataclass(frozen=True, kw_only=True)
class TargetShift:
    """One target."""

    target: str
    distance: float  # of the out-of-fold predictions from the test predictions
    usual: float  # so far or nearer are 95 of 100 halves of the visits from each other
    truth_g: tuple[float, ...]  # at QUANTILES
    out_of_fold_g: tuple[float, ...]
    test_g: tuple[float, ...]

    @property
    def unusual(self) -> bool:
        """Whether the test set is further off than halves of the training visits are."""
        return self.distance > self.usual


@dataclass(frozen=True, kw_only=True)
class Shift:
    """All targets; none where the test set has too few images to tell."""

    images: int
    targets: tuple[TargetShift, ...]


def read_test_predictions(path: Path) -> np.ndarray:
    """Read a submission (`sample_id,target`), or a CSV with image_id and five targets; grams (images, 5).

    Raises:
        UsageError: there is no such file.
        CheckFailed: it is neither, a target is missing, or a value is not a number.
    """
    if not path.is_file():
        raise UsageError(f"no file {path} with test predictions")
    return target_array(read_oof(str(path)).table)


def shift(subject: Subject, test: np.ndarray) -> Shift:
    """Compare out-of-fold with test predictions, (images, 5), both after the projection."""
    if len(test) < ENOUGH_IMAGES:
        return Shift(images=len(test), targets=())
    own, test = constrain(subject.predicted, "projection"), constrain(test, "projection")
    halves = _halves(subject.validation.groups)
    found = []
    for i, target in enumerate(TARGETS):
        apart = [distance(own[half, i], own[~half, i]) for half in halves]
        found.append(
            TargetShift(
                target=target,
                distance=distance(own[:, i], test[:, i]),
                usual=float(np.quantile(apart, USUAL)),
                truth_g=_quantiles(subject.validation.truth[:, i]),
                out_of_fold_g=_quantiles(own[:, i]),
                test_g=_quantiles(test[:, i]),
            )
        )
    return Shift(images=len(test), targets=tuple(found))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest gap between the cumulative distributions of two samples."""
    at = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(sample), at, side="right") / len(sample) for sample in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _halves(groups: np.ndarray) -> list[np.ndarray]:
    """Draw halves of the groups; each as a mask of images."""
    random = np.random.default_rng(0)
    names, numbers = np.unique(groups, return_inverse=True)
    return [random.permutation(len(names))[numbers] < len(names) // 2 for _ in range(HALVES)]


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(values, QUANTILES).tolist())

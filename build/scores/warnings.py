"""Warnings about the numbers, as far as out-of-fold files can show it.

- Reading: columns that could have been meant otherwise; images that a file lacks, or that nobody weighed.
- Folds: files cut differently, groups cut apart, one photograph under two names on both sides of a cut.
- Errors that are too good. A model that has never seen a visit errs by visit: on the real photographs the means of the
  errors of each visit vary 2.7 to 5.6 times as much as if the visits were shuffled (Ridge on DINOv2-S and ResNet-18,
  whole groups left out), but only 1.0 to 1.8 times in twelve files whose folds were cut by image (docs/validation.md).
  Other photographs have other figures (the demo's painted ones 2.0, whole groups left out): there a file is suspected
  only if it hides its folds.
- Means of folds that are met too exactly, or overshot (`overshoot`): whoever scales by the target statistics of the
  validation fold has one or the other.
- Errors as small as on training images.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from build.scores.cross_validation import is_competitions_own
from build.scores.oof_files import OofFile, Validation
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.biomass.tables import target_array
from kernel_src.competitions.held_rules import weight_row

SHUFFLES = 1000
# That ratio of a model that has never seen the visits, the middle of six, and from so many photographs of a visit.
HONEST_RATIO, HONEST_VISIT_IMAGES = 3.7, 11.8
ACCUSED_WRONGLY = 0.02  # share of such models; the whole real table is then suspected below 2.0
TOO_EXACT = 0.002  # share of shuffles with means as exact as these
CUTS, TOO_FAR = 1000, 0.002  # share of random cuts whose folds overshoot as far
FOLLOWED_R2, FOLLOWED_IMAGES = 0.998, 20  # squared correlation with one target; twelve real files reach .86
TRAINING_R2, TRAINING_ERROR = 0.95, 0.03  # the best published CV is .86, with a median error of Total of 14 %


def find_warnings(files: Sequence[OofFile], truth: pd.DataFrame, validation: Validation) -> list[str]:
    """Return every warning, a sentence each, those on rows first."""
    found = [*_rows(files, truth, validation), *_twins(validation), *_folds(validation)]
    # By the whole table: images of a few of its folds have other means, and are the real photographs all the same.
    real = is_competitions_own(dict(zip(TARGETS, target_array(truth).mean(0).tolist(), strict=True)))
    knowing = {}
    for i, name in enumerate(validation.names):
        found += _residuals(name, validation, i)
        ratio, share = _visits_exactness(validation, i)
        if share < TOO_EXACT:
            found.append(
                f"{name}: the mean of every State+Sampling_Date group is met too exactly (errors of the means "
                f"{ratio:.2f} of chance): does it know their target statistics?"
            )
        elif (validation.folds[i] is None or real) and ratio < knows_visits_below(validation.groups):
            knowing[name] = ratio
    return [*found, *_knowing(knowing)]


def _rows(files: Sequence[OofFile], truth: pd.DataFrame, validation: Validation) -> list[str]:
    found = [f"{file.name}: {note}" for file in files for note in file.notes]
    partial = []
    for file in files:
        if count := len(truth.index.difference(file.table.index)):
            partial.append(f"{file.name}: rows are missing for {count} of {len(truth)} images")
        if count := len(file.table.index.difference(truth.index)):
            partial.append(f"{file.name}: {count} images have no truth and are left out")
    if partial and len(validation.image_ids) < len(truth):
        partial.append(f"everything below is on the {len(validation.image_ids)} images that all files have")
    return [*found, *partial]


def _twins(validation: Validation) -> list[str]:
    numbered = list(zip(validation.names, validation.predictions, strict=True))
    return [
        f"{a} and {b} hold the same predictions"
        for i, (b, second) in enumerate(numbered)
        for a, first in numbered[:i]
        if np.array_equal(first, second)
    ]


def _folds(validation: Validation) -> list[str]:
    found = []
    without = [name for name, folds in zip(validation.names, validation.folds, strict=True) if folds is None]
    if without:
        found.append(
            f"no fold column in {', '.join(without)}: whether folds differ, or split a group, cannot be seen there"
        )
    known = [(name, f) for name, f in zip(validation.names, validation.folds, strict=True) if f is not None]
    for name, folds in known:
        split = [g for g in dict.fromkeys(validation.groups) if len(set(folds[validation.groups == g])) > 1]
        if split:
            count = len(set(validation.groups))
            found.append(
                f"{name}: folds split a group: {len(split)} of {count} State+Sampling_Date groups lie in several "
                f"folds, e.g. {split[0]}; its photographs were scored by a model that trained on their neighbours"
            )
        found += _duplicates(name, folds, validation)
    for (a, first), (b, second) in zip(known, known[1:], strict=False):
        if not same_partition(first, second):
            found.append(f"folds differ between {a} and {b}: part of their difference is the luck of the cut")
    return found


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two cuts are one, whatever their folds are called."""
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    return len(pairs) == len(set(first)) == len(set(second))


def _duplicates(name: str, folds: np.ndarray, validation: Validation) -> list[str]:
    """Name photographs that weigh the same in all five targets, to the last digit, but lie in different folds."""
    seen: dict[tuple[float, ...], int] = {}
    found = []
    for i, row in enumerate(validation.truth):
        first = seen.setdefault(tuple(row.tolist()), i)
        if first != i and folds[first] != folds[i] and np.count_nonzero(row) > 2:
            a, b = validation.image_ids[first], validation.image_ids[i]
            found.append(
                f"{name}: {a} and {b} weigh exactly the same but lie in folds {folds[first]} and {folds[i]}: "
                "a duplicated photo is trained on in one and scored in the other"
            )
    return found


# %%
def _residuals(name: str, validation: Validation, model: int) -> list[str]:
    residuals = validation.truth - validation.predictions[model]
    found = []
    score = weighted_r2(validation.truth, validation.predictions[model])
    total = validation.truth[:, TARGETS.index("Dry_Total_g")]
    off = np.abs(residuals[:, TARGETS.index("Dry_Total_g")])
    typical = float(np.median(off[total > 0] / total[total > 0])) if (total > 0).any() else 0.0
    if score > TRAINING_R2 or typical < TRAINING_ERROR:
        found.append(
            f"{name}: scored on its own training images? R² {score:.3f}, and half of the images have their Total "
            f"within {typical:.1%}; the best published out-of-fold score is .86 with 14 %"
        )
    found += _followed(name, validation.truth, validation.predictions[model])
    folds = validation.folds[model]
    if folds is not None and 1 < len(set(folds)) < len(folds) / 2:
        ratio, share = mean_exactness(residuals, folds)
        if share < TOO_EXACT:
            found.append(
                f"{name}: the mean of every fold is met too exactly (errors of the means {ratio:.2f} of chance): "
                "were target statistics of the validation fold used?"
            )
        slope, share = overshoot(validation.truth, validation.predictions[model], folds, validation.groups)
        if slope > 0 and share < TOO_FAR:
            found.append(
                f"{name}: the heavier a fold is than the rest, the more it is predicted too heavy ({slope:+.2f} g per "
                "g): were outputs given back the target statistics of the validation fold, as in the seed?"
            )
    return found


def _followed(name: str, truth: np.ndarray, predicted: np.ndarray) -> list[str]:
    """Name the targets that are the truth, scaled or shifted; grams (images, 5) both."""
    followed = []
    for i, target in enumerate(TARGETS):
        weighed = truth[:, i] > 0
        pair = np.stack([predicted[weighed, i], truth[weighed, i]])
        if weighed.sum() >= FOLLOWED_IMAGES and (pair.std(1) > 0).all() and np.corrcoef(pair)[0, 1] ** 2 > FOLLOWED_R2:
            followed.append(target)
    if not followed:
        return []
    return [
        f"{name}: {', '.join(followed)} follows the truth as no prediction does: the truth itself, scaled or shifted?"
    ]


def _visits_exactness(validation: Validation, model: int) -> tuple[float, float]:
    """Return `mean_exactness` by visit; of too few photographs a visit nothing stands out."""
    if len(set(validation.groups)) >= len(validation.groups) / 2:
        return np.inf, 1.0
    return mean_exactness(validation.truth - validation.predictions[model], validation.groups)


def _knowing(ratios: dict[str, float]) -> list[str]:
    """Say it in one sentence, however many models it is said of."""
    if not ratios:
        return []
    honest = "2.7 to 5.6 where whole groups were left out of the whole table"
    if len(ratios) == 1:
        ((name, ratio),) = ratios.items()
        return [
            f"{name}: errs as if it had trained on photographs of the same visits: errors of the visits' means are "
            f"{ratio:.1f} times chance, {honest}; its level is optimistic"
        ]
    names = ", ".join(f"{name} ({ratio:.1f})" for name, ratio in ratios.items())
    return [
        f"{names}: err as if they had trained on photographs of the same visits: in brackets the errors of the visits' "
        f"means, times chance, {honest}; their levels are optimistic"
    ]


def knows_visits_below(groups: np.ndarray) -> float:
    """Return the ratio of `mean_exactness` by visit that few models which have never seen the visits fall below.

    Fewer photographs of a visit tell less of what they have in common, and fewer visits vary more: an analysis of
    variance has `1 + (m − 1) ρ` on average, m the photographs of a visit and ρ what they share, times χ²/(G − 1).
    """
    from scipy.special import chdtri

    sizes = np.unique(groups, return_counts=True)[1]
    freedom = len(sizes) - 1
    images = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / freedom
    honest = 1 + (HONEST_RATIO - 1) * (images - 1) / (HONEST_VISIT_IMAGES - 1)
    return float(honest * chdtri(freedom, 1 - ACCUSED_WRONGLY) / freedom)


def mean_exactness(residuals: np.ndarray, parts: np.ndarray, shuffles: int = SHUFFLES) -> tuple[float, float]:
    """Compare the mean residual of each part with shuffled parts.

    Returns the metric-weighted sum of squared means relative to its average over shuffles (1: as chance has it), and
    the share of shuffles whose sum is as small.
    """
    random = np.random.default_rng(0)
    numbers = np.unique(parts, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    centred = residuals - residuals.mean(0)

    def between(order: np.ndarray) -> float:
        sums = np.stack([np.bincount(numbers, column, minlength=len(sizes)) for column in centred[order].T])
        return float(weight_row() @ (sums**2 / sizes).sum(1))

    own = between(np.arange(len(numbers)))
    shuffled = np.array([between(random.permutation(len(numbers))) for _ in range(shuffles)])
    average = float(shuffled.mean())
    return (own / average if average > 0 else 1.0), float((shuffled <= own).mean())


# %%
def overshoot(
    truth: np.ndarray, predicted: np.ndarray, folds: np.ndarray, groups: np.ndarray, cuts: int = CUTS
) -> tuple[float, float]:
    """Return the slope of rule 2 and the share of random cuts whose slope is at least as large.

    The seed's own leak: outputs scaled by the training rows, given back the validation fold's mean and deviation. A
    model that has not seen a fold is drawn towards what it was trained on: a fold heavier than the rest is predicted
    too light. With the leak the scale already moves the fold by all of its distance from the rest, and the model moves
    it once more: the heavier the fold, the more it is predicted *too heavy*.

    1. Of each fold: the distance of its mean truth from that of the others, and its mean error (prediction minus
       truth).
    2. The slope of error on distance over all folds and targets, by metric weight and images: below 0 for an honest
       model, 0 for a perfect one.
    3. The same for the same errors and visits under random cuts into folds of as many visits: an honest model's errors
       do not know the cut. The leak is named where the slope is above 0 and hardly any random cut reaches it.

    Folds of a single visit cannot be dealt otherwise: there the leak is not seen.

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

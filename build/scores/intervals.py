"""Intervals for a competition's score, over its groups, or over photographs where each stands for itself.

Photographs of one group err together, so the groups are what was drawn at random, not the photographs. Most metrics
follow from a few sums (`kernel_src/competition/sums.py`), so leaving a group out costs one subtraction. Of a weighted
R², `1 − N/D` with `N = Σ w (y − ŷ)²` and `D = Σ w y² − (Σ w y)²/Σ w`, they are four, the mean in D included.

1. Leave each group out in turn: θ₋g. The difference of two models is jackknifed as one number, θ = gain_b − gain_a, so
   what both get wrong together drops out; gain is the score where more is better, and minus it where less is.
2. Its variance is `(G − 1)/G Σ (θ₋g − mean θ₋)²` (Quenouille 1956, Tukey 1958; for ratios of sums over clusters:
   Cochran, Sampling Techniques, 3rd ed. 1977, §§ 6.17 and 9A.9; Efron & Stein, Ann. Statist. 9, 1981: on average it is
   not too small).
3. The interval of a difference is `θ ± t_{G−1} · se`, and the probability that b is better than a is
   `T_{G−1}((gain_b − gain_a)/se)`.
4. A single score hangs on a few groups with a large error or spread, so its variance is known worse than from G equal
   groups: its t has `2G/(κ − (G − 3)/(G − 1))` degrees of freedom, at most G − 1, with κ the kurtosis of θ₋g: the
   Satterthwaite (1946) approximation, since the variance of a sample variance is `σ⁴ (κ − (G − 3)/(G − 1))/G`.
5. A metric without sums is computed again for each group that is left out. Where there are more than 100, they are
   dealt into 100 lots at random, and each lot is left out: the delete-a-group jackknife (Kott, J. Official Statistics
   17, 2001), with 99 degrees of freedom.

Chosen by simulation with the real group sizes of the first competition: table in docs/validation.md. Accuracy and RMSE
over rows and over groups: tests/build/scores/drawn.py.
"""

import sys
import time
from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np

from kernel_src.competition.rules import Metric
from kernel_src.competition.sums import Sums, WeightedR2Sums
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

LEVEL = 0.95
WAITED_S = 2.0  # longer is shown
LOTS = 100  # that groups are dealt into where the metric is computed again for each


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, its interval, and how probable it is that what it estimates is above zero."""

    estimate: float
    low: float
    high: float
    probability: float  # 0 to 1
    groups: int

    @property
    def carried(self) -> bool:
        """Whether the interval keeps clear of zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """The score of each model on all rows, and with each group left out."""

    whole: np.ndarray  # (models,)
    without: np.ndarray  # (models, groups), or lots of groups
    groups: int
    more_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class GroupSums:
    """What a weighted R² needs of each group."""

    errors: np.ndarray  # (models, groups): Σ w (y − ŷ)²
    weights: np.ndarray  # (groups,): Σ w
    firsts: np.ndarray  # (groups,): Σ w y
    seconds: np.ndarray  # (groups,): Σ w y²

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.weights)


def group_sums(truth: np.ndarray, predictions: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> GroupSums:
    """Add up by group: truth (images, targets), predictions (models, images, targets), weights (targets,)."""
    errors, rest, firsts, seconds = _totals(WeightedR2Sums(weights), truth, predictions, _numbers(groups))
    return GroupSums(errors=errors, weights=rest[0], firsts=firsts[0], seconds=seconds[0])


def scores(sums: GroupSums) -> np.ndarray:
    """Return the weighted R² of each model on all rows, (models,)."""
    return _formula(sums.errors.sum(1), sums.weights.sum(), sums.firsts.sum(), sums.seconds.sum())


def scores_without_each(sums: GroupSums) -> np.ndarray:
    """Return the weighted R² with one group left out, (models, groups)."""
    left = [total.sum() - total for total in (sums.weights, sums.firsts, sums.seconds)]
    return _formula(sums.errors.sum(1, keepdims=True) - sums.errors, *left)


def _formula(*totals: np.ndarray) -> np.ndarray:
    return WeightedR2Sums(np.empty(0)).score(*totals)


def _numbers(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1]


def _totals(sums: Sums, truth: np.ndarray, predictions: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """Return the sums of each column over each group, (models, groups) each."""
    count = int(numbers.max()) + 1
    added = [
        [np.bincount(numbers, column, minlength=count) for column in sums.columns(truth, one)] for one in predictions
    ]
    return [np.stack(rows) for rows in zip(*added, strict=True)]


# %%
def group_scores(truth: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> GroupScores:
    """Score by the competition's metric, on all rows and without each group: by its sums, or else once more for each.

    `truth` is (images, targets), `predictions` (models, images, targets), `groups` (images,).

    Raises:
        ValueError: the score is not defined on all rows, or without one group.
    """
    metric, numbers = rules().metric, _numbers(groups)
    count, sums = int(numbers.max()) + 1, review().sums
    if sums is None:
        whole, without = _scored_again(metric, truth, predictions, numbers)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused by the jackknife
            totals = _totals(sums, truth, predictions, numbers)
            whole = sums.score(*(total.sum(1) for total in totals))
            without = sums.score(*(total.sum(1, keepdims=True) - total for total in totals))
    return GroupScores(whole=whole, without=without, groups=count, more_is_better=metric.higher_is_better)


def _scored_again(
    metric: Metric, truth: np.ndarray, predictions: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the metric on all rows, and for each group or lot of groups on the others; rule 5."""
    from build.core.progress import counting

    count = int(numbers.max()) + 1
    if count > LOTS:
        numbers = (np.random.default_rng(0).permutation(count) % LOTS)[numbers]
    lots = int(numbers.max()) + 1 if count > 1 else 0
    begun = time.perf_counter()
    whole = np.array([metric.score(truth, one) for one in predictions])
    is_quick = (time.perf_counter() - begun) * lots < WAITED_S
    without = np.empty((len(predictions), lots))
    with counting(f"{metric.name} computed again", quiet=is_quick or not sys.stdout.isatty()) as advance:
        for lot in range(lots):
            kept = numbers != lot
            without[:, lot] = [metric.score(truth[kept], one[kept]) for one in predictions]
            advance(lot + 1, lots)
    return whole, without


# %%
def jackknife(
    estimate: float,
    without_each: np.ndarray,
    level: float = LEVEL,
    freedom: float | None = None,
    counted: int | None = None,
) -> Interval:
    """Return the interval of an estimate from its values with one group left out, (groups,).

    `freedom` are the degrees of freedom of its t, one less than the groups unless given; `counted` is how many groups
    there are, where lots of them were left out.

    Raises:
        ValueError: there are fewer than two groups, or a value is not finite.
    """
    from scipy.special import stdtr, stdtrit  # a third of the time that scipy.stats takes to import

    groups = len(without_each)
    if groups < 2:
        raise ValueError(f"one group has no interval: it needs at least two {rules().group_name}s")
    if not (isfinite(estimate) and np.isfinite(without_each).all()):
        raise ValueError("the score is not finite with one group left out: the truth of the others is constant")
    deviation = float(np.sqrt((groups - 1) / groups * ((without_each - without_each.mean()) ** 2).sum()))
    freedom = groups - 1 if freedom is None else freedom
    reach = float(stdtrit(freedom, (1 + level) / 2)) * deviation
    if deviation < 1e-12:  # the same file twice
        probability = 0.5 if abs(estimate) < 1e-12 else float(estimate > 0)
    else:
        probability = float(stdtr(freedom, estimate / deviation))
    return Interval(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        probability=probability,
        groups=counted or groups,
    )


def kurtosis_freedom(without_each: np.ndarray) -> float:
    """Return the degrees of freedom of a variance that few groups may carry; rule 4 above."""
    groups, centred = len(without_each), without_each - without_each.mean()
    squares = float((centred**2).mean())
    if groups < 4 or squares == 0:
        return groups - 1.0
    kurtosis = float((centred**4).mean()) / squares**2
    excess = kurtosis - (groups - 3) / (groups - 1)
    return float(np.clip(2 * groups / excess, 1, groups - 1)) if excess > 0 else groups - 1.0


def score_intervals(sums: GroupSums | GroupScores, level: float = LEVEL) -> list[Interval]:
    """Return the score of each model with its interval.

    Raises:
        ValueError: see `jackknife`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused by the jackknife
        found = _scored(sums)
    rows = zip(found.whole.tolist(), found.without, strict=True)
    return [jackknife(score, row, level, kurtosis_freedom(row), found.groups) for score, row in rows]


def difference_interval(sums: GroupSums | GroupScores, a: int, b: int, level: float = LEVEL) -> Interval:
    """Return by how much model b is better than model a, with the paired interval.

    Raises:
        ValueError: see `jackknife`.
    """
    found = _scored(sums)
    better, worse = (b, a) if found.more_is_better else (a, b)
    whole, parts = found.whole, found.without
    return jackknife(float(whole[better] - whole[worse]), parts[better] - parts[worse], level, counted=found.groups)


def _scored(sums: GroupSums | GroupScores) -> GroupScores:
    if isinstance(sums, GroupScores):
        return sums
    return GroupScores(whole=scores(sums), without=scores_without_each(sums), groups=sums.groups)


MOST_GROUPS, MOST_TIMES = 1000, 10  # more groups than that, or than so many times those at hand, nobody will look at


def most_groups(groups: int) -> int:
    """Return how many more groups are worth naming, where there are so many."""
    return max(MOST_GROUPS, MOST_TIMES * groups)


def groups_missing(difference: Interval) -> int | None:
    """Return about how many more groups like these would carry a difference of this size; None: more than are named.

    The interval shrinks with the square root of the groups, if the true difference is the one measured.
    """
    if difference.estimate == 0:
        return None
    reach = difference.high - difference.estimate
    more = ceil(difference.groups * ((reach / difference.estimate) ** 2 - 1))
    return max(more, 1) if more <= most_groups(difference.groups) else None

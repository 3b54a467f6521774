"""Intervals for the official score, over State+Sampling_Date groups.

Photographs of one visit err together, so the groups are what was drawn at random, not the photographs. The score is
`1 − N/D` with `N = Σ w (y − ŷ)²` and `D = Σ w y² − (Σ w y)²/Σ w`: both follow from four sums per group, so leaving a
group out costs one subtraction, the mean in D included.

1. Leave each group out in turn: θ₋g. The difference of two models is jackknifed as one number, θ = R²_b − R²_a, so
   what both get wrong together drops out.
2. Its variance is `(G − 1)/G Σ (θ₋g − mean θ₋)²` (Quenouille 1956, Tukey 1958; for ratios of sums over clusters:
   Cochran, Sampling Techniques, 3rd ed. 1977, §§ 6.17 and 9A.9; Efron & Stein, Ann. Statist. 9, 1981: on average it is
   not too small).
3. The interval of a difference is `θ ± t_{G−1} · se`, and the probability that b is better than a is
   `T_{G−1}((R²_b − R²_a)/se)`.
4. A single score hangs on a few groups with a large error or spread, so its variance is known worse than from G equal
   groups: its t has `2G/(κ − (G − 3)/(G − 1))` degrees of freedom, at most G − 1, with κ the kurtosis of θ₋g: the
   Satterthwaite (1946) approximation, since the variance of a sample variance is `σ⁴ (κ − (G − 3)/(G − 1))/G`.

Chosen by simulation with the real group sizes: table in docs/validation.md.
"""

from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np

LEVEL = 0.95


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
class GroupSums:
    """What the score needs of each group."""

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
    numbers = np.unique(groups, return_inverse=True)[1]

    def by_group(values: np.ndarray) -> np.ndarray:  # (images,)
        return np.bincount(numbers, values, minlength=int(numbers.max()) + 1)

    errors = ((truth - predictions) ** 2) @ weights
    return GroupSums(
        errors=np.stack([by_group(row) for row in errors]),
        weights=by_group(np.full(len(truth), weights.sum())),
        firsts=by_group(truth @ weights),
        seconds=by_group(truth**2 @ weights),
    )


def scores(sums: GroupSums) -> np.ndarray:
    """Return the score of each model on all rows, (models,)."""
    return 1 - sums.errors.sum(1) / _spread(sums.weights.sum(), sums.firsts.sum(), sums.seconds.sum())


def scores_without_each(sums: GroupSums) -> np.ndarray:
    """Return the scores with one group left out, (models, groups)."""
    left = [total.sum() - total for total in (sums.weights, sums.firsts, sums.seconds)]
    return 1 - (sums.errors.sum(1, keepdims=True) - sums.errors) / _spread(*left)


def _spread(weight: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return second - first**2 / weight


# %%
def jackknife(
    estimate: float, without_each: np.ndarray, level: float = LEVEL, freedom: float | None = None
) -> Interval:
    """Return the interval of an estimate from its values with one group left out, (groups,).

    `freedom` are the degrees of freedom of its t, one less than the groups unless given.

    Raises:
        ValueError: there are fewer than two groups, or a value is not finite.
    """
    from scipy.special import stdtr, stdtrit  # a third of the time that scipy.stats takes to import

    groups = len(without_each)
    if groups < 2:
        raise ValueError("one group has no interval: it needs at least two State+Sampling_Date groups")
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
        estimate=estimate, low=estimate - reach, high=estimate + reach, probability=probability, groups=groups
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


def score_intervals(sums: GroupSums, level: float = LEVEL) -> list[Interval]:
    """Return the score of each model with its interval."""
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused by the jackknife
        rows = zip(scores(sums).tolist(), scores_without_each(sums), strict=True)
        return [jackknife(score, row, level, kurtosis_freedom(row)) for score, row in rows]


def difference_interval(sums: GroupSums, a: int, b: int, level: float = LEVEL) -> Interval:
    """Return the score of model b minus that of model a, with the paired interval."""
    whole, parts = scores(sums), scores_without_each(sums)
    return jackknife(float(whole[b] - whole[a]), parts[b] - parts[a], level)


MOST_GROUPS = 1000  # beyond that no visit to a pasture will decide it


def groups_missing(difference: Interval) -> int | None:
    """Return about how many more groups like these would carry a difference of this size; None: more than 1,000.

    The interval shrinks with the square root of the groups, if the true difference is the one measured.
    """
    if difference.estimate == 0:
        return None
    reach = difference.high - difference.estimate
    more = ceil(difference.groups * ((reach / difference.estimate) ** 2 - 1))
    return max(more, 1) if more <= MOST_GROUPS else None

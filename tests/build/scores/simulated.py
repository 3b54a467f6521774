"""Visits drawn by chance with the real group sizes, and how often an interval holds the true score of such a law.

Grams are gamma with the means and deviations of train.csv, and visits differ so much that the mean of each visit scores
.6, as there. Predictions err with a part per visit, a part per photograph, and a part that all models share; one error
in twenty is three times as large, half of it grows with the grams. The true score is that of 60,000 visits. Under the
null two models have the same law. docs/validation.md has the table of the methods and laws that were compared.
"""

import numpy as np

from build.scores.intervals import GroupSums, difference_interval, score_intervals, scores
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.competitions.held_rules import weight_row

# Photographs of each of the 30 State+Sampling_Date groups of train.csv.
REAL_SIZES = np.array(
    (1, 6, 7, 7, 8, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 11, 11, 11, 12, 12, 13, 15, 16, 17, 17, 18, 18, 19, 20, 22)
)
MEANS_G, DEVIATIONS_G = np.array([26.6, 12.0, 6.7]), np.array([25.4, 12.4, 12.1])  # Green, Dead, Clover
VISIT_VARIANCE = np.array([0.45, 0.5, 0.9])  # of the mean of a visit, relative to the square of MEANS_G
TARGET_MEANS_G, TARGET_DEVIATIONS_G = np.array([26.6, 12.0, 6.7, 33.3, 45.3]), np.array([25.4, 12.4, 12.1, 24.9, 27.9])
VISIT_ERROR, SHARED_ERROR = 0.25, 0.35  # in deviations of the target
OWN_ERRORS = (0.25, 0.25, 0.35)  # of the three models; the first two are one law
HEAVY_SHARE, HEAVY_FACTOR, GROWTH = 0.05, 3.0, 0.5


def draw(random: np.random.Generator, sizes: np.ndarray = REAL_SIZES) -> GroupSums:
    """Draw visits (groups,) and what the scores of the three models need of them."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    photograph_variance = (1 + (DEVIATIONS_G / MEANS_G) ** 2) / (1 + VISIT_VARIANCE) - 1
    visit = random.gamma(1 / VISIT_VARIANCE, VISIT_VARIANCE, (len(sizes), 3))[groups]
    photograph = random.gamma(1 / photograph_variance, photograph_variance, (len(groups), 3))
    truth = (MEANS_G * visit * photograph) @ component_matrix().T  # (images, 5)

    def heavy() -> np.ndarray:
        large = random.random((len(groups), 1)) < HEAVY_SHARE
        return random.normal(size=truth.shape) * np.where(large, HEAVY_FACTOR, 1.0)

    def by_visit() -> np.ndarray:
        return random.normal(size=(len(sizes), 5))[groups]

    scale = TARGET_DEVIATIONS_G * (1 - GROWTH + GROWTH * truth / TARGET_MEANS_G)
    common_visit, common = by_visit(), heavy()
    errors = []
    for own in OWN_ERRORS:
        error = VISIT_ERROR * (0.8 * common_visit + 0.6 * by_visit()) + SHARED_ERROR * common + own * heavy()
        errors.append(np.bincount(groups, (scale * error) ** 2 @ weight_row()))
    weights = weight_row()
    return GroupSums(
        errors=np.stack(errors),
        weights=np.bincount(groups, np.full(len(groups), weights.sum())),
        firsts=np.bincount(groups, truth @ weights),
        seconds=np.bincount(groups, truth**2 @ weights),
    )


def bootstrap(sums: GroupSums, random: np.random.Generator, draws: int = 1000) -> tuple[float, float]:
    """The percentile interval of the first model's score over groups drawn again."""
    rows = random.integers(0, sums.groups, (draws, sums.groups))
    weight, first, second = (total[rows].sum(1) for total in (sums.weights, sums.firsts, sums.seconds))
    drawn = 1 - sums.errors[0, rows].sum(1) / (second - first**2 / weight)
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return low, high


def rates(draws: int, seed: int, *, bootstrapped: bool = False) -> dict[str, float]:
    """Coverage of a score and of a difference, how often the null is rejected; on request the bootstrap's coverage."""
    random = np.random.default_rng(seed)
    true = scores(draw(random, random.choice(REAL_SIZES, 60_000)))
    true[:2] = true[:2].mean()
    counts = {"score": 0, "difference": 0, "null rejected": 0, "bootstrapped score": 0}
    for _ in range(draws):
        sums = draw(random)
        score, difference = score_intervals(sums)[0], difference_interval(sums, 0, 2)
        counts["score"] += int(score.low <= true[0] <= score.high)
        counts["difference"] += int(difference.low <= true[2] - true[0] <= difference.high)
        counts["null rejected"] += int(difference_interval(sums, 0, 1).carried)
        if bootstrapped:
            low, high = bootstrap(sums, random)
            counts["bootstrapped score"] += int(low <= true[0] <= high)
    return {name: count / draws for name, count in counts.items()}

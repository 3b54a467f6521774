"""Predictions drawn by chance, and how often an interval of accuracy or RMSE holds the true score of their law.

300 rows, each by itself, or in 40 groups of 3 to 12 whose errors have a part in common. Three models share a part of
their errors; the first two are one law. The true score is that of 200 such draws together.
"""

import numpy as np

from build.core.choosing import working_on
from build.scores.intervals import GroupScores, difference_interval, group_scores, score_intervals
from tests.build.scores.plain import one_hot

ROWS, GROUPS = 300, 40
OWN = (1.0, 1.0, 0.7)  # size of each model's own errors


def draw(competition: str, grouped: bool, random: np.random.Generator, times: int = 1) -> tuple[np.ndarray, ...]:
    """Return truth, predictions and groups of so many draws, one behind the other."""
    if grouped:
        sizes = np.tile(3 + np.arange(GROUPS) % 10, times)
        groups = np.repeat(np.arange(len(sizes)), sizes)
    else:
        groups = np.arange(ROWS * times)
    shape = (len(groups), 10 if competition == "leaf" else 1)
    shared = random.normal(size=(groups.max() + 1, shape[1]))[groups] if grouped else random.normal(size=shape)
    errors = [0.6 * shared + own * random.normal(size=shape) for own in OWN]
    if competition == "leaf":
        truth = one_hot(random.integers(0, 10, len(groups)))
        logits = np.stack([2.5 * truth + error for error in errors])
        shares = np.exp(logits)
        return truth, shares / shares.sum(2, keepdims=True), groups
    truth = random.normal(40, 20, shape)
    return truth, np.stack([truth + 15 * error for error in errors]), groups


def scored(competition: str, grouped: bool, random: np.random.Generator, times: int = 1) -> GroupScores:
    return group_scores(*draw(competition, grouped, random, times))


def rates(competition: str, grouped: bool, draws: int, seed: int) -> dict[str, float]:
    """Coverage of a score and of a difference, and how often the null is rejected."""
    random = np.random.default_rng(seed)
    counts = {"score": 0, "difference": 0, "null rejected": 0}
    with working_on(competition):
        true = scored(competition, grouped, random, times=200).whole
        true[:2] = true[:2].mean()
        sign = 1 if competition == "leaf" else -1
        for _ in range(draws):
            found = scored(competition, grouped, random)
            score, difference = score_intervals(found)[0], difference_interval(found, 0, 2)
            counts["score"] += int(score.low <= true[0] <= score.high)
            counts["difference"] += int(difference.low <= sign * (true[2] - true[0]) <= difference.high)
            counts["null rejected"] += int(difference_interval(found, 0, 1).carried)
    return {name: count / draws for name, count in counts.items()}

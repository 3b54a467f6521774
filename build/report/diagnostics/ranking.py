"""How well numbers rank one class above another: the area under the ROC curve, for many classes at once."""

import numpy as np


def pairs_won(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count how often a positive row scores above a negative one, ties as half.

    Both are (rows, columns). Returns the pairs won and all pairs of each column (Mann & Whitney 1947); their quotient
    is the area under the curve.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    count = positive.sum(0)
    won = (ranks * positive).sum(0) - count * (count + 1) / 2
    return won, count * (len(scores) - count)


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the share of pairs won, both (rows,); None where one class is empty."""
    won, pairs = pairs_won(scores[:, None], positive[:, None])
    return float(won[0] / pairs[0]) if pairs[0] else None

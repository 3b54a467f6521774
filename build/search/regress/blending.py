"""From many candidates to one blend, on inner out-of-fold predictions alone.

1. Of each family on each scale of the targets, the best setting is kept, for each target its own.
2. A greedy blend with replacement: the model that helps most is added, again and again. Its weights cannot be negative,
   add up to one, and are the same for all targets: thirty groups do not carry five sets of weights.
3. This is done on many draws of whole groups, and the weights are averaged: what wins on one visit only, loses its say.

Source of 2 and 3: Caruana et al., Ensemble Selection from Libraries of Models, 2004, sections 2.1 and 2.3.
"""

from collections.abc import Sequence

import numpy as np

from kernel_src.competition.metric import weight_row

GREEDY_STEPS = 40
DRAWS = 20


def error_products(predicted: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return Σ e_i e_j over each group's rows, (groups, 5, models, models): a blend's squared error is w' Q w."""
    errors = predicted - truth  # (models, rows, 5)
    parts = [errors[:, groups == group] for group in np.unique(groups)]
    return np.stack([np.einsum("mnt,knt->tmk", part, part) for part in parts])


def greedy(products: np.ndarray) -> np.ndarray:
    """Return weights (models,) that make w' Q w small, Q (models, models), by adding one model after the other."""
    counts = np.zeros(len(products))
    along, error, own = np.zeros(len(products)), 0.0, np.diag(products)
    for step in range(1, GREEDY_STEPS + 1):
        best = int(np.argmin((error + 2 * along + own) / step**2))
        error += 2 * along[best] + own[best]
        along = along + products[:, best]
        counts[best] += 1
    return counts / GREEDY_STEPS


def draw_shares(products: np.ndarray, seed: int) -> np.ndarray:
    """Return shares (models,) that blend well on draws of groups; products are (groups, models, models)."""
    random = np.random.default_rng(seed)
    draws = [random.integers(0, len(products), len(products)) for _ in range(DRAWS)]
    return np.mean([greedy(products[draw].sum(0)) for draw in draws], 0)


def stand_ins(kinds: Sequence[str], costs: np.ndarray) -> np.ndarray:
    """Return which candidate stands for a kind at a target, (kinds, 5), by what each costs there, (candidates, 5)."""
    everyone = np.arange(len(kinds))
    masks = [np.array([kind == name for kind in kinds]) for name in dict.fromkeys(kinds)]
    return np.stack([everyone[mask][costs[mask].argmin(0)] for mask in masks])


def of_stand_ins(predicted: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """Return the predictions (candidates, n, 5) of those that stand for the kinds, (kinds, n, 5)."""
    rows, targets = np.arange(predicted.shape[1])[None, :, None], np.arange(predicted.shape[2])
    return predicted[stands[:, None, :], rows, targets]


def spread_shares(shares: np.ndarray, stands: np.ndarray, candidates: int) -> np.ndarray:
    """Return each candidate's weight for each target, (candidates, 5), from the shares of the kinds."""
    targets = np.arange(stands.shape[1])
    weights = np.zeros((candidates, len(targets)))
    for share, row in zip(shares, stands, strict=True):
        weights[row, targets] += share
    return weights


def blend_weights(
    kinds: Sequence[str], predicted: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    """Return each candidate's weight for each target, (candidates, 5), by the three rules above.

    `kinds` names family and scale of each candidate; `predicted` is (candidates, rows, 5), out of the inner folds.
    """
    stands = stand_ins(kinds, ((predicted - truth) ** 2).sum(1))
    products = error_products(of_stand_ins(predicted, stands), truth, groups)
    shares = draw_shares(np.einsum("t,gtmk->gmk", weight_row(), products), seed)
    return spread_shares(shares, stands, len(kinds))

"""## The two identities

Five heads predict five targets, of which two are sums of others. The default moves each target as little as the
metric's weights allow.
"""

from itertools import combinations

import numpy as np

import kernel_src.competitions.biomass.seed_constraints  # noqa: F401  # part: seed_constraints
from kernel_src.competitions.biomass.constants import COMPONENTS, TARGET_WEIGHTS, TARGETS
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.runtime.parts import optional_part


def project(grams: np.ndarray) -> np.ndarray:
    """Return the nearest predictions that satisfy both identities and are not negative, (images, 5).

    Nearest in the metric's own weights: min Σ w (B c − ŷ)² over c ≥ 0, exactly, by trying which components are zero
    (Lawson & Hanson, Solving Least Squares Problems, 1974, ch. 23: the optimum is a free fit on its own support).
    """
    root = np.sqrt([TARGET_WEIGHTS[target] for target in TARGETS])
    matrix, wanted = component_matrix() * root[:, None], grams * root
    best, best_cost = np.zeros((len(grams), len(COMPONENTS))), (wanted**2).sum(1)
    for size in range(1, len(COMPONENTS) + 1):
        for support in map(list, combinations(range(len(COMPONENTS)), size)):
            fit = np.zeros_like(best)
            fit[:, support] = wanted @ np.linalg.pinv(matrix[:, support]).T
            cost = ((fit @ matrix.T - wanted) ** 2).sum(1)
            better = (fit >= 0).all(1) & (cost < best_cost)
            best[better], best_cost[better] = fit[better], cost[better]
    return best @ component_matrix().T


def constrain(grams: np.ndarray, variant: str) -> np.ndarray:
    """Make predictions (images, 5) satisfy the identities, by `experiment.CONSTRAINTS`; `none` only clips at zero.

    Raises:
        MissingPart: the variant is one of the seed's, and this notebook was built without them.
        ValueError: a prediction is NaN or infinite; a projection would quietly make it 0 g.
    """
    if not np.isfinite(grams).all():
        raise ValueError(f"{int((~np.isfinite(grams)).sum())} predictions are NaN or infinite: not a number of grams")
    if variant == "none":
        return np.clip(grams, 0, None)
    if variant == "projection":
        return project(grams)
    constrained: np.ndarray = getattr(optional_part("seed_constraints"), variant)(grams)
    return constrained

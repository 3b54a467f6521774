"""## The two identities

GDM is Green plus Clover, and Total is GDM plus Dead. Five heads do not know that. Three ways to make them agree; the
default moves each target as little as the metric's weights allow.
"""

from itertools import combinations

import numpy as np

from kernel_src.competition.constants import IDENTITIES, TARGET_WEIGHTS, TARGETS

# The targets that no identity sums up: Green, Dead, Clover.
COMPONENTS = tuple(target for target in TARGETS if target not in IDENTITIES)


def component_matrix() -> np.ndarray:
    """Return B with y = B c: the five targets from the three components, (5, 3)."""
    rows = {component: np.eye(len(COMPONENTS))[i] for i, component in enumerate(COMPONENTS)}
    for total, parts in IDENTITIES.items():
        rows[total] = sum((rows[part] for part in parts), np.zeros(len(COMPONENTS)))
    return np.stack([rows[target] for target in TARGETS])


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


# %%
NOTHING_G = 1e-9  # parts that weigh less cannot be scaled: the factor would be without bounds


def _columns(grams: np.ndarray) -> dict[str, np.ndarray]:
    return {target: grams[:, i].copy() for i, target in enumerate(TARGETS)}


def biological(grams: np.ndarray) -> np.ndarray:
    """Apply the seed's biological variant: average each sum with its parts, scale these, Total last; (images, 5)."""
    of = _columns(np.clip(grams, 0, None))
    green, clover, dead = of["Dry_Green_g"], of["Dry_Clover_g"], of["Dry_Dead_g"]
    parts = green + clover
    gdm = (of["GDM_g"] + parts) / 2
    scale = np.divide(gdm, parts, out=np.zeros_like(gdm), where=parts > NOTHING_G)
    # Where both parts are zero nothing can be scaled: the mass is taken as green, which the seed left inconsistent.
    green, clover = np.where(parts > NOTHING_G, green * scale, gdm), clover * scale
    total = (of["Dry_Total_g"] + gdm + dead) / 2
    dead = np.clip(total - gdm, 0, None)
    of = {"Dry_Green_g": green, "Dry_Clover_g": clover, "Dry_Dead_g": dead, "GDM_g": gdm, "Dry_Total_g": gdm + dead}
    return np.stack([of[target] for target in TARGETS], 1)


def average(grams: np.ndarray) -> np.ndarray:
    """Apply the seed's average variant: Total averaged with the sum of the components, these scaled to it; (images, 5).

    Unlike the seed's it clips at zero and sets GDM to Green + Clover, or the submission would break an identity.
    """
    of = _columns(np.clip(grams, 0, None))
    components = np.stack([of[component] for component in COMPONENTS], 1)
    parts = components.sum(1)
    total = (of["Dry_Total_g"] + parts) / 2
    scale = np.divide(total, parts, out=np.zeros_like(total), where=parts > NOTHING_G)
    components = np.where(parts[:, None] > NOTHING_G, components * scale[:, None], total[:, None] / len(COMPONENTS))
    return components @ component_matrix().T


def constrain(grams: np.ndarray, variant: str) -> np.ndarray:
    """Make predictions (images, 5) satisfy the identities, by `experiment.CONSTRAINTS`; `none` only clips at zero.

    Raises:
        ValueError: a prediction is NaN or infinite; a projection would quietly make it 0 g.
    """
    if not np.isfinite(grams).all():
        raise ValueError(f"{int((~np.isfinite(grams)).sum())} predictions are NaN or infinite: not a number of grams")
    variants = {"projection": project, "biological": biological, "average": average}
    return variants[variant](grams) if variant != "none" else np.clip(grams, 0, None)

"""## The seed's two ways to make the targets agree

For comparisons: the projection, which the experiments use, needs neither.
"""

import numpy as np

from kernel_src.competitions.biomass.constants import COMPONENTS, TARGETS
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.runtime.parts import OptionalPart

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


class SeedConstraints(OptionalPart):
    """What a constraint of these names asks for."""

    part = "seed_constraints"
    biological = staticmethod(biological)
    average = staticmethod(average)

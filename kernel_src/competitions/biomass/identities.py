"""## The targets' own sums

GDM is Green plus Clover, and Total is GDM plus Dead.
"""

import numpy as np

from kernel_src.competitions.biomass.constants import COMPONENTS, IDENTITIES, TARGETS


def component_matrix() -> np.ndarray:
    """Return B with y = B c: the five targets from the three components, (5, 3)."""
    rows = {component: np.eye(len(COMPONENTS))[i] for i, component in enumerate(COMPONENTS)}
    for total, parts in IDENTITIES.items():
        rows[total] = sum((rows[part] for part in parts), np.zeros(len(COMPONENTS)))
    return np.stack([rows[target] for target in TARGETS])

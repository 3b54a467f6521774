"""## Answers of Image2Biomass

It is made to satisfy the identities.
"""

from typing import ClassVar

import numpy as np

from kernel_src.competition.answers import Answers
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain


class BiomassAnswers(Answers):
    """Grams of five targets."""

    competition: ClassVar[str] = "biomass"

    def finished(self, predictions: np.ndarray, constraint: str = "none") -> np.ndarray:
        """Make predictions (images, 5) satisfy the identities; see `constrain`."""
        return constrain(predictions, constraint)

    def caption(self, predicted: np.ndarray, truth: np.ndarray | None = None) -> str:
        """Write the five targets (5,) in two lines, with the truth in brackets where it is known."""
        texts = [
            f"{target.removeprefix('Dry_').removesuffix('_g')} {predicted[i]:.0f}"
            + (f" ({truth[i]:.0f})" if truth is not None else "")
            for i, target in enumerate(TARGETS)
        ]
        return f"{'  '.join(texts[:3])}\n{'  '.join(texts[3:])} g"

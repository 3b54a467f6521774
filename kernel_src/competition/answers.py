"""## What becomes of a prediction

Before it is submitted, and under its photograph.
"""

from typing import ClassVar

import numpy as np

from kernel_src.competition.facts import Facts


class Answers:
    """As most competitions have it; one with more to do derives from this, and is found."""

    competition: ClassVar[str] = ""  # as its facts have it

    def __init__(self, facts: Facts) -> None:
        """Answer for the competition of these facts."""
        self.facts = facts

    def finished(self, predictions: np.ndarray, constraint: str = "none") -> np.ndarray:
        """Return predictions (images, targets) as they are submitted: within the range that a target can have.

        Raises:
            ValueError: a prediction is NaN or infinite.
        """
        if not np.isfinite(predictions).all():
            raise ValueError(f"{int((~np.isfinite(predictions)).sum())} predictions are NaN or infinite")
        return np.clip(predictions, self.facts.lowest, self.facts.highest)

    def caption(self, predicted: np.ndarray, truth: np.ndarray | None = None) -> str:
        """Write a prediction (targets,) under its photograph, with the truth in brackets where it is known."""
        if self.facts.are_classes:
            labels = self.facts.labels or self.facts.targets
            known = f" ({labels[int(truth.argmax())]})" if truth is not None else ""
            return f"{labels[int(predicted.argmax())]} {predicted.max():.0%}{known}"
        texts = [
            f"{target} {predicted[i]:.3g}" + (f" ({truth[i]:.3g})" if truth is not None else "")
            for i, target in enumerate(self.facts.targets)
        ]
        return "  ".join(texts)

"""## Probabilities of classes

A network of classes answers by a logit for each; a softmax makes probabilities of them. The truth is 1 for the class of
a photograph and 0 for the others, or shares where photographs were mixed, and is never scaled.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from kernel_src.runtime.parts import OptionalPart


class ClassScaling(nn.Module):
    """In the place of `TargetScaling`: logits to probabilities, and labels as they are."""

    def fit(self, truth: np.ndarray) -> None:
        """Take nothing from the truth (rows, classes)."""

    def to_z(self, truth: torch.Tensor) -> torch.Tensor:
        """Return the truth (…, classes) as the loss is given it."""
        return truth

    def to_values(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits (…, classes) into probabilities, in fp32: half precision has three digits."""
        return torch.softmax(logits.float(), -1)


class ClassScalingParts(OptionalPart):
    """What a network of classes asks for."""

    part = "classes"
    ClassScaling: Any = ClassScaling

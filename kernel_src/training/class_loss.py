"""## The loss of classes

Cross entropy of the softmax; the truth may be shared between classes, as mixing two photographs leaves it.
"""

from typing import Any

import torch

from kernel_src.recipes.learning import CrossEntropy
from kernel_src.runtime.parts import OptionalPart


def cross_entropy(loss: CrossEntropy, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the loss of each photograph, (B,), from logits (B, classes) and shares of the truth (B, classes)."""
    softened = (1 - loss.smoothing) * truth + loss.smoothing / truth.shape[1]
    return -(softened * torch.log_softmax(logits, 1)).sum(1)


class ClassLossParts(OptionalPart):
    """What the training of classes asks for."""

    part = "classes"
    cross_entropy: Any = staticmethod(cross_entropy)

"""## The average of the weights

Late weights jump about the bottom of the loss; their moving average lies nearer to it. It costs one more copy of the
model and no pass through it.
"""

from collections.abc import Mapping

import torch
from torch import nn

from kernel_src.models.model import load_strictly


class WeightAverage:
    """An exponential moving average of everything in a model that is a number with a fraction.

    Buffers are averaged like the weights, because the statistics of a batch norm belong to the weights they were taken
    with; averaging a constant leaves it as it is. Whole numbers (counters) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with the model's present weights; `decay` is the share of the old average kept at each step."""
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step `step`, counted from 1.

        The first steps are kept shorter than `decay` says, or the random weights of the beginning would fill the
        average for 1 / (1 - decay) steps: TensorFlow's rule, ExponentialMovingAverage(num_updates).
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)

    def to(self, device: torch.device) -> None:
        """Move the average to where the model is."""
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a saved average, of the same names."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the average; a second call undoes the first."""
        trained = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        load_strictly(model, self.tensors, "the average of the weights")
        self.tensors = trained

"""## The network in training

What predicts, and beside it what only the loss learns; a bundle holds the former alone.
"""

from collections.abc import Mapping

import torch
from torch import nn

from kernel_src.competition.constants import TARGETS
from kernel_src.models.model import BiomassNet
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Uncertainty

TRAINING_ONLY = ("loss_parameters.",)  # how the names of such tensors begin


class TrainingNet(BiomassNet):
    """The network with what its loss learns."""

    def __init__(self, experiment: Experiment) -> None:
        """Build with random weights; see `BiomassNet`."""
        super().__init__(experiment)
        # With `Uncertainty` one log variance per target, which start at variance 1.
        self.loss_parameters = nn.ParameterDict()
        if isinstance(experiment.loss, Uncertainty):
            self.loss_parameters["log_variances"] = nn.Parameter(torch.zeros(len(TARGETS)))

    @property
    def log_variances(self) -> torch.Tensor | None:
        """The learnt log variances of the uncertainty loss (5,); None with any other loss."""
        return self.loss_parameters["log_variances"] if "log_variances" in self.loss_parameters else None


def predicting_weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out what only training has."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINING_ONLY)}

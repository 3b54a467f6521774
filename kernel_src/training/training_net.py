"""## The network in training

What predicts, and beside it what only the loss learns and what only training predicts; a bundle holds the former alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import kernel_src.training.auxiliary  # noqa: F401  # part: auxiliary
from kernel_src.competitions.held_facts import facts
from kernel_src.data.training_photographs import FoldData
from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import load_starting_weights
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Uncertainty
from kernel_src.runtime.parts import optional_part
from kernel_src.runtime.randomness import seed_at

TRAINING_ONLY = ("loss_parameters.", "auxiliary.")  # how the names of such tensors begin


class TrainingNet(BackboneNet):
    """The network with what its loss learns."""

    def __init__(self, experiment: Experiment) -> None:
        """Build with random weights; see `BackboneNet`. The auxiliary heads need data: `add_auxiliary`."""
        super().__init__(experiment)
        # With `Uncertainty` one log variance per target, which start at variance 1.
        self.loss_parameters = nn.ParameterDict()
        if isinstance(experiment.loss, Uncertainty):
            self.loss_parameters["log_variances"] = nn.Parameter(torch.zeros(len(facts().targets)))
        self.auxiliary: Any = None  # AuxiliaryHeads

    @property
    def log_variances(self) -> torch.Tensor | None:
        """The learnt log variances of the uncertainty loss (targets,); None with any other loss."""
        return self.loss_parameters["log_variances"] if "log_variances" in self.loss_parameters else None

    def add_auxiliary(self, experiment: Experiment, data: FoldData, rows: np.ndarray) -> None:
        """Add the heads of the experiment's auxiliary targets; edges, scales and classes are those of these rows.

        Raises:
            ValueError: a column has no value in these rows.
        """
        if experiment.auxiliary:
            torch.manual_seed(seed_at(experiment.seed, "auxiliary weights"))
            self.auxiliary = optional_part("auxiliary").AuxiliaryHeads(
                experiment.auxiliary, self.feature_dim, values=data.values, rows=rows, columns=data.columns
            )


def new_model(
    experiment: Experiment, values: np.ndarray, starting_weights: Path | None, inputs: np.ndarray | None = None
) -> TrainingNet:
    """Build the model with its starting weights, scaled to values (rows, targets) and inputs of its training rows."""
    torch.manual_seed(seed_at(experiment.seed, "initial weights"))
    model = TrainingNet(experiment)
    if starting_weights is not None:
        load_starting_weights(model, starting_weights)
    model.fit(values, inputs)
    return model


def predicting_weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out what only training has."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINING_ONLY)}

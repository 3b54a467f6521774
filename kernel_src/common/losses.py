"""## The loss

On z-scores, averaged over the pictures and summed over the five targets.
"""

import torch
from torch.nn import functional

from kernel_src.common.experiment import Experiment


def loss_of(z: torch.Tensor, truth_z: torch.Tensor, experiment: Experiment) -> torch.Tensor:
    """Return the loss of a batch, z-scores (B, 5) against (B, 5), as a scalar."""
    if experiment.loss == "smooth_l1":
        each = functional.smooth_l1_loss(z, truth_z, beta=experiment.loss_beta, reduction="none")
    else:
        each = functional.mse_loss(z, truth_z, reduction="none")
    return each.mean(0).sum()

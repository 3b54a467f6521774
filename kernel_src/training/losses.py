"""## The loss

On z-scores, averaged over the pictures and summed over the targets, unless it says otherwise. Each picture may
carry a weight, that of a pseudo-label for one: a picture of weight 0 teaches nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

import kernel_src.training.class_loss  # noqa: F401  # part: classes
from kernel_src.competitions.held_facts import facts
from kernel_src.models.model import TargetScaling
from kernel_src.recipes.learning import (
    BatchR2,
    CrossEntropy,
    Log1pError,
    Loss,
    MetricSquaredError,
    SmoothL1,
    SqrtError,
    SquaredError,
    Uncertainty,
)
from kernel_src.runtime.parts import optional_part

ROOT_OFFSET = 0.01  # keeps the slope of the square root at 0 finite: 1 / (2 √0.01) = 5
LEAST_BATCH_VARIANCE = 0.1  # of the training rows' variance: what the denominator of a batch's R² is at least


@dataclass(frozen=True)
class Compared:
    """Predictions and truth of a batch, as every loss sees them."""

    z: torch.Tensor  # (B, targets)
    truth_z: torch.Tensor  # (B, targets)
    scaling: TargetScaling
    weights: torch.Tensor | None = None  # (B,) of each picture
    log_variances: torch.Tensor | None = None  # (targets,) that the loss Uncertainty learns

    @property
    def values(self) -> torch.Tensor:
        """The predictions in the units of the targets, (B, targets)."""
        return self.scaling.to_values(self.z)

    @property
    def truth(self) -> torch.Tensor:
        """The truth in the units of the targets, (B, targets)."""
        return self.scaling.to_values(self.truth_z)


def loss_of(
    z: torch.Tensor,
    truth_z: torch.Tensor,
    loss: Loss,
    *,
    scaling: TargetScaling,
    weights: torch.Tensor | None = None,
    log_variances: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss of a batch, z-scores (B, targets) against (B, targets), as a scalar.

    `weights` (B,) multiply each picture's own loss; the sum is divided by B, not by their sum, so that it is the same
    whether one device sees the batch or two halves it (except for `BatchR2`, see `one_minus_batch_r2`).
    `log_variances` (targets,) belong to the loss `Uncertainty`.
    """
    if isinstance(loss, CrossEntropy):
        each = optional_part("classes").cross_entropy(loss, z, truth_z)  # (B,)
    else:
        each = PER_TARGET[type(loss)](loss, Compared(z, truth_z, scaling, weights, log_variances)).sum(1)
    if loss.identities:
        each = each + loss.identities * identity_violation(z, scaling)
    return (each if weights is None else each * weights).mean()


def metric_weights(like: torch.Tensor) -> torch.Tensor:
    """Return what the metric weighs each target with, (targets,), on the device and in the precision of a tensor."""
    return like.new_tensor([facts().weight_of[target] for target in facts().targets])


def training_variance(scaling: TargetScaling) -> torch.Tensor:
    """Return the metric's denominator over the training rows, divided by their number, in g²."""
    weights = metric_weights(scaling.mean)
    overall = (weights * scaling.mean).sum()
    return (weights * (scaling.std.square() + (scaling.mean - overall).square())).sum()


# %%
# Each returns the loss of every number, (B, targets).
def squared_error(loss: SquaredError, given: Compared) -> torch.Tensor:
    """Squared difference of z-scores."""
    return functional.mse_loss(given.z, given.truth_z, reduction="none")


def smooth_l1(loss: SmoothL1, given: Compared) -> torch.Tensor:
    """Half the square over beta, up to beta; the difference less half of beta beyond (Girshick 2015)."""
    each = functional.smooth_l1_loss(given.z, given.truth_z, beta=loss.beta, reduction="none")
    # The metric's weights add up to 1; times their number, so that it is as large as with equal weights.
    return each * (len(facts().targets) * metric_weights(each)) if loss.weights == "metric" else each


def metric_squared_error(loss: MetricSquaredError, given: Compared) -> torch.Tensor:
    """What the metric sums: squared errors by the targets' weights, over the weighted variance of the training rows.

    On all training rows at once it is exactly 1 - R².
    """
    squared = functional.mse_loss(given.z, given.truth_z, reduction="none")
    return squared * given.scaling.std.square() * metric_weights(squared) / training_variance(given.scaling)


def one_minus_batch_r2(loss: BatchR2, given: Compared) -> torch.Tensor:
    """1 - R² of the batch: its weighted squared error over its weighted squared distance from its own weighted mean.

    Both are sums over pictures and targets, in their units, with weight of the picture times weight of the target. The
    batch is what one device computes at once: with two devices each has its own half, and where memory is too little
    and a batch is cut, each part; the loss is then the mean over those. A batch whose labels hardly differ, one picture
    of bare ground for one, would count without limit: its denominator is at least a tenth of what the training rows let
    expect.
    """
    pictures = given.z.new_ones(len(given.z)) if given.weights is None else given.weights
    weights = pictures[:, None] * metric_weights(given.z)  # (B, targets)
    whole = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    mean = (weights * given.truth).sum() / whole
    total = (weights * (given.truth - mean).square()).sum()
    least = LEAST_BATCH_VARIANCE * whole * training_variance(given.scaling)
    # Times B, because the caller averages over the pictures, after multiplying by their weights.
    return len(pictures) * metric_weights(given.z) * (given.values - given.truth).square() / torch.maximum(total, least)


def log1p_error(loss: Log1pError, given: Compared) -> torch.Tensor:
    """Relative errors count, so that 2 g for 1 g is as bad as about 50 g for 25 g."""
    return (_signed_log1p(given.values) - _signed_log1p(given.truth)).square()


def sqrt_error(loss: SqrtError, given: Compared) -> torch.Tensor:
    """Squared difference of square roots."""
    return (_signed_root(given.values) - _signed_root(given.truth)).square()


def uncertainty(loss: Uncertainty, given: Compared) -> torch.Tensor:
    """1/(2σ²) error² + log σ, with s = log σ². It can become negative.

    Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", eq. 7.

    Raises:
        ValueError: there are no log variances.
    """
    if given.log_variances is None:
        raise ValueError("the loss Uncertainty needs log_variances, which are learnt with the network")
    squared = functional.mse_loss(given.z, given.truth_z, reduction="none")
    return 0.5 * (torch.exp(-given.log_variances) * squared + given.log_variances)


PER_TARGET: dict[type[Loss], Callable[[Any, Compared], torch.Tensor]] = {
    SquaredError: squared_error,
    SmoothL1: smooth_l1,
    MetricSquaredError: metric_squared_error,
    BatchR2: one_minus_batch_r2,
    Log1pError: log1p_error,
    SqrtError: sqrt_error,
    Uncertainty: uncertainty,
}


def _signed_log1p(values: torch.Tensor) -> torch.Tensor:
    """Extend log(1 + g) to negative predictions by its mirror image: cut off at 0 they would get no gradient."""
    return values.sign() * values.abs().log1p()


def _signed_root(values: torch.Tensor) -> torch.Tensor:
    """Return √(|g| + c) - √c with the sign of g, written so that autograd finds its slope at 0 too."""
    return values / ((values.abs() + ROOT_OFFSET).sqrt() + ROOT_OFFSET**0.5)


# %%
def identity_violation(z: torch.Tensor, scaling: TargetScaling) -> torch.Tensor:
    """Return by how much the sums of the competition fail, (B,).

    Squared differences over the variance of the sum's own target, added up over the two: in the units of the MSE.
    """
    values = dict(zip(facts().targets, scaling.to_values(z).unbind(1), strict=True))
    deviation = dict(zip(facts().targets, scaling.std, strict=True))
    violations = [
        ((values[total] - torch.stack([values[part] for part in parts]).sum(0)) / deviation[total]).square()
        for total, parts in facts().identities.items()
    ]
    return torch.stack(violations).sum(0)

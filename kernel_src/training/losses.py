"""## The loss

On z-scores, averaged over the pictures and summed over the five targets, unless it says otherwise. Each picture may
carry a weight, that of a pseudo-label for one: a picture of weight 0 teaches nothing.
"""

import torch
from torch.nn import functional

from kernel_src.competition.constants import IDENTITIES, TARGET_WEIGHTS, TARGETS
from kernel_src.models.model import TargetScaling
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Log1pError, MetricSquaredError, SmoothL1, Uncertainty


def loss_of(
    z: torch.Tensor,
    truth_z: torch.Tensor,
    experiment: Experiment,
    *,
    scaling: TargetScaling,
    weights: torch.Tensor | None = None,
    log_variances: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss of a batch, z-scores (B, 5) against (B, 5), as a scalar.

    `weights` (B,) multiply each picture's own loss; the sum is divided by B, not by their sum, so that it is the same
    whether one device sees the batch or two halves it. `log_variances` (5,) belong to the loss `uncertainty`.
    """
    each = _loss_per_target(z, truth_z, experiment, scaling, log_variances).sum(1)  # (B,)
    if experiment.loss.identities:
        each = each + experiment.loss.identities * identity_violation(z, scaling)
    return (each if weights is None else each * weights).mean()


def _loss_per_target(
    z: torch.Tensor,
    truth_z: torch.Tensor,
    experiment: Experiment,
    scaling: TargetScaling,
    log_variances: torch.Tensor | None,
) -> torch.Tensor:
    """Return the loss of every number, (B, 5)."""
    loss = experiment.loss
    if isinstance(loss, SmoothL1):
        return functional.smooth_l1_loss(z, truth_z, beta=loss.beta, reduction="none")
    if isinstance(loss, Log1pError):
        # In grams: relative errors count, so that 2 g for 1 g is as bad as about 50 g for 25 g.
        return (_signed_log1p(scaling.to_grams(z)) - _signed_log1p(scaling.to_grams(truth_z))).square()
    squared = functional.mse_loss(z, truth_z, reduction="none")
    if isinstance(loss, MetricSquaredError):
        # What the metric sums: squared grams by the targets' weights, over the weighted variance of the training rows.
        # On all training rows at once it is exactly 1 - R².
        metric_weights = z.new_tensor([TARGET_WEIGHTS[target] for target in TARGETS])
        overall = (metric_weights * scaling.mean).sum()
        variance = (metric_weights * (scaling.std.square() + (scaling.mean - overall).square())).sum()
        return squared * scaling.std.square() * metric_weights / variance
    if isinstance(loss, Uncertainty):
        # Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", eq. 7, with s = log σ²:
        # 1/(2σ²) error² + log σ. It can become negative.
        if log_variances is None:
            raise ValueError("the loss uncertainty needs the model's log_variances")
        return 0.5 * (torch.exp(-log_variances) * squared + log_variances)
    return squared


def _signed_log1p(grams: torch.Tensor) -> torch.Tensor:
    """Extend log(1 + g) to negative predictions by its mirror image: cut off at 0 they would get no gradient."""
    return grams.sign() * grams.abs().log1p()


# %%
def identity_violation(z: torch.Tensor, scaling: TargetScaling) -> torch.Tensor:
    """Return by how much GDM = Green + Clover and Total = GDM + Dead fail, (B,).

    Squared grams over the variance of the sum's own target, added up over the two: in the units of the MSE.
    """
    grams = dict(zip(TARGETS, scaling.to_grams(z).unbind(1), strict=True))
    deviation = dict(zip(TARGETS, scaling.std, strict=True))
    violations = [
        ((grams[total] - torch.stack([grams[part] for part in parts]).sum(0)) / deviation[total]).square()
        for total, parts in IDENTITIES.items()
    ]
    return torch.stack(violations).sum(0)

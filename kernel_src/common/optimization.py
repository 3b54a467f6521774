"""## Optimiser and schedule

The heads learn from nothing, the backbone must not forget what it knows: each has its own learning rate. Biases and
norms are not decayed. The schedule is a plain function of the step, so a resumed run needs no state of it.
"""

import math

import torch
from torch import nn

from kernel_src.common.experiment import Experiment
from kernel_src.common.model import BiomassNet


def build_optimizer(model: BiomassNet, experiment: Experiment) -> torch.optim.Optimizer:
    """Group the parameters by learning rate and decay, and hand them to the experiment's optimiser."""
    backbone_rate = experiment.backbone_learning_rate or experiment.learning_rate
    groups = [
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for module, rate in ((model.backbone, backbone_rate), (model.heads, experiment.learning_rate))
        for parameters, decay in ((_decayed(module, True), experiment.weight_decay), (_decayed(module, False), 0.0))
        if parameters
    ]
    if experiment.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=experiment.learning_rate)
    return torch.optim.AdamW(groups, lr=experiment.learning_rate)


def _decayed(module: nn.Module, wanted: bool) -> list[nn.Parameter]:
    """Select matrices and kernels, or else what has one dimension: biases and the scales of norms."""
    return [p for p in module.parameters() if p.requires_grad and (p.ndim > 1) == wanted]


def learning_rate_factor(experiment: Experiment, step: int, steps_per_epoch: int) -> float:
    """Return what the learning rates are multiplied by at an optimiser step, counted from 0."""
    epoch = step / steps_per_epoch
    length = experiment.schedule_epochs or experiment.epochs
    if experiment.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / length)))
    if experiment.schedule == "step":
        return experiment.schedule_factor ** int(epoch // length)
    if experiment.schedule == "warmup_cosine":
        warmup = experiment.warmup_epochs
        if epoch < warmup:
            return (step + 1) / (warmup * steps_per_epoch)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - warmup) / max(1, length - warmup))))
    return 1.0


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply every group's own rate by `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor

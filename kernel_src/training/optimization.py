"""## Optimiser and schedule

The heads learn from nothing, the backbone must not forget what it knows: each has its own learning rate. Biases and
norms are not decayed. The schedule is a plain function of the step, so a resumed run needs no state of it.
"""

import math

import torch

from kernel_src.models.model import BiomassNet
from kernel_src.recipes.experiment import Experiment


def build_optimizer(model: BiomassNet, experiment: Experiment) -> torch.optim.Optimizer:
    """Group the trained parameters by learning rate and decay, and hand them to the experiment's optimiser.

    The backbone has its own rate; heads, depth branch and what the loss learns have the other.
    """
    backbone_rate = experiment.backbone_learning_rate or experiment.learning_rate
    # Position embeddings and class tokens, which timm does not decay either: they are biases of another shape.
    exempt = {f"backbone.{name}" for name in getattr(model.backbone, "no_weight_decay", set)()}
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = []
    for in_backbone, rate in ((True, backbone_rate), (False, experiment.learning_rate)):
        for decays, decay in ((True, experiment.weight_decay), (False, 0.0)):
            parameters = [
                parameter
                for name, parameter in named.items()
                if name.startswith("backbone.") == in_backbone
                and (parameter.ndim > 1 and name not in exempt) == decays  # biases and norms have one dimension
            ]
            if parameters:
                groups.append({"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay})
    if experiment.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=experiment.learning_rate)
    return torch.optim.AdamW(groups, lr=experiment.learning_rate)


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

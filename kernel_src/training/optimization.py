"""## Optimiser and schedule

The heads learn from nothing, the backbone must not forget what it knows: each has its own learning rate. Biases and
norms are not decayed. The schedule is a plain function of the step, so a resumed run needs no state of it.
"""

import math

import torch

from kernel_src.models.model import BiomassNet
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Cosine, RMSprop, Steps, WarmupCosine


def build_optimizer(model: BiomassNet, experiment: Experiment) -> torch.optim.Optimizer:
    """Group the trained parameters by learning rate and decay, and hand them to the experiment's optimiser.

    The backbone has its own rate; heads, depth branch and what the loss learns have the other.
    """
    backbone_rate = experiment.optimizer.backbone_lr or experiment.optimizer.lr
    # Position embeddings and class tokens, which timm does not decay either: they are biases of another shape.
    exempt = {f"backbone.{name}" for name in getattr(model.backbone, "no_weight_decay", set)()}
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = []
    for in_backbone, rate in ((True, backbone_rate), (False, experiment.optimizer.lr)):
        for decays, decay in ((True, experiment.optimizer.weight_decay), (False, 0.0)):
            parameters = [
                parameter
                for name, parameter in named.items()
                if name.startswith("backbone.") == in_backbone
                and (parameter.ndim > 1 and name not in exempt) == decays  # biases and norms have one dimension
            ]
            if parameters:
                groups.append({"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay})
    if isinstance(experiment.optimizer, RMSprop):
        return torch.optim.RMSprop(groups, lr=experiment.optimizer.lr)
    return torch.optim.AdamW(groups, lr=experiment.optimizer.lr)


def learning_rate_factor(experiment: Experiment, step: int, steps_per_epoch: int) -> float:
    """Return what the learning rates are multiplied by at an optimiser step, counted from 0."""
    epoch = step / steps_per_epoch
    schedule = experiment.schedule
    if isinstance(schedule, Steps):
        return schedule.factor ** int(epoch // schedule.every)
    if not isinstance(schedule, Cosine):
        return 1.0
    warmup = schedule.warmup if isinstance(schedule, WarmupCosine) else 0
    if epoch < warmup:
        return (step + 1) / (warmup * steps_per_epoch)
    length = (schedule.length or schedule.epochs) - warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - warmup) / max(1, length))))


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply every group's own rate by `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor

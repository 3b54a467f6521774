"""## Optimiser and schedule

The heads learn from nothing, the encoder must not forget what it was pretrained for: each has its own learning rate,
and early layers may have a lower one than late ones. Biases and norms are not decayed. The schedule is a plain function
of the step, so a resumed run needs no state of it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kernel_src.models.backbones import layer_groups
from kernel_src.recipes.learning import Constant, Cosine, Optimizer, RMSprop, Schedule, Steps, WarmupCosine


def build_optimizer(model: nn.Module, spec: Optimizer, encoder: str = "backbone") -> torch.optim.Optimizer:
    """Group the trained parameters by learning rate and decay, and hand them to the optimiser.

    `encoder` is the path of the encoder in the model. It has its own rate; everything else has the other.
    """
    backbone = model.get_submodule(encoder)
    # Position embeddings and class tokens, which timm does not decay either: they are biases of another shape.
    exempt = {f"{encoder}.{name}" for name in getattr(backbone, "no_weight_decay", set)()}
    scales = {f"{encoder}.{name}": scale for name, scale in layer_scales(backbone, spec.layer_decay).items()}
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = []
    for in_encoder, rate in ((True, spec.backbone_lr or spec.lr), (False, spec.lr)):
        for decays, decay in ((True, spec.weight_decay), (False, 0.0)):
            chosen = {
                name: parameter
                for name, parameter in named.items()
                if name.startswith(f"{encoder}.") == in_encoder
                and (parameter.ndim > 1 and name not in exempt) == decays  # biases and norms have one dimension
            }
            for scale in sorted({scales.get(name, 1.0) for name in chosen}):
                parameters = [parameter for name, parameter in chosen.items() if scales.get(name, 1.0) == scale]
                own = rate * scale
                groups.append({"params": parameters, "lr": own, "initial_lr": own, "weight_decay": decay})
    if isinstance(spec, RMSprop):
        return torch.optim.RMSprop(groups, lr=spec.lr)
    return torch.optim.AdamW(groups, lr=spec.lr)


def layer_scales(backbone: nn.Module, decay: float) -> dict[str, float]:
    """Return what the rate of each parameter of a backbone is multiplied by: decay to the distance from its last layer.

    Layers are timm's own groups, as `timm.optim.param_groups_layer_decay` has them: the last block of a ViT, and the
    norm after it, have the whole rate (BEiT, Bao et al. 2021). Empty where every layer has it.

    Raises:
        ValueError: timm has no layer groups of this backbone.
    """
    if decay == 1:
        return {}
    groups = layer_groups(backbone)
    return {name: decay ** (len(groups) - 1 - layer) for layer, names in enumerate(groups) for name in names}


# %%
def learning_rate_factor(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """Return what the learning rates are multiplied by at an optimiser step, counted from 0."""
    return SCHEDULES[type(schedule)](schedule, step, steps_per_epoch)


def constant_factor(schedule: Constant, step: int, steps_per_epoch: int) -> float:
    """Return 1."""
    return 1.0


def cosine_factor(schedule: Cosine, step: int, steps_per_epoch: int) -> float:
    """Return half a cosine from 1 to 0 over `length` epochs, and 0 after it."""
    return _half_cosine(step / steps_per_epoch / (schedule.length or schedule.epochs))


def warmup_cosine_factor(schedule: WarmupCosine, step: int, steps_per_epoch: int) -> float:
    """Return a line up to 1 at the last step of the warm-up, then half a cosine over what is left of `length`."""
    epoch, length = step / steps_per_epoch, schedule.length or schedule.epochs
    if epoch < schedule.warmup:
        return (step + 1) / (schedule.warmup * steps_per_epoch)
    return _half_cosine((epoch - schedule.warmup) / max(1, length - schedule.warmup))


def steps_factor(schedule: Steps, step: int, steps_per_epoch: int) -> float:
    """Return the factor to the power of how often `every` epochs have passed."""
    return float(schedule.factor ** int(step / steps_per_epoch // schedule.every))


SCHEDULES: dict[type[Schedule], Callable[[Any, int, int], float]] = {
    Constant: constant_factor,
    Cosine: cosine_factor,
    WarmupCosine: warmup_cosine_factor,
    Steps: steps_factor,
}


def _half_cosine(way: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, way)))


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply every group's own rate by `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor

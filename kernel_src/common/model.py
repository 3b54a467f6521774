"""## The model

Any timm backbone, pooled its own way, and one small head per target. The targets are learnt as z-scores; the mean and
spread they were scaled with are buffers of the model, so they travel inside the weights and cannot be forgotten.
"""

from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from kernel_src.common.competition import TARGETS
from kernel_src.common.experiment import Experiment

CONSTANT_BELOW_G = 1e-6  # the deviation of equal numbers is not exactly zero: 1e-17 for seven times 0.1


class TargetScaling(nn.Module):
    """Mean and standard deviation of each target over the training rows, in grams."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        """Start as the identity; `fit` sets the numbers."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(TARGETS)))
        self.register_buffer("std", torch.ones(len(TARGETS)))

    def fit(self, grams: np.ndarray) -> None:
        """Take mean and population standard deviation of (rows, 5); a constant target keeps a deviation of 1."""
        std = grams.std(0)
        self.mean.copy_(torch.from_numpy(grams.mean(0)))
        self.std.copy_(torch.from_numpy(np.where(std > CONSTANT_BELOW_G, std, 1.0)))

    def to_z(self, grams: torch.Tensor) -> torch.Tensor:
        """Scale grams (…, 5) to z-scores."""
        return (grams - self.mean) / self.std

    def to_grams(self, z: torch.Tensor) -> torch.Tensor:
        """Undo `to_z`, in fp32: half precision has steps of 0.03 g at 60 g."""
        return z.float() * self.std + self.mean


class BiomassNet(nn.Module):
    """Backbone and five heads; `forward` gives z-scores."""

    def __init__(self, experiment: Experiment) -> None:
        """Build with random weights, exactly as the experiment says.

        Raises:
            RuntimeError: timm does not know the backbone.
        """
        super().__init__()
        # Nets with position embeddings want to know the size of their input; the others refuse to be told.
        config = timm.get_pretrained_cfg(experiment.backbone)
        size = {"img_size": experiment.image_size_px} if config is not None and config.fixed_input_size else {}
        self.backbone = timm.create_model(experiment.backbone, num_classes=0, **size)
        self.heads = nn.ModuleList(_head(self.backbone.head_hidden_size, experiment) for _ in TARGETS)
        self.scaling = TargetScaling()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map normalised pictures (B, 3, H, W) to z-scores (B, 5)."""
        features = self.backbone(pictures)  # (B, F)
        return torch.cat([head(features) for head in self.heads], 1)


def _head(width: int, experiment: Experiment) -> nn.Sequential:
    layers: list[nn.Module] = []
    for hidden in experiment.head_hidden:
        activation = nn.ReLU() if experiment.head_activation == "relu" else nn.GELU()
        layers += [nn.Linear(width, hidden), activation, nn.Dropout(experiment.head_dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 1))


# %%
class WeightsError(Exception):
    """Weights do not fit the model; the message names the keys."""


def load_starting_weights(model: BiomassNet, path: Path) -> None:
    """Load a pretrained backbone from a safetensors file with timm's own names; nothing may be missing or left over.

    Only the classifier of the pretraining task is dropped, by the name that timm gives it.

    Raises:
        WeightsError: a key is missing, left over, or of another shape.
    """
    config = model.backbone.pretrained_cfg
    classifiers = config["classifier"]
    dropped = {classifiers} if isinstance(classifiers, str) else set(classifiers)
    tensors = {key: t for key, t in load_file(path).items() if key.rpartition(".")[0] not in dropped}
    load_strictly(model.backbone, tensors, str(path))


def load_strictly(model: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy tensors into a model, in the model's own precision.

    Raises:
        WeightsError: listing every key that is missing, left over, or of another shape.
    """
    wanted = model.state_dict()
    faults = [f"{key} is missing" for key in wanted if key not in tensors]
    faults += [f"{key} is not in the model" for key in tensors if key not in wanted]
    faults += [
        f"{key} has shape {tuple(tensors[key].shape)}, the model {tuple(wanted[key].shape)}"
        for key in wanted
        if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    if faults:
        more = f" … {len(faults)} in all" if len(faults) > 5 else ""
        raise WeightsError(f"{source} does not fit the model: {'; '.join(faults[:5])}{more}")
    model.load_state_dict(tensors, strict=True)


def load_fold(experiment: Experiment, path: Path) -> BiomassNet:
    """Rebuild one fold's model from its weights, strictly, in fp32.

    Raises:
        WeightsError: a key is missing, left over, or misshapen.
    """
    model = BiomassNet(experiment)
    load_strictly(model, load_file(path), str(path))
    return model.eval()

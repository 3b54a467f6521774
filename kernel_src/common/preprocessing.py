"""## Preprocessing

Each backbone was pretrained with its own mean and standard deviation; they are asked from timm at training time and
saved with the weights, so that inference cannot use others.
"""

from dataclasses import dataclass

import timm
import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What turns uint8 pictures into the network's input; RGB, in units of 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalise(self, pictures: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) uint8 into normalised float32 on the same device."""
        mean = torch.tensor(self.mean, device=pictures.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pictures.device).view(3, 1, 1)
        return (pictures.float() / 255 - mean) / std


def preprocessing_of(backbone: nn.Module) -> Preprocessing:
    """Ask timm for the data config a backbone was pretrained with."""
    config = timm.data.resolve_model_data_config(backbone)
    return Preprocessing(mean=tuple(config["mean"]), std=tuple(config["std"]))

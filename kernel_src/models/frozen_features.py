"""## Frozen features

What a pretrained backbone sees, without any fine-tuning. Each picture of a photograph (the whole, or its halves, at one
scale or several) passes the backbone once; the maps of some layers, pooled in some ways, stand side by side.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kernel_src.data.images import Framing
from kernel_src.models.backbones import build_backbone
from kernel_src.models.layer_features import missing_layers, pooled_layers
from kernel_src.models.model import without_memory
from kernel_src.models.starting_weights import load_backbone
from kernel_src.recipes.network import RegressorHead
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.weight_files import open_weights


def regressor_head(experiment: Predictor) -> RegressorHead:
    """Return the head of an experiment of frozen features.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(experiment.head, RegressorHead):
        raise ValueError(f"{experiment.name} is fine-tuned: its head is not a RegressorHead")
    return experiment.head


def feature_blocks(experiment: Predictor, framings: tuple[Framing, ...]) -> list[str]:
    """Name what stands side by side in the features, in its order."""
    pool = regressor_head(experiment).pool
    own = ["own pooling"] if "own" in pool else []
    poolings = [pooling for pooling in pool if pooling != "own"]
    of_a_picture = own + [f"layer {layer} {pooling}" for layer in experiment.encoder.layers for pooling in poolings]
    return [f"{one.part} {one.height_px}x{one.width_px} {block}" for one in framings for block in of_a_picture]


# %%
class FrozenFeatures(nn.Module):
    """A backbone that is never trained, and what of it becomes features."""

    def __init__(self, experiment: Predictor) -> None:
        """Build with random weights, exactly as the experiment says.

        Raises:
            RuntimeError: timm does not know the backbone.
            ValueError: the backbone cannot do what the experiment asks of it.
        """
        super().__init__()
        self.backbone: Any = build_backbone(experiment).requires_grad_(False).eval()
        self.layers, self.poolings = experiment.encoder.layers, regressor_head(experiment).pool
        for what in missing_layers(self.backbone, self.layers, self.poolings):
            raise ValueError(f"{experiment.name}: {experiment.encoder.timm} {what}")

    def forward(self, *pictures: torch.Tensor) -> torch.Tensor:
        """Map normalised pictures (B, 3, H, W), one for each framing, to features (B, F) in fp32."""
        blocks = [pooled_layers(self.backbone, one, self.layers, self.poolings) for one in pictures]
        return torch.cat([block.float() for of_one in blocks for block in of_one], 1)


def load_frozen_features(experiment: Predictor, weights: Path) -> FrozenFeatures:
    """Build the backbone and load its pretrained weights, strictly.

    Raises:
        WeightsError: a key is missing, left over, of another shape, or not finite; or the backbone is far larger than
            what its file holds.
        ValueError: the backbone cannot do what the experiment asks of it.
    """
    _refuse_far_larger(experiment, weights)
    features = FrozenFeatures(experiment)
    load_backbone(features.backbone, weights)
    return features.eval()


def _refuse_far_larger(experiment: Predictor, weights: Path) -> None:
    """Compare sizes before the backbone is built: its embeddings may be resampled, nothing else may grow."""
    with open_weights(weights) as file:
        held = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  # no mapping
    backbone = without_memory(lambda: build_backbone(experiment), experiment.encoder.timm)
    wanted = sum(p.numel() for name, p in backbone.named_parameters() if "pos" not in name)
    if wanted > 1.1 * held:
        raise WeightsError(
            f"{weights} does not fit the model: it holds {held:,} numbers, {experiment.encoder.timm} has {wanted:,}"
        )

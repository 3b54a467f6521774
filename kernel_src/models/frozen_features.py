"""## Frozen features

What a pretrained backbone sees, without any fine-tuning. Each picture of a photograph (the whole, or its halves, at one
scale or several) passes the backbone once; the maps of some layers, pooled in some ways, stand side by side.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import kernel_src.models.spread  # noqa: F401  # part: spread
from kernel_src.data.images import Framing
from kernel_src.models.backbones import build_backbone
from kernel_src.models.layer_features import missing_layers, pooled_layers
from kernel_src.models.model import without_memory
from kernel_src.models.precision import PrecisionChoice
from kernel_src.models.starting_weights import load_backbone
from kernel_src.recipes.network import RegressorHead
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.device import DeviceReport, Spread, probed_gpu_memory
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.parts import held_parts, optional_part, require_parts
from kernel_src.runtime.weight_files import tensor_files, tensor_headers

WORKING_SHARE = 0.2  # of a GPU's memory, for pictures and feature maps beside the weights


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

    settled: PrecisionChoice | None = None  # of one that is spread over several devices, and stays so

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
        features = torch.cat([block.float() for of_one in blocks for block in of_one], 1)
        return features.to(pictures[0].device)  # where it is spread they are on the last device

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "FrozenFeatures":
        """Leave each layer of a spread backbone where and how it is, whatever `to` says."""
        return self if self.settled is not None else super()._apply(fn, recurse)


def load_frozen_features(experiment: Predictor, weights: Path, spread: Spread | None = None) -> FrozenFeatures:
    """Build the backbone and load its pretrained weights, strictly; with `spread` each layer to its device.

    Raises:
        MissingPart: it is to be spread, and this notebook was built without that.
        WeightsError: a key is missing, left over, of another shape, or not finite; or the backbone is far larger than
            what its file holds.
        ValueError: the backbone cannot do what the experiment asks of it.
    """
    _refuse_far_larger(experiment, weights)
    if spread is not None:
        fill = optional_part("spread").fill_spread
        empty = without_memory(lambda: FrozenFeatures(experiment), experiment.encoder.timm)
        empty.settled = fill(empty.backbone, weights, spread, experiment.encoder.precision, experiment.pictures.size_px)
        return empty.eval()
    features = FrozenFeatures(experiment)
    load_backbone(features.backbone, weights)
    return features.eval()


def numbers_in(weights: Path) -> int:
    """Count the numbers in weights, from their headers.

    Raises:
        WeightsError: see `tensor_files`.
    """
    return sum(header.numbers for header in tensor_headers(tensor_files(weights)).values())


def must_spread(numbers: int, half: bool, memory: tuple[int, int]) -> bool:
    """Return whether a backbone of so many numbers finds no room on a GPU whose free and total memory are given.

    Its weights take 2 bytes each in fp16 and 4 in fp32; a fifth of the GPU is kept for the arithmetic.
    """
    free, total = memory
    return numbers * (2 if half else 4) + WORKING_SHARE * total > free


def device_for(experiment: Predictor, weights: Path, device: DeviceReport) -> DeviceReport:
    """Return the devices as the backbone needs them: each computes for itself, or all of them share one net.

    Only a backbone that one of several GPUs cannot hold is spread, see `must_spread`.

    Raises:
        MissingPart: it is to be spread, and this notebook was built without that.
        WeightsError: the weights cannot be read.
    """
    if device.kind != "cuda" or device.count == 1:
        return device
    half, numbers = device.half and experiment.encoder.precision != "fp32", numbers_in(weights)
    memory = probed_gpu_memory(0)
    if memory is None or not must_spread(numbers, half, memory):
        return device
    require_parts(["spread"], held_parts())
    return replace(device, count=1, gpus_per_net=device.count)


def _refuse_far_larger(experiment: Predictor, weights: Path) -> None:
    """Compare sizes before the backbone is built: its embeddings may be resampled, nothing else may grow."""
    held = numbers_in(weights)
    backbone = without_memory(lambda: build_backbone(experiment), experiment.encoder.timm)
    wanted = sum(p.numel() for name, p in backbone.named_parameters() if "pos" not in name)
    if wanted > 1.1 * held:
        raise WeightsError(
            f"{weights} does not fit the model: it holds {held:,} numbers, {experiment.encoder.timm} has {wanted:,}"
        )

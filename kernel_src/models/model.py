"""## The model

Any timm backbone, pooled its own way, a depth branch where asked for, and one small head per target. The targets are
learnt as z-scores; the mean and spread they were scaled with are buffers of the model, so they travel inside the
weights and cannot be forgotten.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import kernel_src.models.fusion  # noqa: F401  # part: depth
from kernel_src.competition.constants import TARGETS
from kernel_src.models.backbones import build_backbone, hold_frozen_statistics
from kernel_src.models.precision import PrecisionChoice
from kernel_src.recipes.network import Perceptron, PooledHead
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.parts import optional_part
from kernel_src.runtime.weight_files import read_weights

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


class GramsNet(nn.Module):
    """A network that answers in z-scores (B, 5), and the scaling that makes grams of them."""

    scaling: TargetScaling
    in_fp32: bool = False  # whatever the device is fast in: fp16 is not precise enough for it
    settled: PrecisionChoice | None = None  # decided while it was loaded, for good: there is no room for another


class BiomassNet(GramsNet):
    """Backbone, depth branch if there is one, and five heads; `forward` gives z-scores."""

    def __init__(self, experiment: Predictor) -> None:
        """Build with random weights, exactly as the experiment says.

        The frozen depth model is not part of it: all folds share one.

        Raises:
            RuntimeError: timm does not know the backbone.
            ValueError: the backbone cannot do what the experiment asks of it.
        """
        super().__init__()
        self.backbone = build_backbone(experiment)
        self.depth_channels = experiment.depth_channels
        self.depth_in_stem = experiment.depth is not None and experiment.depth.fusion == "rgbd"
        self.depth_branch = nn.ModuleDict()
        self.feature_dim = int(self.backbone.head_hidden_size)  # type: ignore[arg-type]  # of what the heads see
        if experiment.depth and not self.depth_in_stem:
            self.depth_branch = optional_part("depth").depth_branch(experiment, self.feature_dim)
            self.feature_dim = int(self.depth_branch["fusion"].out_features)  # type: ignore[arg-type]
        head = experiment.head
        if not isinstance(head, PooledHead):
            raise ValueError(f"{experiment.name}: {type(head).__name__} is not a head of a trained network")
        self.heads = nn.ModuleList(_perceptron(self.feature_dim, head) for _ in TARGETS)
        self.scaling = TargetScaling()

    def train(self, mode: bool = True) -> "BiomassNet":
        """Switch to training, except frozen layers: the statistics of their batch norms stay what they are."""
        super().train(mode)
        hold_frozen_statistics(self.backbone)
        return self

    def forward(self, pictures: torch.Tensor, depth: torch.Tensor | None = None) -> torch.Tensor:
        """Map normalised pictures (B, 3, H, W), with their depth (B, C, H, W) if it has a branch, to z-scores (B, 5).

        Raises:
            ValueError: depth is missing, not wanted, or of another number of channels.
        """
        given = 0 if depth is None else depth.shape[1]
        if given != self.depth_channels:
            raise ValueError(f"the model wants {self.depth_channels} channels of depth and was given {given}")
        if depth is None:
            features = self.backbone(pictures)  # (B, F)
        elif self.depth_in_stem:
            features = self.backbone(torch.cat([pictures, depth.to(pictures.dtype)], 1))
        else:
            features = self.depth_branch["fusion"](self.backbone(pictures), self.depth_branch["encoder"](depth))
        return torch.cat([head(features) for head in self.heads], 1)


# %%
def _perceptron(width: int, head: Perceptron) -> nn.Sequential:
    layers: list[nn.Module] = []
    for hidden in head.hidden:
        activation = nn.ReLU() if head.activation == "relu" else nn.GELU()
        layers += [nn.Linear(width, hidden), activation, nn.Dropout(head.dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 1))


# %%
class WithoutMemory(TorchFunctionMode):
    """A block in which parameters get their shapes and no memory: they are what torch.empty makes, on the meta device.

    `with torch.device("meta")` would do the same to everything, also to the numbers with which some networks of timm
    (RegNet, CSATv2) compute their own shape.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call torch as it was meant, but for torch.empty."""
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


Net = TypeVar("Net", bound=nn.Module)
# What goes wrong inside timm, torch and transformers when they are asked for what they cannot build.
BUILD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)


def without_memory(build: Callable[[], Net], source: str) -> Net:
    """Build a network that has shapes and no weights.

    Raises:
        WeightsError: it cannot be built; `source` says for what.
    """
    try:
        with WithoutMemory():
            return build()
    except BUILD_ERRORS:
        pass  # a hybrid of timm sends a picture through its stem to learn its size: then that takes no memory either
    try:
        with torch.device("meta"):
            return build()
    except BUILD_ERRORS as error:
        raise WeightsError(f"{source}: its network cannot be built ({type(error).__name__}: {error})") from None


def filled(build: Callable[[], Net], tensors: Mapping[str, torch.Tensor], source: str) -> Net:
    """Build a network around the tensors of a file, strictly, in the network's own precision.

    Names and shapes are compared before anything large is made, and the random weights that the tensors would replace
    are never drawn, which takes most of the time of building.

    Raises:
        WeightsError: the tensors do not fit, or there is no such network.
    """
    model = without_memory(build, source)
    wanted = model.state_dict()
    _refuse(misfits(wanted, tensors), source)
    owned = {key: tensor.to(wanted[key].dtype, copy=True) for key, tensor in tensors.items()}
    model.load_state_dict(owned, strict=True, assign=True)
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        model = build()  # it computes something of its own, which is in no file
        load_strictly(model, owned, source)
    return model


def misfits(wanted: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """List every key that is missing, left over, of another shape, or of whole numbers instead of weights."""
    faults = [f"{key} is missing" for key in wanted if key not in tensors]
    faults += [f"{key} is not in the model" for key in tensors if key not in wanted]
    for key in wanted:
        if key in tensors and tensors[key].shape != wanted[key].shape:
            faults.append(f"{key} has shape {tuple(tensors[key].shape)}, the model {tuple(wanted[key].shape)}")
        elif key in tensors and wanted[key].is_floating_point() and not tensors[key].is_floating_point():
            faults.append(f"{key} holds {tensors[key].dtype}, no weights")
    return faults


def _refuse(faults: list[str], source: str) -> None:
    if faults:
        more = f" … {len(faults)} in all" if len(faults) > 5 else ""
        raise WeightsError(f"{source} does not fit the model: {'; '.join(faults[:5])}{more}")


def load_strictly(model: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy tensors into a model, in the model's own precision.

    Raises:
        WeightsError: listing every key that is missing, left over, or of another shape.
    """
    _refuse(misfits(model.state_dict(), tensors), source)
    model.load_state_dict(tensors, strict=True)


# %%
def load_fold(experiment: Predictor, path: Path) -> BiomassNet:
    """Rebuild one fold's model from its weights, strictly, in fp32.

    Raises:
        WeightsError: the file holds no weights; a key is missing, left over, misshapen or not finite; or the numbers
            that are divided by are not above 0.
    """
    tensors = read_weights(path)
    model = filled(lambda: BiomassNet(experiment), tensors, str(path))
    _refuse_divisors(tensors, path)
    return model.eval()


def refill_fold(model: GramsNet, path: Path) -> None:
    """Put the weights of another fold into a network, in its own precision; nothing is overwritten if they do not fit.

    Raises:
        WeightsError: as for `load_fold`.
    """
    tensors = read_weights(path)
    _refuse(misfits(model.state_dict(), tensors), str(path))
    _refuse_divisors(tensors, path)
    model.load_state_dict(tensors, strict=True)


def _refuse_divisors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse numbers that are divided by and are not above 0."""
    if not bool((tensors["scaling.std"] > 0).all()):
        raise WeightsError(f"{path}: scaling.std {tensors['scaling.std'].tolist()} must be above 0: train again")
    if negative := [key for key, value in tensors.items() if key.endswith("running_var") and bool((value < 0).any())]:
        raise WeightsError(f"{path}: variances below 0 in {', '.join(negative[:3])}: make the bundle again")

"""## The model

Any timm backbone, pooled its own way, a depth branch where asked for, and one small head per target. Such targets are
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

import kernel_src.models.class_scaling  # noqa: F401  # part: classes
import kernel_src.models.evidence  # noqa: F401  # part: evidence
import kernel_src.models.fusion  # noqa: F401  # part: depth
import kernel_src.models.table_inputs  # noqa: F401  # part: inputs
from kernel_src.competitions.held_facts import facts
from kernel_src.models.backbones import build_backbone, hold_frozen_statistics
from kernel_src.models.precision import PrecisionChoice
from kernel_src.recipes.network import Perceptron
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.parts import optional_part
from kernel_src.runtime.weight_files import read_weights

DIVISORS = ("scaling.std", "label_scaling.std", "evidence.grams.unit")  # of a network's buffers, all above 0
CONSTANT_BELOW_G = 1e-6  # the deviation of equal numbers is not exactly zero: 1e-17 for seven times 0.1


class TargetScaling(nn.Module):
    """Mean and standard deviation of each target over the training rows."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        """Start as the identity; `fit` sets the numbers."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(facts().targets)))
        self.register_buffer("std", torch.ones(len(facts().targets)))

    def fit(self, values: np.ndarray) -> None:
        """Take mean and population standard deviation of (rows, targets); a constant target keeps a deviation of 1."""
        std = values.std(0)
        self.mean.copy_(torch.from_numpy(values.mean(0)))
        self.std.copy_(torch.from_numpy(np.where(std > CONSTANT_BELOW_G, std, 1.0)))

    def to_z(self, values: torch.Tensor) -> torch.Tensor:
        """Scale values (…, targets) to z-scores."""
        return (values - self.mean) / self.std

    def to_values(self, z: torch.Tensor) -> torch.Tensor:
        """Undo `to_z`, in fp32: half precision has steps of 0.03 at 60."""
        return z.float() * self.std + self.mean


class TargetsNet(nn.Module):
    """A network that answers with a number per target (B, targets), and the scaling that makes values of z-scores."""

    scaling: TargetScaling
    reads_inputs: bool = False  # numbers of the table beside the photograph
    in_fp32: bool = False  # whatever the device is fast in: fp16 is not precise enough for it
    settled: PrecisionChoice | None = None  # decided while it was loaded, for good: there is no room for another

    def to_loss_z(self, answers: torch.Tensor) -> torch.Tensor:
        """Return answers (B, targets) in standard deviations of the training rows, where the network has these."""
        return answers


# What training does to the patches of a batch before a dense head reads them, (B, P, C) to (B, P, C).
MixTokens = Callable[[torch.Tensor], torch.Tensor]


# %%
class BackboneNet(TargetsNet):
    """Backbone, depth branch if there is one, and heads.

    A plain one (`Predictor.is_plain`) has a head per target on what its backbone pools; they answer in z-scores, of
    which `scaling` makes values. Otherwise `evidence` says what the heads read of a photograph and what their outputs
    mean; if these become values there, `scaling` is the identity, and the loss has a `loss_scaling` of its own.
    """

    def __init__(self, experiment: Predictor) -> None:
        """Build with random weights, exactly as the experiment says.

        The frozen depth model is not part of it: all folds share one.

        Raises:
            RuntimeError: timm does not know the backbone.
            ValueError: the backbone cannot do what the experiment asks of it.
        """
        super().__init__()
        head = experiment.head
        if not isinstance(head, Perceptron):
            raise ValueError(f"{experiment.name}: {type(head).__name__} is not a head of a trained network")
        self.backbone = build_backbone(experiment)
        self.depth_channels = experiment.depth_channels
        self.depth_in_stem = experiment.depth is not None and experiment.depth.fusion == "rgbd"
        self.depth_branch = nn.ModuleDict()
        self.evidence: Any = None
        self.feature_dim = int(self.backbone.head_hidden_size)  # type: ignore[arg-type]  # of what the heads see
        outputs = [len(facts().targets)] if facts().are_classes else [1] * len(facts().targets)  # of each head
        if not experiment.is_plain:
            self.evidence = optional_part("evidence").Evidence(experiment, self.backbone)
            self.feature_dim, outputs = self.evidence.width, self.evidence.outputs
        if experiment.depth and not self.depth_in_stem:
            self.depth_branch = optional_part("depth").depth_branch(experiment, self.feature_dim)
            self.feature_dim = int(self.depth_branch["fusion"].out_features)  # type: ignore[arg-type]
        self.inputs: Any = None
        if experiment.inputs:
            self.inputs = optional_part("inputs").TableInputs(experiment.inputs, self.feature_dim)
            self.reads_inputs = True
            self.feature_dim += len(self.inputs.columns)
        self.heads = nn.ModuleList(_perceptron(self.feature_dim, head, count) for count in outputs)
        self.scaling = optional_part("classes").ClassScaling() if facts().are_classes else TargetScaling()
        answers_values = self.evidence is not None and self.evidence.grams is not None
        self.label_scaling = TargetScaling() if answers_values else None

    @property
    def loss_scaling(self) -> TargetScaling:
        """What the loss counts in: `scaling` itself, or where the network answers in values, one of its own."""
        return self.label_scaling or self.scaling

    def fit(self, values: np.ndarray, inputs: np.ndarray | None = None) -> None:
        """Take what is not learnt from the training rows: scalings, and the heads' unit.

        `values` are (rows, targets), `inputs` (rows, inputs) where the network reads any.
        """
        if self.inputs is not None and inputs is not None:
            self.inputs.fit(inputs)
        self.loss_scaling.fit(values)
        if self.label_scaling is not None:
            self.evidence.grams.fit(values)

    def to_loss_z(self, answers: torch.Tensor) -> torch.Tensor:
        """Return answers (B, targets) in standard deviations of the training rows; z-scores are that already."""
        return answers if self.label_scaling is None else self.label_scaling.to_z(answers)

    def train(self, mode: bool = True) -> "BackboneNet":
        """Switch to training, except frozen layers: the statistics of their batch norms stay what they are."""
        super().train(mode)
        hold_frozen_statistics(self.backbone)
        return self

    def forward(
        self, pictures: torch.Tensor, depth: torch.Tensor | None = None, inputs: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map normalised photographs (B, 3, H, W), with depth (B, C, H, W) if it has a branch, to answers (B, targets).

        They have the size of `Pictures.canvas_px`; parts and scales are cut from them here. `inputs` (B, inputs) are
        their numbers in the competition's table, NaN for none, where the network reads any.

        Raises:
            ValueError: depth is missing, not wanted, or of another number of channels; or inputs are missing.
        """
        return self.with_features(pictures, depth, inputs)[0]

    def with_features(
        self,
        pictures: torch.Tensor,
        depth: torch.Tensor | None = None,
        inputs: torch.Tensor | None = None,
        mix_tokens: MixTokens | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Map what `forward` takes to answers (B, targets), and to the features of each photograph (B, `feature_dim`).

        The features are what the heads read; where these answer several pictures or patches one by one, their mean.
        `mix_tokens` gets the patches of all pictures (B, P, C) that a dense head is about to read, and returns others.

        Raises:
            ValueError: as `forward`, or there are no patches to mix.
        """
        given = 0 if depth is None else depth.shape[1]
        if given != self.depth_channels:
            raise ValueError(f"the model takes {self.depth_channels} channels of depth and was given {given}")
        if depth is None:
            features = self._look(pictures, mix_tokens)  # (B, F), or (B, n, F) of which each is answered by itself
        elif self.depth_in_stem:
            features = self.backbone(torch.cat([pictures, depth.to(pictures.dtype)], 1))
        else:
            features = self.depth_branch["fusion"](self.backbone(pictures), self.depth_branch["encoder"](depth))
        if self.inputs is not None:
            features = self.inputs.beside(features, inputs)
        answers = torch.cat([head(features) for head in self.heads], -1)
        if self.evidence is None:
            return answers, features
        return self.evidence.answers(answers), self.evidence.summary(features)

    def _look(self, pictures: torch.Tensor, mix_tokens: MixTokens | None) -> torch.Tensor:
        if self.evidence is not None:
            evidence: torch.Tensor = self.evidence(self.backbone, pictures, mix_tokens)
            return evidence
        if mix_tokens is not None:
            raise ValueError("there are no patches to mix: the head is not a DenseHead()")
        features: torch.Tensor = self.backbone(pictures)
        return features


# %%
def _perceptron(width: int, head: Perceptron, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for hidden in head.hidden:
        activation = nn.ReLU() if head.activation == "relu" else nn.GELU()
        layers += [nn.Linear(width, hidden), activation, nn.Dropout(head.dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))


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
def load_fold(experiment: Predictor, path: Path) -> BackboneNet:
    """Rebuild one fold's model from its weights, strictly, in fp32.

    Raises:
        WeightsError: the file holds no weights; a key is missing, left over, misshapen or not finite; or the numbers
            that are divided by are not above 0.
    """
    tensors = read_weights(path)
    model = filled(lambda: BackboneNet(experiment), tensors, str(path))
    _refuse_divisors(tensors, path)
    return model.eval()


def refill_fold(model: TargetsNet, path: Path) -> None:
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
    for key in DIVISORS:
        if key in tensors and not bool((tensors[key] > 0).all()):
            raise WeightsError(f"{path}: {key} {tensors[key].tolist()} must be above 0: train again")
    if negative := [key for key, value in tensors.items() if key.endswith("running_var") and bool((value < 0).any())]:
        raise WeightsError(f"{path}: variances below 0 in {', '.join(negative[:3])}: make the bundle again")

"""What an experiment is made of, counted from the network itself.

The network is built on PyTorch's meta device: every shape is real, no number is stored, so that even the largest takes
no memory and no time. Parameters, features, bundle bytes and operations are all counted from it; none is typed in.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core.errors import UsageError
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import write_json

if TYPE_CHECKING:
    from torch import nn

    from kernel_src.models.model import BiomassNet

IMAGES = 800  # of the hidden test (facts/competition.md)
# What a T4 really does in fp16, by which facts/competition.md projects too; its data sheet says 65e12, and 8.1e12 in
# fp32, in which depth is estimated: taken as the same share. Nothing here was measured: the time is computed, for one
# T4, without reading and decoding the photographs.
T4_FLOP_PER_S = 20e12
T4_FP32_FLOP_PER_S = 2.5e12
TIME_FORMULA = (
    f"computed, not measured: {IMAGES} x (folds x views x FLOPs of one fold / {T4_FLOP_PER_S:.0e} FLOP/s "
    f"+ FLOPs of one depth pass per map / {T4_FP32_FLOP_PER_S:.1e} FLOP/s), one T4"
)
CACHE = Path("out/descriptions.json")
KERNEL_SRC = Path(__file__).resolve().parents[2] / "kernel_src"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One part of the network."""

    name: str
    kind: str  # its class
    parameters: int
    parameters_trained: int
    output: list[int] | None  # shape for one photograph; None: it is not called as a whole


@dataclass(frozen=True, kw_only=True)
class Description:
    """One experiment, counted."""

    experiment: str
    backbone: str
    parameters_total: int  # with the frozen depth model, once
    parameters_trained: int  # of one fold
    backbone_dim: int  # features that the backbone gives
    feature_dim: int  # features that the heads see, after the fusion with depth
    image_px: tuple[int, int]  # height, width
    mean: tuple[float, ...]  # the backbone's own normalisation
    std: tuple[float, ...]
    interpolation: str
    folds: int  # trained and bundled
    views: int  # of test-time augmentation
    bundle_bytes_fp16: int  # tensors of all folds, and of the depth model once
    depth_bytes_fp16: int  # 0: no depth model
    flops_fold: int  # of one fold's network and one view
    flops_depth: int  # of one depth pass
    depth_passes: int  # per photograph
    layers: tuple[Layer, ...]
    images_at_once: int = 0  # that each GPU of its machine trains on
    training_bytes: int | None = None  # of one GPU at the peak of a training; 0: it trains on none; None: not measured

    @property
    def t4_minutes(self) -> float:
        """Projected minutes for 800 images, by TIME_FORMULA."""
        networks_s = self.folds * self.views * self.flops_fold / T4_FLOP_PER_S
        depth_s = self.depth_passes * self.flops_depth / T4_FP32_FLOP_PER_S
        return IMAGES * (networks_s + depth_s) / 60


def describe(experiment: Experiment) -> Description:
    """Build an experiment's network on the meta device and count it."""
    if experiment.is_frozen:
        return describe_frozen(experiment)
    import torch
    from transformers import DepthAnythingConfig

    from build.weights.bundle_sizes import stored_bytes
    from build.weights.random_weights import DEPTH_SMALL
    from kernel_src.data.preprocessing import preprocessing_of
    from kernel_src.data.symmetries import views
    from kernel_src.models.depth import DepthEstimator
    from kernel_src.models.model import BiomassNet

    def bytes_of(module: "nn.Module") -> int:
        return stored_bytes([(k, tuple(t.shape), t.element_size()) for k, t in module.state_dict().items()])

    height, width = experiment.image_size_px
    with torch.device("meta"):
        model = BiomassNet(experiment).eval()
        estimator = DepthEstimator(DepthAnythingConfig(**DEPTH_SMALL)).eval() if experiment.depth else None
        depth = torch.empty(1, experiment.depth_channels, height, width) if experiment.depth else None
        trained = _trained(model)
        model.requires_grad_(False)
        parts = list(_parts(model))
        flops, shapes = _flops(model, [module for _, module in parts], torch.empty(1, 3, height, width), depth)
        flops_depth = 0
        if estimator is not None:
            picture = torch.empty(1, 3, height, width, dtype=torch.uint8)
            flops_depth, _ = _flops(estimator, [], picture, experiment.depth_channels)
    layers = [
        Layer(
            name=name,
            kind=type(module).__name__,
            parameters=sum(p.numel() for p in module.parameters()),
            parameters_trained=sum(trained[id(p)] for p in module.parameters()),
            output=shape,
        )
        for (name, module), shape in zip(parts, shapes, strict=True)
        if any(True for _ in module.parameters())
    ]
    loose = list(model.backbone.parameters(recurse=False))
    if loose:
        names = ", ".join(name for name, _ in model.backbone.named_parameters(recurse=False))
        layers.insert(
            0,
            Layer(
                name=f"backbone: {names}",
                kind="Parameter",
                parameters=sum(p.numel() for p in loose),
                parameters_trained=sum(trained[id(p)] for p in loose),
                output=None,
            ),
        )
    depth_bytes = 0
    if estimator is not None:
        depth_bytes = bytes_of(estimator.network)
        count = sum(p.numel() for p in estimator.parameters())
        layers.append(
            Layer(
                name="depth model, one for all folds",
                kind=type(estimator.network).__name__,
                parameters=count,
                parameters_trained=0,
                output=[1, experiment.depth_channels, height, width],
            )
        )
    symmetries = len(views(experiment))
    preprocessing = preprocessing_of(experiment.backbone)
    folds = len(experiment.train_folds) or experiment.folds
    return Description(
        experiment=experiment.name,
        backbone=experiment.backbone,
        parameters_total=sum(layer.parameters for layer in layers),
        parameters_trained=sum(trained.values()),
        backbone_dim=int(model.backbone.head_hidden_size),  # type: ignore[arg-type]  # timm's
        feature_dim=model.feature_dim,
        image_px=experiment.image_size_px,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        folds=folds,
        views=symmetries,
        bundle_bytes_fp16=folds * bytes_of(model) + depth_bytes,
        depth_bytes_fp16=depth_bytes,
        flops_fold=flops,
        flops_depth=flops_depth,
        depth_passes=0 if estimator is None else symmetries if experiment.depth_views == "exact" else 1,
        layers=tuple(layers),
    )


def describe_frozen(experiment: Experiment) -> Description:
    """Count an experiment without fine-tuning; its regressor's arrays are known only when it is fitted."""
    import torch

    from kernel_src.data.preprocessing import framings_of, preprocessing_of
    from kernel_src.data.symmetries import views
    from kernel_src.models.frozen_features import FrozenFeatures

    preprocessing = preprocessing_of(experiment.backbone)
    framings = framings_of(experiment, preprocessing)
    with torch.device("meta"):
        features = FrozenFeatures(experiment, framings).eval()
        flops, _ = _flops(features, [], *(torch.empty(1, 3, *framing.size_px) for framing in framings))
        with torch.no_grad():
            width = features(*(torch.empty(1, 3, *framing.size_px) for framing in framings)).shape[1]
    layer = Layer(
        name="frozen backbone, mounted beside the bundle",
        kind=type(features.backbone).__name__,
        parameters=sum(p.numel() for p in features.parameters()),
        parameters_trained=0,
        output=[1, width],
    )
    return Description(
        experiment=experiment.name,
        backbone=experiment.backbone,
        parameters_total=layer.parameters,
        parameters_trained=0,
        backbone_dim=int(features.backbone.head_hidden_size),
        feature_dim=width,
        image_px=experiment.image_size_px,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        folds=1,
        views=len(views(experiment)),
        bundle_bytes_fp16=0,
        depth_bytes_fp16=0,
        flops_fold=flops,
        flops_depth=0,
        depth_passes=0,
        layers=(layer,),
    )


def _trained(model: "BiomassNet") -> dict[int, int]:
    """Return the size of each parameter, by identity; 0 if it is not trained."""
    return {id(p): p.numel() * p.requires_grad for p in model.parameters()}


def _parts(model: "BiomassNet") -> Iterator[tuple[str, "nn.Module"]]:
    """Yield the parts of the network that have a name of their own, in the order of computing."""
    for name, module in model.backbone.named_children():
        yield f"backbone.{name}", module
    for name, module in model.depth_branch.named_children():
        yield f"depth_branch.{name}", module
    for number, head in enumerate(model.heads):
        yield f"heads.{number}", head
    yield "loss_parameters", model.loss_parameters


def _flops(network: "nn.Module", parts: list["nn.Module"], *inputs: Any) -> tuple[int, list[list[int] | None]]:
    """Run a network on the meta device: count its operations (a multiply-add is two), and note the parts' outputs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shapes: dict[int, list[int]] = {}

    def note(module: "nn.Module", _: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            shapes[id(module)] = list(output.shape)

    hooks = [part.register_forward_hook(note) for part in parts]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops(), [shapes.get(id(part)) for part in parts]


# %%
def _sources() -> str:
    """Return a hash over everything that a description follows from, beside the experiment."""
    import hashlib

    names = (
        "models/backbones",
        "models/model",
        "models/fusion",
        "models/depth",
        "data/symmetries",
        "data/preprocessing",
        "competition/constants",
        "models/frozen_features",
    )
    files = [*(KERNEL_SRC / f"{name}.py" for name in names), Path(__file__)]
    files += [Path(__file__).with_name(name) for name in ("bundle_sizes.py", "random_weights.py", "training_memory.py")]
    packages = [version(name) for name in ("timm", "torch", "transformers")]
    digest = hashlib.sha256(json.dumps(packages).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def descriptions(
    experiments: list[Experiment], cache: Path = CACHE, quiet: bool = False, with_memory: bool = False
) -> list[Description]:
    """Describe several experiments; what was counted before, from the same sources, is taken from `cache`.

    With memory, what a training takes of a GPU is measured too, which takes some seconds for each network.
    """
    from build.core.progress import counting
    from build.weights.training_memory import images_at_once, training_bytes

    sources = _sources()
    try:
        known = json.loads(cache.read_bytes())
    except (FileNotFoundError, ValueError):
        known = {}
    if known.get("sources") != sources:
        known = {"sources": sources, "experiments": {}}
    found = []
    with counting("counting parameters", quiet) as advance:
        for number, experiment in enumerate(experiments):
            key = json.dumps(experiment.as_json(), sort_keys=True)
            if key not in known["experiments"]:
                known["experiments"][key] = asdict(describe(experiment))
            entry = known["experiments"][key]
            entry["images_at_once"] = 0 if experiment.is_frozen else images_at_once(experiment)
            if with_memory and entry["training_bytes"] is None:
                entry["training_bytes"] = training_bytes(experiment)
            found.append(_description(entry))
            advance(number + 1, len(experiments))
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_json(cache, known)
    return found


def _description(values: dict[str, Any]) -> Description:
    """Rebuild a description from its JSON."""
    layers = tuple(Layer(**layer) for layer in values["layers"])
    fitted: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    fitted["layers"] = layers
    return Description(**fitted)


# %%
def training_line(description: Description, experiment: Experiment) -> str:
    """Say what a training takes of each GPU."""
    if not description.training_bytes:
        return "training: no GPU is needed"
    steps = experiment.accumulate_steps
    accumulated = f", {steps} batches a step" if steps > 1 else ""
    return (
        f"training: {description.training_bytes / 1e9:.1f} GB of each GPU ({experiment.machine_shape}) with "
        f"{description.images_at_once} photographs at once{accumulated}; measured on fake tensors, without the CUDA "
        "context and workspaces of about 1 GB"
    )


def run_describe(name: str, as_json: bool) -> None:
    """Print the description of one experiment.

    Raises:
        UsageError: there is no such experiment.
    """
    from kernel_src.recipes.ensembles import ENSEMBLES
    from kernel_src.recipes.experiments import EXPERIMENTS

    if name in ENSEMBLES:
        members = ", ".join(ENSEMBLES[name].shares)
        raise UsageError(f"{name} is an ensemble of {members}: describe each of them")
    if name not in EXPERIMENTS:
        raise UsageError(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    description = descriptions([EXPERIMENTS[name]], quiet=as_json, with_memory=True)[0]
    if as_json:
        result = asdict(description) | {"t4_minutes_800": round(description.t4_minutes, 1)}
        print(json.dumps(result | {"t4_minutes_formula": TIME_FORMULA}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    d = description
    table = Table("part", "kind", "parameters", "trained", "output", title=f"{name}: {d.backbone}")
    for layer in d.layers:
        output = " x ".join(map(str, layer.output)) if layer.output else "–"
        table.add_row(layer.name, layer.kind, f"{layer.parameters:,}", f"{layer.parameters_trained:,}", output)
    console = Console()
    console.print(table)
    seen_by, bundle = "the heads", f"bundle of {d.folds} folds: {d.bundle_bytes_fp16 / 1e9:.3f} GB in fp16"
    if EXPERIMENTS[name].is_frozen:
        seen_by, bundle = "the regressor", "bundle: the regressor alone, some MB that follow from what is fitted"
    console.print(
        f"{d.parameters_total:,} parameters, {d.parameters_trained:,} trained; {d.image_px[0]} x {d.image_px[1]} px, "
        f"mean {d.mean}, std {d.std}, {d.interpolation}\n"
        f"{d.backbone_dim} features from the backbone, {d.feature_dim} seen by {seen_by}\n"
        f"{bundle}\n"
        f"{training_line(d, EXPERIMENTS[name])}\n"
        f"{d.t4_minutes:.1f} min for {IMAGES} images ({TIME_FORMULA})",
        highlight=False,
    )

"""What an experiment is made of, counted from the network itself: what `describe`, `experiments` and the sizes read.

The network is built on PyTorch's meta device: every shape is real, no number is stored, so that even the largest takes
no memory and no time. Parameters, features, bytes and operations are all counted from it; none is typed in.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core.choosing import working_on
from kernel_src.competition.choice import chosen_competition
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import COMPETITION_OF
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import write_json

if TYPE_CHECKING:
    from torch import nn

    from kernel_src.models.model import BackboneNet

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
ROOT = Path(__file__).resolve().parents[2]
SOURCES = tuple(  # of all counts
    f"kernel_src/{room}" for room in ("models", "data", "competition", "competitions")
) + ("build/weights",)


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
    run_bytes: int  # tensors of all folds, and of the depth model once, as training leaves them
    bundle_bytes_fp16: int  # the same in the bundle
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
    """Build an experiment's networks on the meta device, for its own competition, and count them.

    Of an experiment without fine-tuning there are no bytes: its regressor's arrays are known only when it is fitted.
    """
    with working_on(competition_of(experiment)):
        return _described(experiment)


def competition_of(experiment: Experiment) -> str:
    """Return the competition that an experiment belongs to; one that is in no list belongs to the chosen one."""
    return COMPETITION_OF.get(experiment.name, chosen_competition())


def _described(experiment: Experiment) -> Description:
    import torch
    from transformers import DepthAnythingConfig

    from build.weights.random_weights import DEPTH_SMALL
    from kernel_src.bundle.bundles import framings_of
    from kernel_src.data.trained_views import views
    from kernel_src.models.depth import DepthEstimator
    from kernel_src.models.frozen_features import FrozenFeatures
    from kernel_src.models.model import BackboneNet
    from kernel_src.models.starting_weights import preprocessing_of

    preprocessing, symmetries = preprocessing_of(experiment.encoder.timm), len(views(experiment))
    size_px, channels = experiment.pictures.canvas_px, experiment.depth_channels
    run_bytes, bundle_bytes, depth_bytes, flops_depth = 0, 0, 0, 0
    depth_layers: list[Layer] = []
    with torch.device("meta"):
        if experiment.is_frozen:
            framings = framings_of(experiment, preprocessing)
            frozen = FrozenFeatures(experiment).eval()
            pictures = [torch.empty(1, 3, *framing.size_px) for framing in framings]
            flops, layers = _count(frozen, [("frozen backbone, mounted beside the bundle", frozen)], *pictures)
            (_, feature_dim), folds, backbone = layers[0].output or (0, 0), 1, frozen.backbone
        else:
            model, folds = BackboneNet(experiment).eval(), experiment.data.folds_trained
            depth = torch.empty(1, channels, *size_px) if experiment.depth else None
            inputs = torch.empty(1, len(facts().inputs)) if experiment.inputs else None
            flops, layers = _count(model, list(_parts(model)), torch.empty(1, 3, *size_px), depth, inputs)
            feature_dim, backbone = model.feature_dim, model.backbone
            run_bytes, bundle_bytes = folds * _bytes(model), folds * _bytes(model, halved=True)
        if experiment.depth:
            depth_model = DepthEstimator(DepthAnythingConfig(**DEPTH_SMALL)).eval()
            named, picture = ("depth model, one for all folds", depth_model), torch.empty(1, 3, *size_px)
            flops_depth, depth_layers = _count(depth_model, [named], picture.to(torch.uint8), channels)
            run_bytes, depth_bytes = run_bytes + _bytes(depth_model), _bytes(depth_model, halved=True)
    return Description(
        experiment=experiment.name,
        backbone=experiment.encoder.timm,
        parameters_total=sum(layer.parameters for layer in layers + depth_layers),
        parameters_trained=sum(layer.parameters_trained for layer in layers),
        backbone_dim=int(backbone.head_hidden_size),  # timm's
        feature_dim=feature_dim,
        image_px=size_px,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        folds=folds,
        views=symmetries,
        run_bytes=run_bytes,
        bundle_bytes_fp16=bundle_bytes + depth_bytes,
        depth_bytes_fp16=depth_bytes,
        flops_fold=flops,
        flops_depth=flops_depth,
        depth_passes=0 if not experiment.depth else symmetries if experiment.depth.views == "exact" else 1,
        layers=(*layers, *depth_layers),
    )


def _parts(model: "BackboneNet") -> Iterator[tuple[str, "nn.Module"]]:
    """Yield the parts of the network that have a name of their own, in the order of computing."""
    from torch import nn

    loose = dict(model.backbone.named_parameters(recurse=False))
    yield f"backbone: {', '.join(loose)}", nn.ParameterList(loose.values())
    for branch in ("backbone", "depth_branch"):
        for name, module in model.get_submodule(branch).named_children():
            yield f"{branch}.{name}", module
    if model.evidence is not None and model.evidence.join is not None:
        yield "evidence.join", model.evidence.join
    for number, head in enumerate(model.heads):
        yield f"heads.{number}", head


def _count(network: "nn.Module", parts: Sequence[tuple[str, "nn.Module"]], *inputs: Any) -> tuple[int, list[Layer]]:
    """Run a network on the meta device: count its operations (a multiply-add is two), and describe its parts."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shapes: dict[int, list[int]] = {}

    def note(module: "nn.Module", _: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            shapes[id(module)] = list(output.shape)

    trained = [sum(p.numel() for p in part.parameters() if p.requires_grad) for _, part in parts]
    network.requires_grad_(False)  # a part that trains would make the counter look for gradients
    hooks = [part.register_forward_hook(note) for _, part in parts]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    layers = [
        Layer(
            name=name,
            kind=type(part).__name__,
            parameters=sum(p.numel() for p in part.parameters()),
            parameters_trained=count,
            output=shapes.get(id(part)),
        )
        for (name, part), count in zip(parts, trained, strict=True)
    ]
    return counter.get_total_flops(), [layer for layer in layers if layer.parameters]


def _bytes(module: "nn.Module", halved: bool = False) -> int:
    """Count the bytes of a network's tensors, or what they become by `half_precision`."""
    tensors = module.state_dict().values()
    return sum(t.numel() * (2 if halved and t.ndim > 1 else t.element_size()) for t in tensors)


# %%
def descriptions(
    experiments: Sequence[Experiment], cache: Path = CACHE, quiet: bool = False, with_memory: bool = False
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
            competition = competition_of(experiment)
            key = json.dumps([competition, experiment.as_json()], sort_keys=True)
            with working_on(competition):
                entry = known["experiments"].get(key) or asdict(describe(experiment))
                entry["images_at_once"] = 0 if experiment.is_frozen else images_at_once(experiment)
                if with_memory and entry["training_bytes"] is None:
                    entry["training_bytes"] = training_bytes(experiment)
            known["experiments"][key] = entry
            lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
            layers = tuple(Layer(**layer) for layer in entry["layers"])
            found.append(Description(**entry | lists | {"layers": layers}))
            advance(number + 1, len(experiments))
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_json(cache, known)
    return found


def _sources() -> str:
    """Return a hash over everything that a description follows from, beside the experiment."""
    import hashlib

    digest = hashlib.sha256(json.dumps([version(name) for name in ("timm", "torch", "transformers")]).encode())
    for path in sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()

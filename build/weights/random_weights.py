"""Networks with random weights, as files: what benchmarks, `notebook-run --random` and the tests need.

`random_depth` writes a depth model in the hub's layout, `random_run` a run/ folder as the training notebook leaves it.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.files import write_json

if TYPE_CHECKING:
    from torch import nn

    from kernel_src.models.model import BackboneNet

# config.json of depth-anything/Depth-Anything-V2-Small-hf on the hub, as far as it shapes the network (24.8 M weights).
DEPTH_SMALL: dict[str, Any] = {
    "model_type": "depth_anything",
    "backbone_config": {
        "model_type": "dinov2",
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "image_size": 518,
        "patch_size": 14,
        "out_indices": [3, 6, 9, 12],
        "out_features": ["stage3", "stage6", "stage9", "stage12"],
        "apply_layernorm": True,
        "reshape_hidden_states": False,
    },
    "patch_size": 14,
    "reassemble_hidden_size": 384,
    "reassemble_factors": [4, 2, 1, 0.5],
    "neck_hidden_sizes": [48, 96, 192, 384],
    "fusion_hidden_size": 64,
    "head_in_index": -1,
    "head_hidden_size": 32,
    "depth_estimation_type": "relative",
}


def random_depth(folder: Path, config: dict[str, Any], seed: int = 0) -> Path:
    """Write `config.json` and `model.safetensors` of a depth model with random weights, and return the folder."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE
    from kernel_src.training.checkpoint import save_tensors

    torch.manual_seed(seed)
    network = DepthAnythingForDepthEstimation(DepthAnythingConfig(**config))
    _enliven(network)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DEPTH_CONFIG_FILE, config)
    save_tensors(folder / DEPTH_WEIGHTS_FILE, network.state_dict())
    return folder


def _enliven(network: "nn.Module") -> None:
    """Draw weights that keep the signal's size: the library's own let every depth come out as 1e-8."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) / fan_in**0.5)
        network.get_submodule("head.conv3").bias.fill_(1.0)  # type: ignore[operator]  # a ReLU follows


def _settle_norms(model: "BackboneNet", experiment: Experiment) -> None:
    """Let each batch norm take over the statistics of a few soft pictures with some grain, as photographs have."""
    import torch
    from torch import nn
    from torch.nn import functional

    from kernel_src.competitions.held_facts import facts

    def soft(channels: int) -> torch.Tensor:
        size = experiment.pictures.canvas_px
        blobs = functional.interpolate(torch.randn(4, channels, 8, 8), size, mode="bilinear")
        return blobs + 0.2 * torch.randn(4, channels, *size)

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        inputs = torch.zeros(4, len(facts().inputs)) if experiment.inputs else None
        model.train()(soft(3), soft(experiment.depth_channels) if experiment.depth else None, inputs)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def random_run(
    folder: Path,
    experiment: Experiment,
    depth: Path | None = None,
    *,
    seed: int = 0,
    target_mean_g: float = 20.0,
    settled: bool = False,
) -> Path:
    """Write a run/ folder of all folds of an experiment with random weights, and return it.

    `depth` is the depth model's folder in the hub's layout, for an experiment that needs one. With `settled` the batch
    norms know some pictures' statistics, as after a training step: without, a deep net of convolutions ends at 1e6 g.
    """
    import shutil

    import torch

    from kernel_src.competitions.held_facts import facts
    from kernel_src.competitions.held_reviews import review
    from kernel_src.data.trained_views import views
    from kernel_src.models.depth import (
        BUNDLED_DEPTH_CONFIG,
        BUNDLED_DEPTH_WEIGHTS,
        DEPTH_CONFIG_FILE,
        DEPTH_WEIGHTS_FILE,
    )
    from kernel_src.models.model import BackboneNet
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.runtime.files import BUNDLE_FORMAT, CONFIG_FILE, sha256_of
    from kernel_src.training.checkpoint import save_tensors
    from kernel_src.training.runs import OOF_FILE

    experiment = replace(experiment, encoder=replace(experiment.encoder, weights=""))
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"fold{fold}.safetensors" for fold in experiment.data.train_folds or range(experiment.data.folds_trained)]
    for number, name in enumerate(names):
        torch.manual_seed(seed + number)
        model = BackboneNet(experiment)
        if not facts().are_classes:  # which are not scaled
            model.loss_scaling.mean.fill_(target_mean_g)
            model.loss_scaling.std.fill_(target_mean_g / 2)
        if model.evidence is not None and model.evidence.grams is not None:
            model.evidence.grams.unit.fill_(target_mean_g)
        if settled:
            _settle_norms(model, experiment)
        save_tensors(folder / name, model.state_dict())
    scale = 1.0 if facts().are_classes else target_mean_g
    config: dict[str, Any] = {
        "format": BUNDLE_FORMAT,
        "experiment": experiment.as_json(),
        "preprocessing": preprocessing_of(experiment.encoder.timm).as_json(),
        "views": [list(view) for view in views(experiment)],
        "folds": names,
        "target_mean": {target: scale * share for target, share in review().example_shares.items()},
        "oof": {"score": 0.0, "images": 0, "formula": "random weights: nothing was scored"},
        "versions": {"torch": torch.__version__},
    }
    if experiment.depth and depth is not None:
        shutil.copyfile(depth / DEPTH_WEIGHTS_FILE, folder / BUNDLED_DEPTH_WEIGHTS)
        shutil.copyfile(depth / DEPTH_CONFIG_FILE, folder / BUNDLED_DEPTH_CONFIG)
        config["depth"] = {
            "weights": BUNDLED_DEPTH_WEIGHTS,
            "config": BUNDLED_DEPTH_CONFIG,
            "sha256": sha256_of(folder / BUNDLED_DEPTH_WEIGHTS),
        }
    (folder / OOF_FILE).write_text(f"image_id,fold,{','.join(facts().targets)}\n")
    write_json(folder / CONFIG_FILE, config)
    return folder

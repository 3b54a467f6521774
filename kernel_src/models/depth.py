"""## Depth

Depth Anything V2 guesses from one photograph how far each pixel is: tall grass is near the camera. The model is frozen,
so one pass per image serves every fold, view and epoch; the map is turned together with the picture. transformers,
which holds its code, takes seconds to import: only what loads the model does so.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kernel_src.data.symmetries import UPRIGHT, apply_view
from kernel_src.models.model import filled
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.parts import OptionalPart
from kernel_src.runtime.untrusted import checked_text, parsed_json, quoted
from kernel_src.runtime.weight_files import read_weights

DEPTH_WEIGHTS_FILE, DEPTH_CONFIG_FILE = "model.safetensors", "config.json"  # as the hub names them
BUNDLED_DEPTH_WEIGHTS, BUNDLED_DEPTH_CONFIG = "depth.safetensors", "depth_config.json"
# The model's own normalisation, whatever the backbone beside it was pretrained with (its preprocessor_config.json).
DEPTH_MEAN, DEPTH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ABSOLUTE_SCALE = 10.0  # brings the raw answer, relative inverse distance of 0 to about 30, near 1


class DepthEstimator(nn.Module):
    """The frozen depth model with what goes in and what comes out of it."""

    def __init__(self, config: Any, network: nn.Module | None = None) -> None:
        """Take a network, or build one with random weights from a DepthAnythingConfig."""
        from transformers import DepthAnythingForDepthEstimation

        super().__init__()
        self.network = DepthAnythingForDepthEstimation(config) if network is None else network
        self.requires_grad_(False)

    @torch.inference_mode()
    def forward(self, pictures: torch.Tensor, channels: int) -> torch.Tensor:
        """Estimate depth of (B, 3, H, W) uint8: (B, channels, H, W) float32.

        Channel 0 is min-max scaled per image to 0…1, as the seed had it. That keeps the relief and loses its size:
        grass of 5 cm and of 50 cm can look alike, and one tall stalk flattens everything else. Channel 1, if asked
        for, is the model's answer itself in units of 10: relative inverse distance, not stretched, and comparable
        between photographs as far as the model is consistent between them.
        """
        mean = torch.tensor(DEPTH_MEAN, device=pictures.device).view(3, 1, 1)
        std = torch.tensor(DEPTH_STD, device=pictures.device).view(3, 1, 1)
        raw = self.network(pixel_values=(pictures.float() / 255 - mean) / std).predicted_depth.float()
        # The model works on whole patches of 14 px: a picture of 384 px gets an answer of 378.
        raw = functional.interpolate(raw[:, None], pictures.shape[2:], mode="bilinear", align_corners=False)
        low, high = raw.amin((2, 3), keepdim=True), raw.amax((2, 3), keepdim=True)
        relief = (raw - low) / (high - low).clamp_min(1e-6)
        return torch.cat([relief, raw / ABSOLUTE_SCALE][:channels], 1)


# What shapes the network, and as what it is written; nothing else of a config.json reaches transformers, which would
# take from it where to fetch code and weights. A number is checked by its size, because it becomes memory.
DEPTH_SETTINGS: dict[str, type] = {
    "patch_size": int,
    "reassemble_hidden_size": int,
    "reassemble_factors": list,
    "neck_hidden_sizes": list,
    "fusion_hidden_size": int,
    "head_in_index": int,
    "head_hidden_size": int,
    "depth_estimation_type": str,
    "max_depth": int,
}
DINOV2_SETTINGS: dict[str, type] = {
    "hidden_size": int,
    "num_hidden_layers": int,
    "num_attention_heads": int,
    "mlp_ratio": int,
    "hidden_act": str,
    "layer_norm_eps": float,
    "image_size": int,
    "patch_size": int,
    "num_channels": int,
    "qkv_bias": bool,
    "layerscale_value": float,
    "use_swiglu_ffn": bool,
    "apply_layernorm": bool,
    "reshape_hidden_states": bool,
    "use_mask_token": bool,
    "out_features": list,
    "out_indices": list,
}
# Where they say something, the depth model is another than this notebook can build from local files.
DEPTH_ELSEWHERE = ("auto_map", "backbone", "use_pretrained_backbone", "use_timm_backbone", "quantization_config")
LARGEST_SETTING, MOST_LAYERS = 16384, 128


def depth_settings(config: Any) -> dict[str, Any]:
    """Take from the hub's config.json what shapes the depth model.

    Raises:
        ValueError: it describes another kind of model, one that lies elsewhere, or by invalid numbers.
    """
    settings = _settings(config, DEPTH_SETTINGS, "depth_anything")
    settings["backbone_config"] = _settings(config.get("backbone_config"), DINOV2_SETTINGS, "dinov2")
    settings["backbone_config"]["model_type"] = "dinov2"
    if settings["backbone_config"].get("num_hidden_layers", 0) > MOST_LAYERS:
        raise ValueError(f"more than {MOST_LAYERS} layers")
    return settings


# %%
def _settings(values: Any, wanted: dict[str, type], model_type: str) -> dict[str, Any]:
    if not isinstance(values, dict) or values.get("model_type") != model_type:
        raise ValueError(f"it does not describe a model of the type {model_type}")
    if elsewhere := [key for key in DEPTH_ELSEWHERE if values.get(key)]:
        raise ValueError(f"{', '.join(elsewhere)}: a depth model that lies elsewhere is not fetched")
    found = {}
    for name, kind in wanted.items():
        value = values.get(name)
        if value is None:
            continue
        parts = value if kind is list and isinstance(value, list) else [value]
        if len(parts) > MOST_LAYERS or not all(_is_setting(part, kind) for part in parts):
            raise ValueError(f"{name}={quoted(value)} is invalid")
        found[name] = value
    return found


def _is_setting(value: Any, kind: type) -> bool:
    if isinstance(value, str):
        return kind in (str, list) and bool(checked_text(value))
    if isinstance(value, bool) or kind in (bool, str):
        return kind is bool and isinstance(value, bool)
    if isinstance(value, int | float):
        return (kind is not int or isinstance(value, int)) and abs(value) <= LARGEST_SETTING
    return False


def load_depth(weights: Path, config: Path) -> DepthEstimator:
    """Load a depth model from local files only, strictly, with the numbers that a bundle keeps of it.

    A bundle stores matrices and kernels in half precision. Rounded here, the networks learn from the very maps that
    inference will show them, and a model that comes out of a bundle is left as it is.

    Raises:
        WeightsError: one of the files is something else, or the weights do not fit the config.
        FileNotFoundError: one of the files is missing.
        ImportError: transformers is not there or broken.
    """
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    for path in (weights, config):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: attach the dataset that holds Depth Anything V2 Small")
    try:
        settings = DepthAnythingConfig(**depth_settings(parsed_json(config.read_bytes())))
    except Exception as error:  # transformers checks a config by a library whose errors have no base in common
        what = " ".join(f"{error}".split())[:300]
        raise WeightsError(f"{config} is not the config.json of Depth Anything V2 ({what}): take the hub's") from None
    tensors = {key: tensor.half() if tensor.ndim > 1 else tensor for key, tensor in read_weights(weights).items()}
    network = filled(lambda: DepthAnythingForDepthEstimation(settings), tensors, str(weights))
    return DepthEstimator(settings, network).eval()


# %%
@torch.inference_mode()
def estimate_depth(estimator: DepthEstimator, pictures: torch.Tensor, channels: int) -> torch.Tensor:
    """Estimate depth (B, C, H, W) of uint8 pictures (B, 3, H, W) as training does: in fp32, rounded as its cache is."""
    with torch.autocast(pictures.device.type, enabled=False):
        return estimator(pictures, channels).half().float()


class BatchDepth:
    """The depth maps of one batch: each is computed once, for whoever asks first, and kept for the others."""

    def __init__(self, pictures: Sequence[torch.Tensor]) -> None:
        """Remember the batch, uint8 (B, 3, H, W) in each framing; nothing is computed yet."""
        self.pictures = pictures
        self._known: dict[tuple[int, int, int, tuple[int, bool]], torch.Tensor] = {}

    def seen_by(self, member: Any, view: tuple[int, bool]) -> torch.Tensor:
        """Return the maps (B, C, H, W) that belong to the turned pictures of a member that has an estimator.

        "shared" turns the one map together with the picture. The depth model is not exactly equivariant, so that is an
        approximation (docs/seed-differences.md); "exact" looks at each turned picture, once for all folds.
        """
        if member.depth_views == "exact":
            return self._estimated(member.estimator, member, view)
        return apply_view(self._estimated(member.estimator, member, UPRIGHT), view)

    def _estimated(self, estimator: DepthEstimator, member: Any, view: tuple[int, bool]) -> torch.Tensor:
        (framing,) = member.framings
        key = (id(estimator), framing, member.depth_channels, view)
        if key not in self._known:
            turned = apply_view(self.pictures[framing], view)
            self._known[key] = estimate_depth(estimator, turned, member.depth_channels)
        return self._known[key]


class DepthParts(OptionalPart):
    """What prediction and training ask for where there is depth."""

    part = "depth"
    load_depth = staticmethod(load_depth)
    BatchDepth = BatchDepth

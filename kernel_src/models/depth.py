"""## Depth

Depth Anything V2 guesses from one photograph how far each pixel is: tall grass is near the camera. The model is frozen,
so one pass per image serves every fold, view and epoch; the map is turned together with the picture. transformers,
which holds its code, takes seconds to import: only what loads the model does so.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from kernel_src.models.model import filled
from kernel_src.runtime.files import sha256_of, write_atomically
from kernel_src.runtime.manifest import WeightsError
from kernel_src.runtime.untrusted import checked_text, parsed_json, quoted
from kernel_src.runtime.weight_files import read_weights

DEPTH_WEIGHTS_FILE, DEPTH_CONFIG_FILE = "model.safetensors", "config.json"  # as the hub names them
BUNDLED_DEPTH_WEIGHTS, BUNDLED_DEPTH_CONFIG = "depth.safetensors", "depth_config.json"
# The model's own normalisation, whatever the backbone beside it wants (its preprocessor_config.json).
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
DEPTH_CACHE_GB = 20.0  # 357 pictures of 518 px take 0.2 GB; Kaggle's scratch disk has some 60 GB
DEPTH_CACHE_VERSION = 2  # to be raised when the same file gives other maps


def cached_depth_maps(
    photographs: np.ndarray,
    estimator: DepthEstimator,
    weights: Path,
    channels: int,
    folder: Path,
    device: torch.device,
    limit_gb: float = DEPTH_CACHE_GB,
) -> np.ndarray:
    """Return the depth of every photograph, (images, channels, H, W) fp16, computed once and kept on disk.

    `photographs` is (images, H, W, 3) uint8. The file's name carries the pictures, the model and the number of
    channels; it is written whole or not at all, so several processes may ask for it at once. Beyond `limit_gb` the
    caches that were not used for longest are deleted.

    Raises:
        FloatingPointError: a map is not finite in fp16.
    """
    digest = hashlib.sha256(repr((DEPTH_CACHE_VERSION, sha256_of(weights), photographs.shape)).encode())
    for photograph in photographs:
        digest.update(photograph.tobytes())
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / f"depth-{channels}-{digest.hexdigest()[:16]}.npy"

    def fill(draft: Path) -> None:
        shape = (len(photographs), channels, *photographs.shape[1:3])
        maps = open_memmap(draft, mode="w+", dtype=np.float16, shape=shape)
        estimator.to(device)
        for i, photograph in enumerate(tqdm(photographs, desc="estimating depth", unit="image")):
            picture = torch.from_numpy(photograph.transpose(2, 0, 1).copy())[None].to(device)
            depth = estimator(picture, channels)[0].half()
            if not torch.isfinite(depth).all():
                raise FloatingPointError(f"the depth of photograph {i} is NaN or infinite: are the weights broken?")
            maps[i] = depth.cpu().numpy()
        maps.flush()

    if not cache.exists():
        write_atomically(cache, fill)
    maps = np.load(cache, mmap_mode="r")  # stays readable should another process delete the file
    with suppress(FileNotFoundError):
        os.utime(cache)
    forget_old_depth_maps(folder, limit_gb, keep=cache)
    return maps


def forget_old_depth_maps(folder: Path, limit_gb: float, keep: Path) -> list[Path]:
    """Delete the caches not used for longest until they fit the limit, `keep` never; return what was deleted."""
    caches = []
    for path in folder.glob("depth-*.npy"):  # not the drafts that other processes are writing
        with suppress(FileNotFoundError):  # another process may be deleting too
            caches.append((path.stat().st_mtime, path.stat().st_size, path))
    total, deleted = sum(size for _, size, _ in caches), []
    for _, size, path in sorted(caches):
        if total <= limit_gb * 1e9:
            break
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
            deleted.append(path)
    return deleted

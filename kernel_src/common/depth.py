"""## Depth

Depth Anything V2 guesses from one photograph how far each pixel is: tall grass is near the camera. The model is frozen,
so one pass per image serves every fold, view and epoch; the map is turned together with the picture. transformers,
which holds its code, takes seconds to import: only what loads the model does so.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from tqdm.auto import tqdm

from kernel_src.common.files import sha256_of, write_atomically
from kernel_src.common.model import load_strictly

DEPTH_WEIGHTS_FILE, DEPTH_CONFIG_FILE = "model.safetensors", "config.json"  # as the hub names them
BUNDLED_DEPTH_WEIGHTS, BUNDLED_DEPTH_CONFIG = "depth.safetensors", "depth_config.json"
# The model's own normalisation, whatever the backbone beside it wants (its preprocessor_config.json).
DEPTH_MEAN, DEPTH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ABSOLUTE_SCALE = 10.0  # brings the raw answer, relative inverse distance of 0 to about 30, near 1


class DepthEstimator(nn.Module):
    """The frozen depth model with what goes in and what comes out of it."""

    in_fp32: bool = False  # whatever the device is fast in, because a bundle that needs it says so

    def __init__(self, config: Any) -> None:
        """Build with random weights from a DepthAnythingConfig."""
        from transformers import DepthAnythingForDepthEstimation

        super().__init__()
        self.network = DepthAnythingForDepthEstimation(config)
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


def load_depth(weights: Path, config: Path) -> DepthEstimator:
    """Load a depth model from local files only, strictly.

    Raises:
        WeightsError: the weights do not fit the config.
        FileNotFoundError: one of the files is missing.
        ImportError: transformers is not there or broken.
    """
    from transformers import DepthAnythingConfig

    for path in (weights, config):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: attach the dataset that holds Depth Anything V2 Small")
    estimator = DepthEstimator(DepthAnythingConfig(**json.loads(config.read_bytes())))
    load_strictly(estimator.network, load_file(weights), str(weights))
    return estimator.eval()


# %%
DEPTH_CACHE_GB = 20.0  # 357 pictures of 518 px take 0.2 GB; Kaggle's scratch disk has some 60 GB
DEPTH_CACHE_VERSION = 1  # to be raised when `DepthEstimator.forward` computes something else


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

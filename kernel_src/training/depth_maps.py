"""## Depth in training

The map of every photograph is computed once and kept on disk for all folds, epochs and processes. The depth model
itself goes into the run, from which the bundle takes it.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from tqdm.auto import tqdm

from kernel_src.models.depth import (
    BUNDLED_DEPTH_CONFIG,
    BUNDLED_DEPTH_WEIGHTS,
    DEPTH_CONFIG_FILE,
    DEPTH_WEIGHTS_FILE,
    DepthEstimator,
    load_depth,
)
from kernel_src.runtime.files import sha256_of, write_atomically
from kernel_src.runtime.parts import OptionalPart

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


# %%
def depth_weights_in(folder: Path) -> Path:
    """Return the weights in a folder that has the hub's layout."""
    return folder / DEPTH_WEIGHTS_FILE


def load_depth_from(folder: Path) -> DepthEstimator:
    """Load the depth model of such a folder; see `load_depth`."""
    return load_depth(folder / DEPTH_WEIGHTS_FILE, folder / DEPTH_CONFIG_FILE)


def keep_depth_model(depth_folder: Path, folder: Path) -> dict[str, str]:
    """Copy the depth model beside the folds: a bundle must bring all that it was trained with."""
    for source, target in ((DEPTH_WEIGHTS_FILE, BUNDLED_DEPTH_WEIGHTS), (DEPTH_CONFIG_FILE, BUNDLED_DEPTH_CONFIG)):
        write_atomically(folder / target, partial(shutil.copyfile, depth_folder / source))
    return {
        "weights": BUNDLED_DEPTH_WEIGHTS,
        "config": BUNDLED_DEPTH_CONFIG,
        "sha256": sha256_of(folder / BUNDLED_DEPTH_WEIGHTS),
    }


class DepthMapParts(OptionalPart):
    """What training asks for where there is depth."""

    part = "depth"
    cached_depth_maps = staticmethod(cached_depth_maps)
    depth_weights_in = staticmethod(depth_weights_in)
    keep_depth_model = staticmethod(keep_depth_model)
    load_depth_from = staticmethod(load_depth_from)

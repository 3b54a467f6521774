"""## Photographs

Reading and resizing, the same few lines for training and for inference: a picture that reaches the network by another
way than it was trained on costs score without an error.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.nn.functional import interpolate
from tqdm.auto import tqdm

from kernel_src.common.files import write_atomically

INTERPOLATIONS = ("bicubic", "bilinear")  # all that timm's backbones were pretrained with


class ImageError(Exception):
    """A photograph cannot be read; the message names the file."""


class Framing(NamedTuple):
    """How a photograph becomes a network's picture: squashed to a size, by the backbone's own interpolation."""

    height_px: int
    width_px: int
    interpolation: str = "bicubic"


def read_rgb(path: Path) -> np.ndarray:
    """Decode one photograph to RGB, (height, width, 3) uint8, upright by its EXIF orientation.

    Raises:
        ImageError: the file is missing, empty or not a picture.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist: is the competition's data attached whole?") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ImageError(f"{path} ({data.size:,} bytes) cannot be decoded: download it again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def resize_rgb(image: np.ndarray, framing: Framing) -> np.ndarray:
    """Resize (height, width, 3) uint8, ignoring the aspect ratio.

    Antialiased, as Pillow does it, with which timm's backbones were pretrained: equal to one grey level where it
    shrinks, to two where it enlarges, and several times faster. OpenCV's linear and cubic modes do not antialias.
    """
    size_px = (framing.height_px, framing.width_px)
    if image.shape[:2] == size_px:
        return image
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    resized = interpolate(pixels, size_px, mode=framing.interpolation, antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


# %%
def decoded_photographs(paths: Sequence[Path], framing: Framing, folder: Path) -> np.ndarray:
    """Decode every photograph once, resized, and return them as (images, height, width, 3) uint8 on disk.

    The array is memory-mapped: every fold, epoch and worker shares it, and it does not count as memory. Its name
    carries what it was made from, so that another framing or another set of files is decoded anew.

    Raises:
        ImageError: a photograph cannot be read.
    """
    made_from = [[str(path), path.stat().st_size if path.is_file() else -1] for path in paths]
    key = hashlib.sha256(json.dumps([made_from, framing]).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / f"photographs-{framing.height_px}x{framing.width_px}-{key}.npy"

    def fill(draft: Path) -> None:
        array = open_memmap(
            draft, mode="w+", dtype=np.uint8, shape=(len(paths), framing.height_px, framing.width_px, 3)
        )
        for i, path in enumerate(tqdm(paths, desc="decoding photographs", unit="image")):
            array[i] = resize_rgb(read_rgb(path), framing)
        array.flush()

    if not cache.exists():
        write_atomically(cache, fill)
    return np.load(cache, mmap_mode="r")

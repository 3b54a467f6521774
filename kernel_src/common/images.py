"""## Photographs

Reading and resizing, the same few lines for training and for inference: a picture that reaches the network by another
way than it was trained on costs score without an error.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from tqdm.auto import tqdm

from kernel_src.common.files import write_atomically


class ImageError(Exception):
    """A photograph cannot be read; the message names the file."""


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


def resize_rgb(image: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Resize (height, width, 3) uint8 to `size_px` = (height, width), ignoring the aspect ratio.

    Area averaging when shrinking, because it is the antialiased one; cubic when enlarging.
    """
    height, width = size_px
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


# %%
def decoded_photographs(paths: Sequence[Path], size_px: tuple[int, int], folder: Path) -> np.ndarray:
    """Decode every photograph once, resized, and return them as (images, height, width, 3) uint8 on disk.

    The array is memory-mapped: every fold, epoch and worker shares it, and it does not count as memory. Its name
    carries what it was made from, so that another size or another set of files is decoded anew.

    Raises:
        ImageError: a photograph cannot be read.
    """
    made_from = [[str(path), path.stat().st_size if path.is_file() else -1] for path in paths]
    key = hashlib.sha256(json.dumps([made_from, size_px]).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / f"photographs-{size_px[0]}x{size_px[1]}-{key}.npy"

    def fill(draft: Path) -> None:
        array = open_memmap(draft, mode="w+", dtype=np.uint8, shape=(len(paths), *size_px, 3))
        for i, path in enumerate(tqdm(paths, desc="decoding photographs", unit="image")):
            array[i] = resize_rgb(read_rgb(path), size_px)
        array.flush()

    if not cache.exists():
        write_atomically(cache, fill)
    return np.load(cache, mmap_mode="r")

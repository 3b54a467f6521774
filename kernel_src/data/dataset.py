"""## Batches

Photographs decoded as they come, or decoded before. Both give uint8 pictures; they are normalised on the device, where
it costs nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from kernel_src.data.images import (
    READING_VERSION,
    Framing,
    ImageError,
    picture_tensor,
    read_photograph,
    resize_rgb,
)
from kernel_src.runtime.files import write_atomically


class DecodedPhotographs(Dataset[torch.Tensor]):
    """Photographs that are decoded already, without augmentation."""

    def __init__(self, photographs: np.ndarray, rows: np.ndarray) -> None:
        """Serve `rows` of (images, H, W, 3) uint8."""
        self.photographs, self.rows = photographs, rows

    def __len__(self) -> int:
        """Count the rows served."""
        return len(self.rows)

    def __getitem__(self, i: int) -> torch.Tensor:
        """Return picture (3, H, W) uint8."""
        return picture_tensor(self.photographs[self.rows[i]])


def decoded_photographs(
    paths: Sequence[Path], framing: Framing, folder: Path, usual: Sequence[bool] | None = None
) -> np.ndarray:
    """Decode every photograph once, resized, and return them as (images, height, width, 3) uint8 on disk.

    The array is memory-mapped: every fold, epoch and worker shares it, and it does not count as memory. Its name
    carries what it was made from, so that another framing or another set of files is decoded anew. `usual` is true
    for each that must be like the competition's.

    Raises:
        ImageError: a photograph cannot be read, or one that must be usual is not; all of those are named.
    """
    made_from = [[str(path), path.stat().st_size if path.is_file() else -1] for path in paths]
    key = hashlib.sha256(json.dumps([READING_VERSION, made_from, framing]).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    cache = folder / f"photographs-{framing.height_px}x{framing.width_px}-{key}.npy"

    def fill(draft: Path) -> None:
        array = open_memmap(
            draft, mode="w+", dtype=np.uint8, shape=(len(paths), framing.height_px, framing.width_px, 3)
        )
        odd = []
        for i, path in enumerate(tqdm(paths, desc="decoding photographs", unit="image")):
            photograph = read_photograph(path, framing.photograph_px)
            array[i] = resize_rgb(photograph.rgb, framing)
            odd += [f"{path}: {oddity}" for oddity in photograph.oddities if usual is not None and usual[i]]
        if odd:
            raise ImageError(
                "\n".join([*odd, "no photograph of the competition is like that: download its data again, whole"])
            )
        array.flush()

    if not cache.exists():
        write_atomically(cache, fill)
    return np.load(cache, mmap_mode="r")

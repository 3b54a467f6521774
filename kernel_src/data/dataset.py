"""## Batches

Photographs decoded as they come, or decoded before. Both give uint8 pictures; they are normalised on the device, where
it costs nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from kernel_src.data.images import Framing, largest_px, read_rgb, resize_rgb


class PhotographFiles(Dataset[tuple[torch.Tensor, ...]]):
    """Photographs read from disk one by one, each decoded exactly once per pass, whatever framings are wanted."""

    def __init__(self, paths: Sequence[Path], framings: Sequence[Framing]) -> None:
        """Serve `paths` in their order, each in every framing."""
        self.paths, self.framings = list(paths), list(framings)

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        """Return one picture (3, H, W) uint8 per framing, in their order."""
        photograph = read_rgb(self.paths[i], largest_px(self.framings))
        # Each from the one decoding: a picture resized twice is not what the network was trained on.
        return tuple(picture_tensor(resize_rgb(photograph, framing)) for framing in self.framings)


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


# %%
def picture_tensor(picture: np.ndarray) -> torch.Tensor:
    """Turn (H, W, 3) uint8 into a tensor (3, H, W) that owns its memory."""
    return torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))

"""## Batches

Photographs decoded as they come, or decoded before. Both give uint8 pictures; they are normalised on the device, where
it costs nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from kernel_src.common.images import read_rgb, resize_rgb


class PhotographFiles(Dataset[torch.Tensor]):
    """Photographs read from disk one by one, each decoded exactly once per pass."""

    def __init__(self, paths: Sequence[Path], size_px: tuple[int, int]) -> None:
        """Serve `paths` in their order, resized to (height, width)."""
        self.paths, self.size_px = list(paths), size_px

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        """Return picture (3, H, W) uint8."""
        return picture_tensor(resize_rgb(read_rgb(self.paths[i]), self.size_px))


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
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)).copy())

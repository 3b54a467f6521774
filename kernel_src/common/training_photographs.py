"""## Batches to train on

Decoded photographs with their targets, augmented and shuffled by seeds that depend on the place alone.
"""

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from kernel_src.common.augmentation import augmentation, reseed
from kernel_src.common.dataset import picture_tensor
from kernel_src.common.images import resize_rgb
from kernel_src.common.randomness import seed_at


class TrainingPhotographs(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """Decoded photographs (images, H, W, 3) with targets (images, 5), augmented by a seed per epoch and image."""

    def __init__(self, photographs: np.ndarray, targets: np.ndarray, rows: np.ndarray, preset: str, seed: int) -> None:
        """Serve `rows` of the arrays; set `epoch` before each pass."""
        self.photographs, self.targets, self.rows, self.seed = photographs, targets.astype(np.float32), rows, seed
        self.augment = augmentation(preset)
        self.epoch = 0

    def __len__(self) -> int:
        """Count the rows served."""
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return picture (3, H, W) uint8, targets (5,) in grams, and the row."""
        row = int(self.rows[i])
        reseed(self.augment, seed_at(self.seed, "epoch", self.epoch, "row", row))
        picture = self.augment(image=np.array(self.photographs[row]))["image"]
        # A quarter turn of a picture that is not square changes its shape.
        picture = resize_rgb(picture, self.photographs.shape[1:3])
        return picture_tensor(picture), torch.from_numpy(self.targets[row]), row


class SeededOrder(Sampler[int]):
    """A shuffle that depends on seed and epoch alone."""

    def __init__(self, length: int, seed: int) -> None:
        """Shuffle `length` items; set `epoch` before each pass."""
        self.length, self.seed, self.epoch = length, seed, 0

    def __len__(self) -> int:
        """Count the items."""
        return self.length

    def __iter__(self):  # type: ignore[no-untyped-def]  # Iterator[int], as Sampler declares
        """Yield every index once."""
        generator = torch.Generator().manual_seed(seed_at(self.seed, "order", self.epoch))
        return iter(torch.randperm(self.length, generator=generator).tolist())

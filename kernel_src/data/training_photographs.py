"""## Batches to train on

Decoded photographs with their targets, augmented and shuffled by seeds that depend on the place alone. A depth map
takes every turn and shift that its photograph takes; both keep their shape. Where the targets are amounts, the label of
a photograph of which only a part remains is what remains: half of the subject weighs half, and its density stays the
same. Any other label, a class for one, is that of the whole photograph, whatever remains of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from kernel_src.competitions.held_facts import facts
from kernel_src.data.augmentation import augmentation, reseed
from kernel_src.data.images import picture_tensor
from kernel_src.recipes.training_data import COVERED, VISIBLE, Augment
from kernel_src.runtime.randomness import seed_at


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """What one fold trains on."""

    photographs: np.ndarray  # (images, H, W, 3) uint8, all of them
    depth_maps: np.ndarray | None = None  # (images, C, H, W)
    values: np.ndarray  # (images, targets)
    train_rows: np.ndarray  # indices
    inner_rows: np.ndarray  # indices that pick the epoch, taken from the training rows; may be empty
    pseudo: np.ndarray | None = None  # (images,) of bool: the targets were predicted, not measured
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)  # (images,) each, for auxiliary targets
    inputs: np.ndarray | None = None  # (images, inputs) of the competition's table; None: the network reads none


class TrainingExample(TypedDict):
    """One photograph to train on."""

    picture: torch.Tensor  # (3, H, W) uint8
    depth: torch.Tensor  # (C, H, W) float32, C = 0 without depth
    inputs: torch.Tensor  # (I,) float32, I = 0 where the network reads none
    values: torch.Tensor  # (targets,)
    weight: float  # of its loss
    row: int


class TrainingBatch(TypedDict):
    """Several of them, as the loader stacks them."""

    picture: torch.Tensor  # (B, 3, H, W) uint8
    depth: torch.Tensor  # (B, C, H, W)
    inputs: torch.Tensor  # (B, I)
    values: torch.Tensor  # (B, targets)
    weight: torch.Tensor  # (B,)
    row: torch.Tensor  # (B,)


# %%
class TrainingPhotographs(Dataset[TrainingExample]):
    """Decoded photographs with targets, augmented by a seed per epoch and image."""

    def __init__(
        self,
        photographs: np.ndarray,
        targets: np.ndarray,
        rows: np.ndarray,
        augment: Augment,
        seed: int,
        *,
        density: bool = False,
        depth_maps: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        inputs: np.ndarray | None = None,
    ) -> None:
        """Serve `rows` of the arrays; set `epoch` before each pass.

        `photographs` (images, H, W, 3) uint8, `targets` (images, targets), `depth_maps` (images, C, H, W),
        `weights` (images,) of the loss, 1 unless given, `inputs` (images, inputs) of the table. `density`: the network
        answers the mean over the picture of the amount per photograph's area, so that a crop has the label of the whole
        and black padding has none.
        """
        self.photographs, self.targets, self.rows, self.seed = photographs, targets.astype(np.float32), rows, seed
        self.depth_maps = depth_maps
        self.weights = np.ones(len(targets)) if weights is None else weights
        self.inputs = (np.zeros((len(targets), 0)) if inputs is None else inputs).astype(np.float32)
        self.augment = augmentation(augment, with_depth=depth_maps is not None)
        self.remaining = COVERED if density else VISIBLE  # what an amount is multiplied by
        self.is_amount = facts().is_amount
        # Shared, so that loading processes which live longer than an epoch see it change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch, from 0, that augmentation is seeded by; set it before each pass."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch[0] = epoch

    def __len__(self) -> int:
        """Count the rows served."""
        return len(self.rows)

    def __getitem__(self, i: int) -> TrainingExample:
        """Return one photograph, augmented, with what belongs to it."""
        row = int(self.rows[i])
        reseed(self.augment, seed_at(self.seed, "epoch", self.epoch, "row", row))
        given: dict[str, Any] = {"image": np.array(self.photographs[row]), VISIBLE: 1.0, COVERED: 1.0}
        if self.depth_maps is not None:
            given["depth"] = np.ascontiguousarray(self.depth_maps[row].transpose(1, 2, 0), dtype=np.float32)
        turned = self.augment(**given)
        picture = turned["image"]
        assert picture.shape == self.photographs.shape[1:]  # nothing is ever squeezed back
        return {
            "picture": picture_tensor(picture),
            "depth": depth_tensor(turned["depth"]) if "depth" in turned else torch.empty(0, *picture.shape[:2]),
            "inputs": torch.from_numpy(self.inputs[row]),
            "values": torch.from_numpy(self.targets[row] * np.float32(turned[self.remaining] if self.is_amount else 1)),
            "weight": float(self.weights[row]),
            "row": row,
        }


def depth_tensor(depth: np.ndarray) -> torch.Tensor:
    """Turn a depth map (H, W, C) into a tensor (C, H, W) that owns its memory."""
    return torch.from_numpy(np.ascontiguousarray(depth.transpose(2, 0, 1)).copy())


# %%
class SeededOrder(Sampler[int]):
    """A shuffle that depends on seed and epoch alone."""

    def __init__(self, length: int, seed: int) -> None:
        """Shuffle `length` items; set `epoch` before each pass, and `start` to leave out the first so many."""
        self.length, self.seed, self.epoch, self.start = length, seed, 0, 0

    def __len__(self) -> int:
        """Count the items of a whole pass."""
        return self.length

    def __iter__(self) -> Iterator[int]:
        """Yield every index from `start` on once."""
        generator = torch.Generator().manual_seed(seed_at(self.seed, "order", self.epoch))
        return iter(torch.randperm(self.length, generator=generator).tolist()[self.start :])

"""## The batches of a fold

Its rows in a new order in every epoch, augmented, from any batch on: a resumed training gets those that are left.
"""

from collections.abc import Iterator

import numpy as np
from accelerate import Accelerator
from torch.utils.data import DataLoader

from kernel_src.data.training_photographs import FoldData, SeededOrder, TrainingBatch, TrainingPhotographs
from kernel_src.models.full_pass import loading_processes
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.device import DeviceReport


class TrainingBatches:
    """The batches of a fold, cut between the processes; those of one epoch at a time."""

    def __init__(
        self, experiment: Experiment, data: FoldData, seed: int, accelerator: Accelerator, device: DeviceReport
    ) -> None:
        """Serve the fold's training rows; a pseudo-label counts less than a weighed one."""
        self.size = experiment.batch.size
        self.photographs = TrainingPhotographs(
            data.photographs,
            data.values,
            data.train_rows,
            experiment.augment,
            seed,
            density=experiment.predicts_density,
            depth_maps=data.depth_maps,
            weights=row_weights(experiment, data),
            inputs=data.inputs,
        )
        self.order = SeededOrder(len(self.photographs), seed)
        workers = loading_processes(device)
        self.loader = accelerator.prepare(
            DataLoader(
                self.photographs,
                self.size,
                sampler=self.order,
                # A last batch of one picture would be all noise to a batch norm; other epochs leave out other pictures.
                drop_last=len(self.photographs) >= self.size,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=device.kind == "cuda",
            )
        )

    def __len__(self) -> int:
        """Count the batches of a whole epoch."""
        return len(self.loader)

    def left_of(self, epoch: int, done: int) -> Iterator[tuple[int, TrainingBatch]]:
        """Yield the batches of an epoch, counted from 0, after the first `done`, with their numbers."""
        self.order.epoch = self.photographs.epoch = epoch
        self.order.start = done * self.size
        return enumerate(self.loader, done)


def row_weights(experiment: Experiment, data: FoldData) -> np.ndarray:
    """Return what each row counts in the loss, (images,)."""
    weights = np.ones(len(data.values))
    if data.pseudo is not None and experiment.data.pseudo is not None:
        weights[data.pseudo] = experiment.data.pseudo.weight
    return weights

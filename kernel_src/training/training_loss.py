"""## The loss in training

Of a batch, of the inner fold that picks the epoch, and what to say when it is not a number any more. Every random
number that a batch needs depends on its place alone, so that a resumed training draws the same ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch

import kernel_src.training.mixing  # noqa: F401  # part: mixing
from kernel_src.data.preprocessing import Preprocessing
from kernel_src.data.training_photographs import FoldData, TrainingBatch
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import BatchR2, Loss
from kernel_src.runtime.parts import optional_part
from kernel_src.runtime.randomness import seed_at
from kernel_src.training.gradient_steps import Blame
from kernel_src.training.losses import loss_of
from kernel_src.training.training_net import TrainingNet


class BatchPlace(NamedTuple):
    """Where a batch stands in the training of a fold."""

    epoch: int  # from 0
    batch: int  # of the epoch, from 0


def depth_of(batch: TrainingBatch) -> torch.Tensor | None:
    """Return the depth maps of a batch (B, C, H, W), None where there are none."""
    return batch["depth"] if batch["depth"].shape[1] else None


def inputs_of(batch: TrainingBatch) -> torch.Tensor | None:
    """Return the numbers of the table (B, I) of a batch, None where the network reads none."""
    return batch["inputs"] if batch["inputs"].shape[1] else None


def batch_loss(
    model: TrainingNet, answers: torch.Tensor, values: torch.Tensor, loss: Loss, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the loss of answers (B, targets) against values (B, targets), each picture with its own weight (B,)."""
    return loss_of(
        model.to_loss_z(answers.float()),
        model.loss_scaling.to_z(values),
        loss,
        scaling=model.loss_scaling,
        weights=None if weights is None else weights.float(),
        log_variances=model.log_variances,
    )


# %%
@dataclass(kw_only=True)
class BatchLosses:
    """How the losses of a fold's batches are computed, in one of its processes."""

    model: TrainingNet
    experiment: Experiment
    preprocessing: Preprocessing
    fold: int
    seed: int  # of the fold
    process: int
    device: torch.device
    half: bool

    def add_gradients(
        self, place: BatchPlace, batch: TrainingBatch, parts: int, scale: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Add the gradients of one batch, computed in micro-batches, to those that wait; return its loss.

        `scale` is what half precision does to a loss before its backward pass.
        """
        self._seed_dropout(place)
        images = len(batch["row"])
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(micro_batches(batch, parts)):
            share = len(part["row"]) / images  # the loss of the whole is the mean over its photographs
            loss = self._of_part(place, number, part)[0] * share
            scale(loss).backward()
            total += loss.detach()
        return total

    @torch.no_grad()
    def blame(self, place: BatchPlace, batch: TrainingBatch, parts: int, rate: float) -> Blame:
        """Say why the loss of a batch is not finite; nothing where it is, in this process."""
        self._seed_dropout(place)
        for number, part in enumerate(micro_batches(batch, parts)):
            loss, answers = self._of_part(place, number, part)
            if not torch.isfinite(loss):
                return divergence_cause(self.fold, place, answers, part, rate)
        return Blame("")

    def _of_part(self, place: BatchPlace, number: int, part: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a micro-batch, and the answers (B, targets) behind it."""
        mixer = self._mixer(place, number, len(part["row"]))
        pictures = part["picture"] if mixer is None else mixer.mix_pictures(part["picture"])
        inputs = inputs_of(part)
        if mixer is not None and inputs is not None:
            inputs = mixer.mix_inputs(inputs)
        with torch.autocast(self.device.type, torch.float16, enabled=self.half):
            given = self.preprocessing.normalise(pictures), depth_of(part), inputs
            if self.model.auxiliary is None and (mixer is None or mixer.tokens is None):
                answers, features = self.model(*given), None
            else:
                answers, features = self.model.with_features(*given, mixer.tokens if mixer else None)
        if mixer is not None:
            part = mixer.mix_labels(part)
        loss = batch_loss(self.model, answers, part["values"], self.experiment.loss, part["weight"])
        if features is not None and self.model.auxiliary is not None:
            loss = loss + self.model.auxiliary(features.float(), part["values"], part["row"], part["weight"].float())
        return loss, answers

    def _mixer(self, place: BatchPlace, number: int, photographs: int) -> Any:
        """Return what mixes the photographs of a micro-batch, None where nothing does."""
        mix = self.experiment.augment.mix
        if mix is None:
            return None
        return optional_part("mixing").Mixer(
            mix, photographs, seed_at(self.seed, "mixing", *place, self.process, number)
        )

    def _seed_dropout(self, place: BatchPlace) -> None:
        """Let dropout depend on the place of the batch alone."""
        torch.manual_seed(seed_at(self.seed, "dropout", *place, self.process))


def micro_batches(batch: TrainingBatch, parts: int) -> list[TrainingBatch]:
    """Cut a batch into so many parts of the same size, up to one photograph; fewer where there are not so many."""
    size = math.ceil(len(batch["row"]) / parts)
    tensors: dict[str, Any] = {**batch}
    pieces = [torch.split(values, size) for values in tensors.values()]
    return [cast(TrainingBatch, dict(zip(tensors, part, strict=True))) for part in zip(*pieces, strict=True)]


# %%
def upright_pictures(
    data: FoldData, rows: np.ndarray, preprocessing: Preprocessing, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return rows without augmentation, as a network is given them.

    Normalised pictures (B, 3, H, W), their depth (B, C, H, W) and their inputs (B, I), if there are any.
    """
    raw = torch.from_numpy(np.ascontiguousarray(data.photographs[rows].transpose(0, 3, 1, 2))).to(device)
    depth = None
    if data.depth_maps is not None:
        depth = torch.from_numpy(data.depth_maps[rows].astype(np.float32)).to(device)
    inputs = None
    if data.inputs is not None:
        inputs = torch.from_numpy(data.inputs[rows].astype(np.float32)).to(device)
    return preprocessing.normalise(raw), depth, inputs


@torch.inference_mode()
def inner_loss(
    model: TrainingNet,
    data: FoldData,
    preprocessing: Preprocessing,
    experiment: Experiment,
    device: torch.device,
    half: bool,
) -> float | None:
    """Return the loss on the inner rows without augmentation, None if there are none; auxiliary targets do not count.

    Of `BatchR2` all of them are one batch.
    """
    rows, size = data.inner_rows, experiment.batch.size
    if not len(rows):
        return None
    model.eval()
    seen = []
    for start in range(0, len(rows), size):
        with torch.autocast(device.type, torch.float16, enabled=half):
            seen.append(model(*upright_pictures(data, rows[start : start + size], preprocessing, device)))
    if isinstance(experiment.loss, BatchR2):
        seen, size = [torch.cat(seen)], len(rows)
    total = 0.0
    for number, answers in enumerate(seen):
        chosen = rows[number * size : (number + 1) * size]
        values = torch.from_numpy(data.values[chosen].astype(np.float32)).to(device)
        total += float(batch_loss(model, answers, values, experiment.loss)) * len(chosen)
    return total / len(rows)


def divergence_cause(fold: int, place: BatchPlace, answers: torch.Tensor, given: TrainingBatch, rate: float) -> Blame:
    """Say why a loss is not finite: the labels, the network, or the arithmetic."""
    rows, values = given["row"], given["values"]
    where = f"fold {fold}, epoch {place.epoch + 1}, batch {place.batch + 1} (rows {rows.tolist()})"
    if not torch.isfinite(values).all():
        bad = rows[~torch.isfinite(values).all(1)].tolist()
        return Blame(
            f"the loss is not finite at {where}: the labels of rows {bad} are not; mend train.csv", labels=True
        )
    cure = "Cure: a lower optimizer.lr, optimizer.clip_norm=1.0, or a longer warm-up"
    if not torch.isfinite(answers).all():
        return Blame(
            f"the loss is not finite at {where}: the network's output is not, at learning rate {rate:.2g}. {cure}"
        )
    return Blame(f"the loss is not finite at {where}: outputs reach {float(answers.abs().max()):.3g}. {cure}")

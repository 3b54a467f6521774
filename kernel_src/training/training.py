"""## Training one fold

The same loop on the CPU, on one GPU and on two (accelerate cuts each batch between them). No look at the fold that will
be scored: either the last epoch counts, or an inner fold of the training rows picks one. What half precision cannot
train is trained again in fp32, from the last checkpoint.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from kernel_src.data.training_photographs import FoldData, SeededOrder, TrainingBatch, TrainingPhotographs
from kernel_src.models.full_pass import loading_processes
from kernel_src.models.precision import COMPARED_PHOTOGRAPHS, choose_precision
from kernel_src.models.starting_weights import load_starting_weights, preprocessing_of
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, InnerFold, Keep
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import write_text
from kernel_src.runtime.randomness import seed_at
from kernel_src.training.checkpoint import (
    Progress,
    load_best,
    load_checkpoint,
    save_checkpoint,
    save_tensors,
    steps_done,
)
from kernel_src.training.ema import WeightAverage
from kernel_src.training.fold_files import FoldFiles, csv_text
from kernel_src.training.gradient_steps import Blame, GradientSteps, HalfPrecisionFailed
from kernel_src.training.optimization import build_optimizer, learning_rate_factor, set_learning_rates
from kernel_src.training.session import ENDLESS, Session, SessionEnded
from kernel_src.training.training_loss import batch_loss, depth_of, divergence_cause, inner_loss, upright_pictures
from kernel_src.training.training_net import TrainingNet, predicting_weights

CHECKPOINT_EVERY_S = 600.0  # at the latest, within an epoch too
SAVING_SHARE = 0.02  # of the time may go into the checkpoints after each epoch

# What `on_epoch` is given: the epoch from 1, its log row, the weights that would be kept if the training ended here.
OnEpoch = Callable[[int, dict[str, Any], Mapping[str, torch.Tensor]], None]


def new_model(experiment: Experiment, grams: np.ndarray, starting_weights: Path | None) -> TrainingNet:
    """Build the model with its starting weights, scaled to the grams (rows, 5) of its training rows."""
    torch.manual_seed(seed_at(experiment.seed, "initial weights"))
    model = TrainingNet(experiment)
    if starting_weights is not None:
        load_starting_weights(model, starting_weights)
    model.scaling.fit(grams)
    return model


def averaging(keep: Keep) -> float:
    """Return the decay of the moving average that is kept or judged; 0: there is none."""
    kept = keep.of if isinstance(keep, InnerFold) else keep
    return kept.decay if isinstance(kept, EMA) else 0.0


# %%
def train_fold(
    experiment: Experiment,
    fold: int,
    data: FoldData,
    *,
    device: DeviceReport,
    starting_weights: Path | None,
    folder: Path,
    scratch: Path | None = None,
    session: Session = ENDLESS,
    on_epoch: OnEpoch | None = None,
) -> list[dict[str, Any]]:
    """Train one fold, write `fold<k>.safetensors` (fp32) and `log<k>.csv` into `folder`, return one log row per epoch.

    A checkpoint in `scratch`, or else beside them, lets a killed session go on, with bit-equal result on the CPU: after
    each epoch where that is quick, and every ten minutes. `on_epoch` may raise to end the training.

    Raises:
        SessionEnded: the session's time is up; called again, the training goes on.
        TrainingDiverged: the loss is NaN or infinite, in fp32 too.
        torch.OutOfMemoryError: not even one photograph fits.
        WeightsError: the starting weights do not fit.
    """
    files = FoldFiles(folder, fold, scratch)
    training, failure = FoldTraining(experiment, data, device, starting_weights, files), ""
    try:
        training.run(session, on_epoch)
    except HalfPrecisionFailed as error:
        failure = str(error)
    if failure:
        training.accelerator.print(f"fold {fold}: {failure}. Once more in fp32, from its last checkpoint")
        del training  # outside the handler, which would keep its memory
        training = FoldTraining(experiment, data, device, starting_weights, files, precision="fp32")
        training.run(session, on_epoch)
    return training.progress.log


# %%
class FoldTraining:
    """The training of one fold: what it is made of, and one epoch at a time."""

    def __init__(
        self,
        experiment: Experiment,
        data: FoldData,
        device: DeviceReport,
        starting_weights: Path | None,
        files: FoldFiles,
        precision: str = "",
    ) -> None:
        """Build everything, or take it up from the checkpoint; `precision` replaces the one that it was begun with."""
        self.experiment, self.fold, self.data, self.files = experiment, files.fold, data, files
        self.seed = seed_at(experiment.seed, "fold", self.fold)
        self.accelerator = Accelerator(
            cpu=device.kind == "cpu",
            mixed_precision="no",  # this module's own, so that fp32 can follow fp16 within one process
            # batch_size counts the images of all devices together: two GPUs then see the very batches that one would.
            dataloader_config=DataLoaderConfiguration(split_batches=True, non_blocking=device.kind == "cuda"),
        )
        self.device = self.accelerator.device
        if device.kind == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        pseudo = np.zeros(len(data.grams), bool) if data.pseudo is None else data.pseudo
        weighed = data.train_rows[~pseudo[data.train_rows]]
        self.model = new_model(experiment, data.grams[weighed], starting_weights)
        # Channels last is what convolutions compute fastest in, on CPU and GPU.
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.preprocessing = preprocessing_of(experiment.encoder.timm)
        self.optimizer = build_optimizer(self.model, experiment)
        decay = averaging(experiment.keep)
        self.average = WeightAverage(self.model, decay) if decay else None
        self.progress, self.best = Progress(), dict[str, torch.Tensor]()
        self._take_up_checkpoint()
        if precision and precision != self.progress.precision:
            self.progress.precision, self.progress.scaler, self.progress.left_out = precision, {}, 0
        if not self.progress.precision:
            self.progress.precision = self.chosen_precision(device.half)
        self.half = self.progress.precision == "fp16"
        self.steps = GradientSteps(
            self.model,
            self.optimizer,
            device=self.device,
            half=self.half,
            clip_norm=experiment.optimizer.clip_norm,
            processes=self.accelerator.num_processes,
            say=lambda line: self.accelerator.print(f"fold {self.fold}: {line}"),
        )
        self.steps.parts, self.steps.left_out = self.progress.parts, self.progress.left_out
        if self.half and self.progress.scaler:
            self.steps.scaler.load_state_dict(self.progress.scaler)
        self.photographs = TrainingPhotographs(
            data.photographs,
            data.grams,
            data.train_rows,
            experiment.augment,
            self.seed,
            density=experiment.predicts_density,
            depth_maps=data.depth_maps,
            weights=np.where(pseudo, experiment.data.pseudo.weight if experiment.data.pseudo else 0.0, 1.0),
        )
        self.order = SeededOrder(len(self.photographs), self.seed)
        workers = loading_processes(device)
        self.loader = self.accelerator.prepare(
            DataLoader(
                self.photographs,
                experiment.batch.size,
                sampler=self.order,
                # A last batch of one picture would be all noise to a batch norm; other epochs leave out other pictures.
                drop_last=len(self.photographs) >= experiment.batch.size,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=device.kind == "cuda",
            )
        )
        self.batches = len(self.loader)  # of an epoch
        self.steps_per_epoch = -(-self.batches // experiment.batch.accumulate)
        self.bar = tqdm(
            total=experiment.schedule.epochs * self.batches,
            initial=self.progress.epoch * self.batches + self.progress.batch,
            desc=f"fold {self.fold}",
            unit="batch",
            disable=not self.accelerator.is_main_process,
        )
        self.time_is_up = False  # every process has the same answer
        self.slowest_step_s = 0.0
        self.saved_s, self.saving_s = time.monotonic(), 0.0  # when it was saved last, and how long that took

    def _take_up_checkpoint(self) -> None:
        """Go on from the furthest checkpoint there is, where there is one."""
        if self.accelerator.is_main_process:
            self.files.clear()
            self.files.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        path = max((self.files.checkpoint, self.files.handed_over), key=steps_done)
        if path.exists():
            self.progress = load_checkpoint(path, self.model, self.optimizer, self.average)
            self.best = load_best(path)
            done = f"epoch {self.progress.epoch}, batch {self.progress.batch}"
            self.accelerator.print(f"fold {self.fold}: resumed after {done}")

    def chosen_precision(self, can_half: bool) -> str:
        """Return what all processes compute in, and say why."""
        rows = self.data.train_rows[:COMPARED_PHOTOGRAPHS]

        @torch.no_grad()
        def compute(half: bool) -> torch.Tensor:
            with torch.autocast(self.device.type, torch.float16, enabled=half):
                z: torch.Tensor = self.model(*upright_pictures(self.data, rows, self.preprocessing, self.device))
            return z.float()

        self.model.eval()
        choice = choose_precision(self.experiment.encoder.precision, can_half, compute)
        halves = self.accelerator.gather(torch.tensor([choice.half], device=self.device))
        name = "fp16" if bool(halves.all()) else "fp32"
        why = choice.why if name == choice.name else "another device computes otherwise in fp16"
        if can_half:
            self.accelerator.print(f"fold {self.fold}: trained in {name}: {why}")
        return name

    @property
    def is_over(self) -> bool:
        """Every epoch is done, or patience ran out."""
        keep, progress = self.experiment.keep, self.progress
        patience = keep.patience if isinstance(keep, InnerFold) else 0
        waited = progress.epoch - progress.best_epoch if progress.best_epoch is not None else 0
        return progress.epoch >= self.experiment.schedule.epochs or bool(patience and waited >= patience)

    def run(self, session: Session, on_epoch: OnEpoch | None) -> None:
        """Train all epochs that are left; see `train_fold`."""
        while not self.is_over:
            self.train_epoch(session)
            row = self.finish_epoch()
            if on_epoch is not None:
                on_epoch(row["epoch"], row, self.kept_weights)
            if self.time_is_up and not self.is_over:
                self.save()
                epochs = self.experiment.schedule.epochs
                raise SessionEnded(f"fold {self.fold}: stopped after epoch {row['epoch']} of {epochs}")
        self.finish()

    @property
    def kept_weights(self) -> Mapping[str, torch.Tensor]:
        """The weights as they are now, or their average where there is one."""
        return self.model.state_dict() if self.average is None else self.average.tensors

    def save(self) -> None:
        """Write the checkpoint, once for all processes."""
        started, progress = time.monotonic(), self.progress
        progress.parts, progress.left_out = self.steps.parts, self.steps.left_out
        progress.scaler = self.steps.scaler.state_dict()
        if self.accelerator.is_main_process:
            save_checkpoint(self.files.checkpoint, self.model, self.optimizer, progress, self.average, self.best)
        self.saved_s = time.monotonic()
        self.saving_s = self.saved_s - started

    def save_if_due(self) -> None:
        """Write the checkpoint after an epoch, where that is quick or was long ago."""
        if self.is_over:
            return  # the weights themselves come next
        waited_s = time.monotonic() - self.saved_s
        if waited_s >= min(CHECKPOINT_EVERY_S, self.saving_s / SAVING_SHARE):
            self.save()

    def train_epoch(self, session: Session) -> None:
        """Train the batches of the epoch that are left.

        Raises:
            SessionEnded: there is no time for another step; everything is saved.
            TrainingDiverged: the loss is NaN or infinite.
            HalfPrecisionFailed: it is so too often in fp16.
        """
        progress, started, before_s = self.progress, time.monotonic(), self.progress.seconds
        self.order.epoch = self.photographs.epoch = progress.epoch
        self.order.start = progress.batch * self.experiment.batch.size
        self.model.train()
        waiting: list[TrainingBatch] = []
        step_started = time.monotonic()
        for number, batch in enumerate(self.loader, progress.batch):
            waiting.append(batch)
            if len(waiting) < self.experiment.batch.accumulate and number + 1 < self.batches:
                continue
            self.take_step(waiting, session)
            self.bar.update(len(waiting))
            self.bar.set_postfix(epoch=progress.epoch + 1, loss=f"{np.mean(progress.losses or np.nan):.3f}")
            progress.batch, waiting = number + 1, []
            progress.seconds = before_s + time.monotonic() - started
            self.slowest_step_s = max(self.slowest_step_s, time.monotonic() - step_started)
            step_started = time.monotonic()
            if progress.batch == self.batches:
                continue
            if self.time_is_up:
                self.save()
                where = f"epoch {progress.epoch + 1} of {self.experiment.schedule.epochs}, batch {progress.batch}"
                raise SessionEnded(f"fold {self.fold}: stopped in {where}")
            if time.monotonic() - self.saved_s > CHECKPOINT_EVERY_S:
                self.save()

    def take_step(self, batches: Sequence[TrainingBatch], session: Session) -> None:
        """Make one optimiser step of these batches."""
        experiment, progress = self.experiment, self.progress
        factor = learning_rate_factor(experiment, progress.step, self.steps_per_epoch)
        set_learning_rates(self.optimizer, factor)
        report = self.steps.take(
            [len(batch["row"]) for batch in batches],
            lambda i: self.train_batch(progress.batch + i, batches[i]),
            lambda i: self.blame(progress.batch + i, batches[i], experiment.optimizer.lr * factor),
            # One answer for all processes: if each looked at its own clock, one would stop and the others wait for it.
            lambda: session.left_s < self.slowest_step_s,
        )
        self.time_is_up = report.time_is_up
        progress.losses += report.losses
        progress.step += 1
        if self.average is not None and report.moved:
            self.average.update(self.model, progress.step)

    def train_batch(self, number: int, batch: TrainingBatch) -> torch.Tensor:
        """Add the gradients of one batch, computed in micro-batches, to those that wait; return its loss."""
        self.seed_dropout(number)
        images = len(batch["row"])
        total = torch.zeros((), device=self.device)
        for part in micro_batches(batch, self.steps.parts):
            share = len(part["row"]) / images  # the loss of the whole is the mean over its photographs
            loss = self.loss_of_batch(part)[0] * share
            self.steps.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def loss_of_batch(self, batch: TrainingBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a batch, and the z-scores (B, 5) behind it."""
        with torch.autocast(self.device.type, torch.float16, enabled=self.half):
            z = self.model(self.preprocessing.normalise(batch["picture"]), depth_of(batch))
        return batch_loss(self.model, z, batch["grams"], self.experiment, batch["weight"]), z

    def seed_dropout(self, number: int) -> None:
        """Let dropout depend on the place of the batch alone."""
        place = (self.progress.epoch, number, self.accelerator.process_index)
        torch.manual_seed(seed_at(self.seed, "dropout", *place))

    @torch.no_grad()
    def blame(self, number: int, batch: TrainingBatch, rate: float) -> Blame:
        """Say why the loss of a batch is not finite; nothing where it is, in this process."""
        self.seed_dropout(number)
        for part in micro_batches(batch, self.steps.parts):
            loss, z = self.loss_of_batch(part)
            if not torch.isfinite(loss):
                return divergence_cause(self.fold, self.progress.epoch, number, z, part, rate)
        return Blame("")

    def finish_epoch(self) -> dict[str, Any]:
        """Validate on the inner rows, write the checkpoint where it is due, and return the log row of the epoch."""
        progress = self.progress
        if self.average is not None:
            self.average.swap(self.model)  # what is judged and kept is the average
        judged = inner_loss(self.model, self.data, self.preprocessing, self.experiment, self.device, self.half)
        if judged is not None:
            # The batch norms of each device saw their own halves: without one common number, one process would run
            # out of patience and the others wait for it for ever.
            judged = float(self.accelerator.gather(torch.tensor([judged], device=self.device))[0])
        improved = judged is not None and (progress.best_loss is None or judged < progress.best_loss)
        if improved:
            progress.best_loss, progress.best_epoch = judged, progress.epoch + 1
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            self.average.swap(self.model)
        factor = learning_rate_factor(self.experiment, progress.step - 1, self.steps_per_epoch)
        row = {
            "fold": self.fold,
            "epoch": progress.epoch + 1,
            "train_loss": float(np.mean(progress.losses or np.nan)),
            "inner_loss": judged,
            "learning_rate": self.experiment.optimizer.lr * factor,
            "seconds": round(progress.seconds, 2),
            "precision_bits": 16 if self.half else 32,
            "images_at_once": -(-self.experiment.batch.size // (self.accelerator.num_processes * self.steps.parts)),
        }
        progress.log.append(row)
        progress.epoch, progress.batch, progress.losses, progress.seconds = progress.epoch + 1, 0, [], 0.0
        self.save_if_due()
        self.accelerator.wait_for_everyone()
        return row

    def finish(self) -> None:
        """Leave the weights of the chosen epoch, or else the last, and nothing that only an unfinished fold needs."""
        self.bar.close()
        if self.accelerator.is_main_process:
            write_text(self.files.log, csv_text(self.progress.log))
            save_tensors(self.files.weights, predicting_weights(self.best or self.kept_weights))
            self.files.clear()
        self.accelerator.wait_for_everyone()


# %%
def micro_batches(batch: TrainingBatch, parts: int) -> list[TrainingBatch]:
    """Cut a batch into so many parts of the same size, up to one photograph; fewer where there are not so many."""
    size = math.ceil(len(batch["row"]) / parts)
    tensors: dict[str, Any] = {**batch}
    pieces = [torch.split(values, size) for values in tensors.values()]
    return [cast(TrainingBatch, dict(zip(tensors, part, strict=True))) for part in zip(*pieces, strict=True)]

"""## Training one fold

The same loop on the CPU, on one GPU and on two (accelerate cuts each batch between them). No look at the fold that will
be scored: either the last epoch counts, or an inner fold of the training rows picks one. What half precision cannot
train is trained again in fp32, from the last checkpoint.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from tqdm.auto import tqdm

from kernel_src.data.training_photographs import FoldData, TrainingBatch
from kernel_src.models.precision import COMPARED_PHOTOGRAPHS, choose_precision
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import InnerFold
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import write_text
from kernel_src.runtime.randomness import seed_at
from kernel_src.training.averages import ChosenWeights, KeptWeights
from kernel_src.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_tensors, steps_done
from kernel_src.training.fold_files import FoldFiles, csv_text
from kernel_src.training.gradient_steps import GradientSteps, HalfPrecisionFailed
from kernel_src.training.optimization import build_optimizer, learning_rate_factor, set_learning_rates
from kernel_src.training.session import ENDLESS, Session, SessionEnded
from kernel_src.training.training_batches import TrainingBatches
from kernel_src.training.training_loss import BatchLosses, BatchPlace, inner_loss, upright_pictures
from kernel_src.training.training_net import TrainingNet, new_model, predicting_weights

CHECKPOINT_EVERY_S = 600.0  # at the latest, within an epoch too
SAVING_SHARE = 0.02  # of the time may go into the checkpoints after each epoch

# What `on_epoch` is given: the epoch from 1, its log row, the weights that would be kept if the training ended here.
OnEpoch = Callable[[int, dict[str, Any], Mapping[str, torch.Tensor]], None]


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
        self.preprocessing = preprocessing_of(experiment.encoder.timm)
        self.model = self._untrained(starting_weights)
        self.optimizer = build_optimizer(self.model, experiment.optimizer)
        self.kept = KeptWeights(experiment.keep, self.model, experiment.schedule.epochs)
        self.progress = Progress()
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
        self.losses = BatchLosses(
            model=self.model,
            experiment=experiment,
            preprocessing=self.preprocessing,
            fold=self.fold,
            seed=self.seed,
            process=self.accelerator.process_index,
            device=self.device,
            half=self.half,
        )
        self.loader = TrainingBatches(experiment, data, self.seed, self.accelerator, device)
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

    def _untrained(self, starting_weights: Path | None) -> TrainingNet:
        """Build the model, where it computes; what it takes from the labels it takes from those that were weighed."""
        data = self.data
        pseudo = np.zeros(len(data.values), bool) if data.pseudo is None else data.pseudo
        weighed = data.train_rows[~pseudo[data.train_rows]]
        inputs = None if data.inputs is None else data.inputs[weighed]
        model = new_model(self.experiment, data.values[weighed], starting_weights, inputs)
        model.add_auxiliary(self.experiment, data, weighed)
        # Channels last is what convolutions compute fastest in, on CPU and GPU.
        return model.to(self.device).to(memory_format=torch.channels_last)

    def _take_up_checkpoint(self) -> None:
        """Go on from the furthest checkpoint there is, where there is one."""
        if self.accelerator.is_main_process:
            self.files.clear()
            self.files.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        path = max((self.files.checkpoint, self.files.handed_over), key=steps_done)
        if path.exists():
            self.progress = load_checkpoint(path, self.model, self.optimizer, self.kept)
            done = f"epoch {self.progress.epoch}, batch {self.progress.batch}"
            self.accelerator.print(f"fold {self.fold}: resumed after {done}")

    def chosen_precision(self, can_half: bool) -> str:
        """Return what all processes compute in, and say why."""
        rows = self.data.train_rows[:COMPARED_PHOTOGRAPHS]

        @torch.no_grad()
        def compute(half: bool) -> torch.Tensor:
            with torch.autocast(self.device.type, torch.float16, enabled=half):
                answers = self.model(*upright_pictures(self.data, rows, self.preprocessing, self.device))
            return self.model.to_loss_z(answers.float())

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
        best_epoch = self.kept.best.best_epoch
        waited = progress.epoch - best_epoch if best_epoch is not None else 0
        return progress.epoch >= self.experiment.schedule.epochs or bool(patience and waited >= patience)

    def run(self, session: Session, on_epoch: OnEpoch | None) -> None:
        """Train all epochs that are left; see `train_fold`."""
        while not self.is_over:
            self.train_epoch(session)
            row = self.finish_epoch()
            self.accelerator.print(epoch_line(row, self.experiment.schedule.epochs))
            if on_epoch is not None:
                on_epoch(row["epoch"], row, self.with_own_statistics(self.kept.present(self.model)))
            if self.time_is_up and not self.is_over:
                self.save()
                epochs = self.experiment.schedule.epochs
                raise SessionEnded(f"fold {self.fold}: stopped after epoch {row['epoch']} of {epochs}")
        self.finish()

    def save(self) -> None:
        """Write the checkpoint, once for all processes."""
        started, progress = time.monotonic(), self.progress
        progress.parts, progress.left_out = self.steps.parts, self.steps.left_out
        progress.scaler = self.steps.scaler.state_dict()
        if self.accelerator.is_main_process:
            save_checkpoint(self.files.checkpoint, self.model, self.optimizer, progress, self.kept)
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
        self.model.train()
        waiting: list[TrainingBatch] = []
        step_started = time.monotonic()
        for number, batch in self.loader.left_of(progress.epoch, progress.batch):
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
        progress, optimizer = self.progress, self.experiment.optimizer
        factor = learning_rate_factor(self.experiment.schedule, progress.step, self.steps_per_epoch)
        set_learning_rates(self.optimizer, factor)
        places = [BatchPlace(progress.epoch, progress.batch + i) for i in range(len(batches))]
        report = self.steps.take(
            [len(batch["row"]) for batch in batches],
            lambda i: self.losses.add_gradients(places[i], batches[i], self.steps.parts, self.steps.scaler.scale),
            lambda i: self.losses.blame(places[i], batches[i], self.steps.parts, optimizer.lr * factor),
            # One answer for all processes: if each looked at its own clock, one would stop and the others wait for it.
            lambda: session.left_s < self.slowest_step_s,
        )
        self.time_is_up = report.time_is_up
        progress.losses += report.losses
        progress.step += 1
        if self.kept.average is not None and report.moved:
            self.kept.average.after_step(self.model, progress.step)

    def finish_epoch(self) -> dict[str, Any]:
        """Validate on the inner rows, write the checkpoint where it is due, and return the log row of the epoch."""
        progress = self.progress
        if self.kept.average is not None:
            self.kept.average.after_epoch(self.model, progress.epoch + 1)
        judged = self.judge()
        factor = learning_rate_factor(self.experiment.schedule, progress.step - 1, self.steps_per_epoch)
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

    def judge(self) -> float | None:
        """Return the loss on the inner rows, of the average where there is one; the best epochs are kept."""
        if not len(self.data.inner_rows):
            return None
        with self.kept.in_place(self.model):
            judged = inner_loss(self.model, self.data, self.preprocessing, self.experiment, self.device, self.half)
            assert judged is not None
            # The batch norms of each device saw their own halves: without one common number, one process would run
            # out of patience and the others wait for it for ever.
            judged = float(self.accelerator.gather(torch.tensor([judged], device=self.device))[0])
            self.kept.best.take(judged, self.progress.epoch + 1, self.model.state_dict())
        return judged

    def finish(self) -> None:
        """Leave the weights that the experiment keeps, and nothing that only an unfinished fold needs."""
        self.bar.close()
        if self.accelerator.is_main_process:
            write_text(self.files.log, csv_text(self.progress.log))
            weights = self.with_own_statistics(self.kept.final(self.model))
            save_tensors(self.files.weights, predicting_weights(weights))
            self.files.clear()
        self.accelerator.wait_for_everyone()

    def with_own_statistics(self, chosen: ChosenWeights) -> Mapping[str, torch.Tensor]:
        """Return weights; if they are a mean over epochs, with the batch norms' statistics of the training rows."""

        def look(rows: np.ndarray) -> None:
            with torch.autocast(self.device.type, torch.float16, enabled=self.half):
                self.model(*upright_pictures(self.data, rows, self.preprocessing, self.device))

        rows, size = self.data.train_rows, -(-self.experiment.batch.size // self.steps.parts)
        return chosen.with_own_statistics(self.model, np.array_split(rows, -(-len(rows) // size)), look)


# %%
def epoch_line(row: Mapping[str, Any], epochs: int) -> str:
    """Say in one line how far a fold is; a bar that is a widget leaves nothing in the log of a run.

    The time left is what the rest would take at the pace of this epoch.
    """
    inner = "" if row["inner_loss"] is None else f", inner loss {row['inner_loss']:.3f}"
    left = f", {row['seconds'] * (epochs - row['epoch']) / 60:.1f} min left" if row["epoch"] < epochs else ""
    return f"fold {row['fold']}: epoch {row['epoch']} of {epochs}, loss {row['train_loss']:.3f}{inner}{left}"

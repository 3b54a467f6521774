"""## Training one fold

The same loop on the CPU, on one GPU and on two (accelerate cuts each batch between them). No look at the fold that will
be scored: either the last epoch counts, or an inner fold of the training rows picks one.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from kernel_src.common.checkpoint import Progress, load_checkpoint, save_checkpoint, save_tensors
from kernel_src.common.device import DeviceReport
from kernel_src.common.ema import WeightAverage
from kernel_src.common.experiment import Experiment
from kernel_src.common.files import write_text
from kernel_src.common.fold_files import FoldFiles, csv_text
from kernel_src.common.model import BiomassNet, load_strictly
from kernel_src.common.optimization import build_optimizer, learning_rate_factor, set_learning_rates
from kernel_src.common.prediction import loading_processes
from kernel_src.common.preprocessing import preprocessing_of
from kernel_src.common.randomness import seed_at
from kernel_src.common.session import ENDLESS, Session, SessionEnded
from kernel_src.common.starting_weights import load_starting_weights
from kernel_src.common.training_loss import TrainingDiverged, batch_loss, depth_of, divergence_cause, inner_loss
from kernel_src.common.training_photographs import FoldData, SeededOrder, TrainingBatch, TrainingPhotographs
from kernel_src.common.weight_files import read_weights

CHECKPOINT_EVERY_S = 600.0  # within an epoch; after each epoch in any case


def new_model(experiment: Experiment, grams: np.ndarray, starting_weights: Path | None) -> BiomassNet:
    """Build the model with its starting weights, scaled to the grams (rows, 5) of its training rows."""
    torch.manual_seed(seed_at(experiment.seed, "initial weights"))
    model = BiomassNet(experiment)
    if starting_weights is not None:
        load_starting_weights(model, starting_weights)
    model.scaling.fit(grams)
    return model


# %%
def train_fold(
    experiment: Experiment,
    fold: int,
    data: FoldData,
    *,
    device: DeviceReport,
    starting_weights: Path | None,
    folder: Path,
    session: Session = ENDLESS,
    on_epoch: Callable[[int, dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train one fold, write `fold<k>.safetensors` (fp32) and `log<k>.csv` into `folder`, return one log row per epoch.

    A checkpoint beside them lets a killed session go on after its last whole epoch, or from within one that takes more
    than ten minutes, with bit-equal result on the CPU. `on_epoch` is told each epoch (from 1) and its log row after
    they are saved; what it raises ends the training.

    Raises:
        SessionEnded: the session's time is up; called again, the training goes on.
        TrainingDiverged: the loss is NaN or infinite.
        WeightsError: the starting weights do not fit.
    """
    training = FoldTraining(experiment, fold, data, device, starting_weights, folder)
    while not training.is_over:
        training.train_epoch(session)
        row = training.finish_epoch()
        if on_epoch is not None:
            on_epoch(row["epoch"], row)
        if training.time_is_up and not training.is_over:
            raise SessionEnded(f"fold {fold}: stopped after epoch {row['epoch']} of {experiment.epochs}")
    training.finish()
    return training.progress.log


class FoldTraining:
    """The training of one fold: what it is made of, and one epoch at a time."""

    def __init__(
        self,
        experiment: Experiment,
        fold: int,
        data: FoldData,
        device: DeviceReport,
        starting_weights: Path | None,
        folder: Path,
    ) -> None:
        """Build everything, or take it up from the checkpoint."""
        self.experiment, self.fold, self.data = experiment, fold, data
        self.files = FoldFiles(folder, fold)
        self.seed = seed_at(experiment.seed, "fold", fold)
        self.accelerator = Accelerator(
            cpu=device.kind == "cpu",
            mixed_precision="fp16" if device.half else "no",
            gradient_accumulation_steps=experiment.accumulate_steps,
            # batch_size counts the images of all devices together: two GPUs then see the very batches that one would.
            dataloader_config=DataLoaderConfiguration(split_batches=True),
        )
        pseudo = np.zeros(len(data.grams), bool) if data.pseudo is None else data.pseudo
        weighed = data.train_rows[~pseudo[data.train_rows]]
        model = new_model(experiment, data.grams[weighed], starting_weights)
        self.preprocessing = preprocessing_of(experiment.backbone)
        optimizer = build_optimizer(model, experiment)
        self.average = WeightAverage(model, experiment.ema_decay) if experiment.ema_decay else None
        self.progress = Progress()
        if self.accelerator.is_main_process:
            self.files.clear()
        if self.files.checkpoint.exists():
            self.progress = load_checkpoint(self.files.checkpoint, model, optimizer, self.average)
            done = f"epoch {self.progress.epoch}, batch {self.progress.batch}"
            self.accelerator.print(f"fold {fold}: resumed after {done}")
        self.photographs = TrainingPhotographs(
            data.photographs,
            data.grams,
            data.train_rows,
            experiment.augmentation,
            self.seed,
            depth_maps=data.depth_maps,
            weights=np.where(pseudo, experiment.pseudo_weight, 1.0),
        )
        self.order = SeededOrder(len(self.photographs), self.seed)
        loader = DataLoader(
            self.photographs,
            experiment.batch_size,
            sampler=self.order,
            # A last batch of one picture would be all noise to a batch norm; other epochs leave out other pictures.
            drop_last=len(self.photographs) >= experiment.batch_size,
            num_workers=loading_processes(device),
            pin_memory=device.kind == "cuda",
        )
        model.to(memory_format=torch.channels_last)  # what convolutions compute fastest in, on CPU and GPU
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)
        self.bare: BiomassNet = self.accelerator.unwrap_model(self.model)
        if self.average is not None:
            self.average.to(self.accelerator.device)
        if self.accelerator.scaler is not None and self.progress.scaler:
            self.accelerator.scaler.load_state_dict(self.progress.scaler)
        self.steps_per_epoch = -(-len(self.loader) // experiment.accumulate_steps)
        self.bar = tqdm(
            total=experiment.epochs * len(self.loader),
            initial=self.progress.epoch * len(self.loader) + self.progress.batch,
            desc=f"fold {fold}",
            unit="batch",
            disable=not self.accelerator.is_main_process,
        )
        self.time_is_up = False  # every process has the same answer
        self.slowest_batch_s = 0.0
        self.saved_s = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Every epoch is done, or patience ran out."""
        patience, progress = self.experiment.patience_epochs, self.progress
        waited = progress.epoch - progress.best_epoch if progress.best_epoch is not None else 0
        return progress.epoch >= self.experiment.epochs or bool(patience and waited >= patience)

    def save(self) -> None:
        """Write the checkpoint, once for all processes."""
        self.saved_s = time.monotonic()
        if self.accelerator.scaler is not None:
            self.progress.scaler = self.accelerator.scaler.state_dict()
        if self.accelerator.is_main_process:
            save_checkpoint(self.files.checkpoint, self.bare, self.optimizer, self.progress, self.average)

    def train_epoch(self, session: Session) -> None:
        """Train the batches of the epoch that are left.

        Raises:
            SessionEnded: there is no time for another step; everything is saved.
            TrainingDiverged: the loss is NaN or infinite.
        """
        progress, started, before_s = self.progress, time.monotonic(), self.progress.seconds
        self.order.epoch = self.photographs.epoch = progress.epoch
        self.order.start = progress.batch * self.experiment.batch_size
        self.model.train()
        for number, batch in enumerate(self.loader, progress.batch):
            batch_started = time.monotonic()
            loss = self.train_batch(number, batch)
            # One answer for all processes: if each looked at its own clock, one would stop and the others wait for it.
            needed_s = self.slowest_batch_s * self.experiment.accumulate_steps
            told = self.accelerator.gather(torch.stack([loss, torch.full_like(loss, session.left_s < needed_s)])[None])
            self.time_is_up = bool(told[:, 1].any())
            progress.losses.append(float(told[:, 0].mean()))
            progress.batch = number + 1
            progress.seconds = before_s + time.monotonic() - started
            self.bar.update()
            self.bar.set_postfix(epoch=progress.epoch + 1, loss=f"{np.mean(progress.losses):.3f}")
            self.slowest_batch_s = max(self.slowest_batch_s, time.monotonic() - batch_started)
            if not self.accelerator.sync_gradients or progress.batch == len(self.loader):
                continue  # gradients that wait to be applied are not saved
            if self.time_is_up:
                self.save()
                where = f"epoch {progress.epoch + 1} of {self.experiment.epochs}, batch {progress.batch}"
                raise SessionEnded(f"fold {self.fold}: stopped in {where}")
            if time.monotonic() - self.saved_s > CHECKPOINT_EVERY_S:
                self.save()

    def train_batch(self, number: int, batch: TrainingBatch) -> torch.Tensor:
        """Take one batch, and an optimiser step if its turn has come; return the loss."""
        experiment, accelerator, progress = self.experiment, self.accelerator, self.progress
        factor = learning_rate_factor(experiment, progress.step, self.steps_per_epoch)
        set_learning_rates(self.optimizer, factor)
        torch.manual_seed(seed_at(self.seed, "dropout", progress.epoch, number, accelerator.process_index))
        with accelerator.accumulate(self.model):
            z = self.model(self.preprocessing.normalise(batch["picture"]), depth_of(batch))
            loss = batch_loss(self.bare, z, batch["grams"], experiment, batch["weight"])
            if not torch.isfinite(loss):
                raise TrainingDiverged(
                    divergence_cause(self.fold, progress.epoch, number, z, batch, experiment.learning_rate * factor)
                )
            accelerator.backward(loss)
            if accelerator.sync_gradients and experiment.clip_norm:
                accelerator.clip_grad_norm_(self.model.parameters(), experiment.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if accelerator.sync_gradients:
            progress.step += 1
            # Half precision leaves out a step whose gradients overflow.
            if self.average is not None and not self.optimizer.step_was_skipped:
                self.average.update(self.bare, progress.step)
        return loss.detach()

    def finish_epoch(self) -> dict[str, Any]:
        """Validate on the inner rows, write log and checkpoint, and return the log row of the epoch."""
        progress = self.progress
        if self.average is not None:
            self.average.swap(self.bare)  # what is judged and kept is the average
        judged = inner_loss(self.bare, self.data, self.preprocessing, self.experiment, self.accelerator.device)
        if judged is not None:
            # The batch norms of each device saw their own halves: without one common number, one process would run
            # out of patience and the others wait for it for ever.
            judged = float(self.accelerator.gather(torch.tensor([judged], device=self.accelerator.device))[0])
        improved = judged is not None and (progress.best_loss is None or judged < progress.best_loss)
        if improved:
            progress.best_loss, progress.best_epoch = judged, progress.epoch + 1
            if self.accelerator.is_main_process:
                save_tensors(self.files.best, self.bare.state_dict())
        if self.average is not None:
            self.average.swap(self.bare)
        factor = learning_rate_factor(self.experiment, progress.step - 1, self.steps_per_epoch)
        row = {
            "fold": self.fold,
            "epoch": progress.epoch + 1,
            "train_loss": float(np.mean(progress.losses)),
            "inner_loss": judged,
            "learning_rate": self.experiment.learning_rate * factor,
            "seconds": round(progress.seconds, 2),
        }
        progress.log.append(row)
        progress.epoch, progress.batch, progress.losses, progress.seconds = progress.epoch + 1, 0, [], 0.0
        self.save()
        self.accelerator.wait_for_everyone()
        return row

    def finish(self) -> None:
        """Leave the weights of the chosen epoch, or else the last, and nothing that only an unfinished fold needs."""
        self.bar.close()
        if self.accelerator.is_main_process:
            if self.progress.best_epoch is not None:
                load_strictly(self.bare, read_weights(self.files.best), str(self.files.best))
            elif self.average is not None:
                self.average.swap(self.bare)
            write_text(self.files.log, csv_text(self.progress.log))
            save_tensors(self.files.weights, self.bare.state_dict())
            self.files.clear()
        self.accelerator.wait_for_everyone()

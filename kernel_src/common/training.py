"""## Training one fold

The same loop on the CPU, on one GPU and on two (accelerate cuts each batch between them). No look at the fold that will
be scored: either the last epoch counts, or an inner fold of the training rows picks one.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from kernel_src.common.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from kernel_src.common.device import DeviceReport
from kernel_src.common.experiment import Experiment
from kernel_src.common.losses import loss_of
from kernel_src.common.model import BiomassNet, load_starting_weights, load_strictly
from kernel_src.common.optimization import build_optimizer, learning_rate_factor, set_learning_rates
from kernel_src.common.prediction import loading_processes
from kernel_src.common.preprocessing import Preprocessing, preprocessing_of
from kernel_src.common.randomness import seed_at
from kernel_src.common.training_photographs import SeededOrder, TrainingPhotographs


class TrainingDiverged(FloatingPointError):
    """The loss stopped being a number; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """What one fold trains on."""

    photographs: np.ndarray  # (images, H, W, 3) uint8, all of them
    grams: np.ndarray  # (images, 5)
    train_rows: np.ndarray  # indices
    inner_rows: np.ndarray  # indices that pick the epoch, taken from the training rows; may be empty


# %%
def new_model(experiment: Experiment, grams: np.ndarray, starting_weights: Path | None) -> BiomassNet:
    """Build the model with its starting weights, scaled to the grams (rows, 5) of its training rows."""
    torch.manual_seed(seed_at(experiment.seed, "initial weights"))
    model = BiomassNet(experiment)
    if starting_weights is not None:
        load_starting_weights(model, starting_weights)
    model.scaling.fit(grams)
    return model


def train_fold(
    experiment: Experiment,
    fold: int,
    data: FoldData,
    *,
    device: DeviceReport,
    starting_weights: Path | None,
    folder: Path,
) -> list[dict[str, Any]]:
    """Train one fold and write `fold<k>.safetensors` (fp32) into `folder`; return one log row per epoch.

    A checkpoint beside it lets a killed session go on after its last whole epoch, with bit-equal result on the CPU.

    Raises:
        TrainingDiverged: the loss is NaN or infinite.
        WeightsError: the starting weights do not fit.
    """
    accelerator = Accelerator(
        cpu=device.kind == "cpu",
        mixed_precision="fp16" if device.half else "no",
        gradient_accumulation_steps=experiment.accumulate_steps,
        # batch_size counts the images of all devices together: two GPUs then see the very batches that one would.
        dataloader_config=DataLoaderConfiguration(split_batches=True),
    )
    seed = seed_at(experiment.seed, "fold", fold)
    model = new_model(experiment, data.grams[data.train_rows], starting_weights)
    preprocessing = preprocessing_of(model.backbone)
    optimizer = build_optimizer(model, experiment)
    checkpoint, best = folder / f"checkpoint{fold}.safetensors", folder / f"best{fold}.safetensors"
    progress: dict[str, Any] = {"epoch": 0, "log": [], "best_loss": None, "best_epoch": None}
    if checkpoint.exists():
        progress = load_checkpoint(checkpoint, model, optimizer)
        accelerator.print(f"fold {fold}: resumed after epoch {progress['epoch']}")
    photographs = TrainingPhotographs(data.photographs, data.grams, data.train_rows, experiment.augmentation, seed)
    order = SeededOrder(len(photographs), seed)
    loader = DataLoader(
        photographs,
        experiment.batch_size,
        sampler=order,
        # A last batch of one picture would be all noise to a batch norm; other epochs leave out other pictures.
        drop_last=len(photographs) >= experiment.batch_size,
        num_workers=loading_processes(device),
        pin_memory=device.kind == "cuda",
    )
    model.to(memory_format=torch.channels_last)  # what convolutions compute fastest in, on CPU and GPU
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    bare = accelerator.unwrap_model(model)
    steps_per_epoch = -(-len(loader) // experiment.accumulate_steps)
    bar = tqdm(
        total=experiment.epochs * len(loader),
        initial=progress["epoch"] * len(loader),
        desc=f"fold {fold}",
        unit="batch",
        disable=not accelerator.is_main_process,
    )
    while progress["epoch"] < experiment.epochs and not _out_of_patience(experiment, progress):
        epoch, start = progress["epoch"], time.perf_counter()
        order.epoch = photographs.epoch = epoch
        model.train()
        losses = []
        step = epoch * steps_per_epoch
        for number, (raw, grams, rows) in enumerate(loader):
            factor = learning_rate_factor(experiment, step, steps_per_epoch)
            set_learning_rates(optimizer, factor)
            torch.manual_seed(seed_at(seed, "dropout", epoch, number, accelerator.process_index))
            with accelerator.accumulate(model):
                z = model(preprocessing.normalise(raw))
                loss = loss_of(z.float(), bare.scaling.to_z(grams), experiment)
                if not torch.isfinite(loss):
                    raise TrainingDiverged(
                        _cause(fold, epoch, number, z, grams, rows, experiment.learning_rate * factor)
                    )
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    if experiment.clip_norm:
                        accelerator.clip_grad_norm_(model.parameters(), experiment.clip_norm)
                    step += 1
                optimizer.step()
                optimizer.zero_grad()
            losses.append(float(accelerator.gather(loss.detach()[None]).mean()))
            bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{np.mean(losses):.3f}")
        inner_loss = _inner_loss(bare, data, preprocessing, experiment, accelerator.device)
        if inner_loss is not None:
            # The batch norms of each device saw their own halves: without one common number, one process would run
            # out of patience and the others wait for it for ever.
            inner_loss = float(accelerator.gather(torch.tensor([inner_loss], device=accelerator.device))[0])
        progress["epoch"] = epoch + 1
        progress["log"].append(
            {
                "fold": fold,
                "epoch": epoch + 1,
                "train_loss": float(np.mean(losses)),
                "inner_loss": inner_loss,
                "learning_rate": experiment.learning_rate * factor,
                "seconds": round(time.perf_counter() - start, 2),
            }
        )
        improved = inner_loss is not None and (progress["best_loss"] is None or inner_loss < progress["best_loss"])
        if improved:
            progress |= {"best_loss": inner_loss, "best_epoch": epoch + 1}
        if accelerator.is_main_process:
            if improved:
                save_tensors(best, bare.state_dict())
            save_checkpoint(checkpoint, bare, optimizer, progress)
        accelerator.wait_for_everyone()
    bar.close()
    if accelerator.is_main_process:
        if progress["best_epoch"] is not None:
            load_strictly(bare, load_file(best), str(best))
        save_tensors(folder / f"fold{fold}.safetensors", bare.state_dict())
        checkpoint.unlink(missing_ok=True)
        best.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    log: list[dict[str, Any]] = progress["log"]
    return log


# %%
def _out_of_patience(experiment: Experiment, progress: dict[str, Any]) -> bool:
    if not experiment.patience_epochs or progress["best_epoch"] is None:
        return False
    return bool(progress["epoch"] - progress["best_epoch"] >= experiment.patience_epochs)


@torch.inference_mode()
def _inner_loss(
    model: BiomassNet, data: FoldData, preprocessing: Preprocessing, experiment: Experiment, device: torch.device
) -> float | None:
    """Return the loss on the inner rows without augmentation, None if there are none."""
    if not len(data.inner_rows):
        return None
    model.eval()
    total = 0.0
    for start in range(0, len(data.inner_rows), experiment.batch_size):
        rows = data.inner_rows[start : start + experiment.batch_size]
        raw = torch.from_numpy(np.ascontiguousarray(data.photographs[rows].transpose(0, 3, 1, 2))).to(device)
        truth = torch.from_numpy(data.grams[rows].astype(np.float32)).to(device)
        z = model(preprocessing.normalise(raw))
        total += float(loss_of(z.float(), model.scaling.to_z(truth), experiment)) * len(rows)
    return total / len(data.inner_rows)


def _cause(
    fold: int, epoch: int, batch: int, z: torch.Tensor, grams: torch.Tensor, rows: torch.Tensor, rate: float
) -> str:
    """Say why a loss is not finite: the labels, the network, or the arithmetic."""
    where = f"fold {fold}, epoch {epoch + 1}, batch {batch + 1} (rows {rows.tolist()})"
    if not torch.isfinite(grams).all():
        bad = rows[~torch.isfinite(grams).all(1)].tolist()
        return f"the loss is not finite at {where}: the labels of rows {bad} are not; mend train.csv"
    if not torch.isfinite(z).all():
        return (
            f"the loss is not finite at {where}: the network's output is not, at learning rate {rate:.2g}. "
            "Cure: a lower learning_rate, clip_norm=1.0, or a longer warm-up"
        )
    return f"the loss is not finite at {where}: outputs reach {float(z.abs().max()):.3g}; lower learning_rate"

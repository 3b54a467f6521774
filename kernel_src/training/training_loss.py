"""## The loss in training

Of a batch, of the inner fold that picks the epoch, and what to say when it is not a number any more.
"""

import numpy as np
import torch

from kernel_src.data.preprocessing import Preprocessing
from kernel_src.data.training_photographs import FoldData, TrainingBatch
from kernel_src.recipes.experiment import Experiment
from kernel_src.training.gradient_steps import Blame
from kernel_src.training.losses import loss_of
from kernel_src.training.training_net import TrainingNet


def depth_of(batch: TrainingBatch) -> torch.Tensor | None:
    """Return the depth maps of a batch (B, C, H, W), None where there are none."""
    return batch["depth"] if batch["depth"].shape[1] else None


def batch_loss(
    model: TrainingNet,
    z: torch.Tensor,
    grams: torch.Tensor,
    experiment: Experiment,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the loss of z-scores (B, 5) against grams (B, 5), each picture with its own weight (B,)."""
    return loss_of(
        z.float(),
        model.scaling.to_z(grams),
        experiment,
        scaling=model.scaling,
        weights=None if weights is None else weights.float(),
        log_variances=model.log_variances,
    )


def upright_pictures(
    data: FoldData, rows: np.ndarray, preprocessing: Preprocessing, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return rows without augmentation: normalised pictures (B, 3, H, W), and their depth (B, C, H, W) if there is."""
    raw = torch.from_numpy(np.ascontiguousarray(data.photographs[rows].transpose(0, 3, 1, 2))).to(device)
    depth = None
    if data.depth_maps is not None:
        depth = torch.from_numpy(data.depth_maps[rows].astype(np.float32)).to(device)
    return preprocessing.normalise(raw), depth


@torch.inference_mode()
def inner_loss(
    model: TrainingNet,
    data: FoldData,
    preprocessing: Preprocessing,
    experiment: Experiment,
    device: torch.device,
    half: bool,
) -> float | None:
    """Return the loss on the inner rows without augmentation, None if there are none."""
    if not len(data.inner_rows):
        return None
    model.eval()
    total = 0.0
    for start in range(0, len(data.inner_rows), experiment.batch.size):
        rows = data.inner_rows[start : start + experiment.batch.size]
        grams = torch.from_numpy(data.grams[rows].astype(np.float32)).to(device)
        with torch.autocast(device.type, torch.float16, enabled=half):
            z = model(*upright_pictures(data, rows, preprocessing, device))
        loss = batch_loss(model, z, grams, experiment)
        total += float(loss) * len(rows)
    return total / len(data.inner_rows)


def divergence_cause(fold: int, epoch: int, batch: int, z: torch.Tensor, given: TrainingBatch, rate: float) -> Blame:
    """Say why a loss is not finite: the labels, the network, or the arithmetic."""
    rows, grams = given["row"], given["grams"]
    where = f"fold {fold}, epoch {epoch + 1}, batch {batch + 1} (rows {rows.tolist()})"
    if not torch.isfinite(grams).all():
        bad = rows[~torch.isfinite(grams).all(1)].tolist()
        return Blame(
            f"the loss is not finite at {where}: the labels of rows {bad} are not; mend train.csv", labels=True
        )
    if not torch.isfinite(z).all():
        return Blame(
            f"the loss is not finite at {where}: the network's output is not, at learning rate {rate:.2g}. "
            "Cure: a lower learning_rate, clip_norm=1.0, or a longer warm-up"
        )
    return Blame(f"the loss is not finite at {where}: outputs reach {float(z.abs().max()):.3g}; lower learning_rate")

"""The smallest real training: timm's own test nets on a handful of coloured pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.data.training_photographs import FoldData
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import AdamW, Batch, Cosine
from kernel_src.recipes.network import Encoder, PooledHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.training_data import Augment, Data, GroupSplit
from kernel_src.runtime.device import DeviceReport

CPU = DeviceReport(kind="cpu", name="CPU", count=1, half=False)
TINY = Experiment(
    name="tiny",
    encoder=Encoder("test_efficientnet"),
    pictures=Pictures(height_px=32, width_px=64),
    head=PooledHead((8,)),
    data=Data(split=GroupSplit(2)),
    augment=Augment("moderate"),
    optimizer=AdamW(lr=1e-3),
    schedule=Cosine(epochs=2),
    batch=Batch(4),
)
# Without batch norm and dropout, so that a batch cut in two gives what the whole one gives.
TINY_VIT = changed(TINY, {"name": "tiny-vit", "encoder.timm": "test_vit", "pictures.width_px": 32, "head.dropout": 0.0})


def fold_data(images: int = 12, inner: int = 0, size_px: tuple[int, int] = (32, 32)) -> FoldData:
    """Make noisy one-colour pictures whose weights follow the colour; the last `inner` pick the epoch."""
    random = np.random.default_rng(3)
    amount = random.gamma(2.0, 10.0, (images, 3))
    grams = np.stack(
        [amount[:, 0], amount[:, 1], amount[:, 2], amount[:, 0] + amount[:, 2], amount.sum(1)], 1
    )  # Green, Dead, Clover, GDM, Total
    noise = random.normal(0, 10, (images, *size_px, 3))
    pictures = np.clip(amount[:, None, None, :] * 3 + noise, 0, 255).astype(np.uint8)
    rows = np.arange(images)
    return FoldData(
        photographs=pictures, values=grams, train_rows=rows[: images - inner], inner_rows=rows[images - inner :]
    )


def train_tiny(experiment: Experiment, table: pd.DataFrame, competition: Path, folder: Path, **options: Any) -> None:
    """Train a run on the CPU from random weights; the photographs' cache lies beside its folder."""
    from kernel_src.training.runs import train_run

    options = {"cache": folder.parent / "cache", **options}
    train_run(experiment, table, competition, device=CPU, starting_weights=None, folder=folder, **options)

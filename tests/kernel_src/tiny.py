"""The smallest real training: timm's own test nets on a handful of coloured pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.data.training_photographs import FoldData
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.device import DeviceReport

CPU = DeviceReport(kind="cpu", name="CPU", count=1, half=False)
TINY = Experiment(
    name="tiny",
    backbone="test_efficientnet",
    image_height_px=32,
    image_width_px=64,
    head_hidden=(8,),
    folds=2,
    epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    augmentation="moderate",
)
# Without batch norm and dropout, so that a batch cut in two gives what the whole one gives.
TINY_VIT = replace(TINY, name="tiny-vit", backbone="test_vit", image_width_px=32, head_dropout=0.0)


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
        photographs=pictures, grams=grams, train_rows=rows[: images - inner], inner_rows=rows[images - inner :]
    )


def train_tiny(experiment: Experiment, table: pd.DataFrame, competition: Path, folder: Path, **options: Any) -> None:
    """Train a run on the CPU from random weights; the photographs' cache lies beside its folder."""
    from kernel_src.training.runs import train_run

    options = {"cache": folder.parent / "cache", **options}
    train_run(experiment, table, competition, device=CPU, starting_weights=None, folder=folder, **options)

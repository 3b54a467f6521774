"""How two processes share a training faster: every batch cut between them, or a fold for each.

Two folds of synthetic photographs are trained on the CPU three ways: one process on one thread (a device), two of them
cutting batches (accelerate over gloo), two of them with a fold each. One run of each; samples per second of the whole
training, starting the processes and saving included, imports not. What it says of two T4s: the order, not the numbers.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.timing import ratio
from kernel_src.data.training_photographs import FoldData
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Batch, Cosine
from kernel_src.recipes.network import Encoder
from kernel_src.recipes.pictures import Pictures
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.memory import keep_freed_memory
from kernel_src.training.launch import launch
from kernel_src.training.training import train_fold

ONE = DeviceReport(kind="cpu", name="CPU", count=1, half=False)
TWO = replace(ONE, count=2)


def synthetic(images: int, image_px: int) -> FoldData:
    """Make noise photographs with random weights."""
    random = np.random.default_rng(0)
    return FoldData(
        photographs=random.integers(0, 255, (images, image_px, image_px, 3), np.uint8),
        grams=random.gamma(2.0, 10.0, (images, 5)),
        train_rows=np.arange(images),
        inner_rows=np.zeros(0, int),
    )


def train(device: DeviceReport, folds: tuple[int, ...], experiment: Experiment, data: FoldData, folder: Path) -> None:
    """Train the folds one after the other, on one thread."""
    torch.set_num_threads(1)
    for fold in folds:
        train_fold(experiment, fold, data, device=device, starting_weights=None, folder=folder)


def samples_per_s(device: DeviceReport, spread: str, experiment: Experiment, data: FoldData) -> float:
    """Return the samples per second of two folds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        launch(train, device, spread=spread, folds=(0, 1), experiment=experiment, data=data, folder=Path(folder))
        return 2 * experiment.schedule.epochs * len(data.grams) / (time.perf_counter() - start)


def measure(quick: bool) -> dict[str, Any]:
    """Return `training.two_processes`: how many times as fast as one, once per way."""
    keep_freed_memory()
    experiment = Experiment(
        name="bench",
        encoder=Encoder("test_efficientnet"),
        pictures=Pictures(96, 96),
        schedule=Cosine(epochs=3),
        batch=Batch(16),
    )
    data = synthetic(32 if quick else 128, 96)
    # The processes are forked before this one has computed anything: OpenMP's threads do not survive a fork.
    batches = samples_per_s(TWO, "batch", experiment, data)
    folds = samples_per_s(TWO, "folds", experiment, data)
    one = samples_per_s(ONE, "batch", experiment, data)
    return {"training": {"two_processes": {"batches": ratio([batches], [one]), "folds": ratio([folds], [one])}}}

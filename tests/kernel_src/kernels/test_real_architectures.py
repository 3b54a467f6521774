"""Every real architecture, random weights: one training step and one prediction at full size."""

import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from build.weights.random_weights import DEPTH_SMALL, random_depth
from kernel_src.competitions.held_recipes import COMPETITION_OF, EXPERIMENTS
from kernel_src.data.dataset import DecodedPhotographs
from kernel_src.data.symmetries import UPRIGHT
from kernel_src.data.training_photographs import FoldData
from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE, load_depth
from kernel_src.models.full_pass import predict_values
from kernel_src.models.model import load_fold
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import Last
from kernel_src.runtime.device import check_device
from kernel_src.runtime.memory import keep_freed_memory
from kernel_src.training.depth_maps import cached_depth_maps
from kernel_src.training.training import train_fold

# v3 and v5_componly are v2 and v5 with other folds and data: the same network; that of frozen_dinov2 is v7's.
# The winners' large ones take minutes a step on two cores; their networks are density_small's with more of everything.
LARGE = {"first", "density", "fifth"}
FROZEN = {name for name, experiment in EXPERIMENTS.items() if experiment.is_frozen}
OTHERS = {name for name in EXPERIMENTS if COMPETITION_OF[name] != "biomass"}  # test_other_competitions.py trains them
NETWORKS = sorted(set(EXPERIMENTS) - {"v3", "v5_componly", "demo"} - FROZEN - LARGE - OTHERS)


def loss_prediction_and_peak(name: str) -> tuple[float, np.ndarray, float]:
    """Train one step at batch size 2 and predict one image; the peak memory of this process in GB."""
    keep_freed_memory()
    experiment = changed(
        EXPERIMENTS[name],
        {
            "encoder.weights": "",
            "schedule.epochs": 1,
            "batch.size": 2,
            "batch.accumulate": 1,
            "keep": Last(),
            "auxiliary": (),
        },
    )
    random = np.random.default_rng(0)
    photographs = random.integers(0, 255, (2, *experiment.pictures.canvas_px, 3), np.uint8)
    grams = random.gamma(2, 10, (2, 5))
    device = check_device()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        estimator, maps = None, None
        if experiment.depth:
            depth = random_depth(folder / "depth", DEPTH_SMALL)
            estimator = load_depth(depth / DEPTH_WEIGHTS_FILE, depth / DEPTH_CONFIG_FILE)
            maps = cached_depth_maps(
                photographs,
                estimator,
                depth / DEPTH_WEIGHTS_FILE,
                experiment.depth_channels,
                folder,
                torch.device(device.kind),
            )
        data = FoldData(
            photographs=photographs,
            depth_maps=maps,
            values=grams,
            train_rows=np.arange(2),
            inner_rows=np.zeros(0, int),
        )
        log = train_fold(experiment, 0, data, device=device, starting_weights=None, folder=folder)
        model = load_fold(experiment, folder / "fold0.safetensors")
        predicted = predict_values(
            [model],
            DecodedPhotographs(photographs, np.arange(1)),
            preprocessing=preprocessing_of(experiment.encoder.timm),
            symmetries=(UPRIGHT,),
            device=device,
            batch_size=1,
            estimator=estimator,
            depth_channels=experiment.depth_channels,
        )
    return log[-1]["train_loss"], predicted, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_a_real_network_trains_a_step_and_predicts_an_image(name: str) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # so that its peak is its own
        loss, predicted, peak_gb = apart.submit(loss_prediction_and_peak, name).result()
    assert np.isfinite(predicted).all() and loss > 0
    assert peak_gb < 15, "it would not fit beside Kaggle's other needs"

"""A run with depth: one pass of the depth model per photograph, and a folder that holds all a bundle needs."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from build.weights.bundle import half_precision
from kernel_src.models.depth import DepthEstimator, estimate_depth, load_depth
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import InnerFold
from kernel_src.runtime.files import sha256_of
from kernel_src.training.runs import finish_run, predict_out_of_fold
from kernel_src.training.training_data import training_pictures
from tests.kernel_src.tiny import CPU, train_tiny
from tests.tiny_depth import TINY_DEPTH, write_tiny_depth

EXPERIMENT = changed(TINY_DEPTH, {"schedule.epochs": 2, "keep": InnerFold(2), "depth.channels": 2})


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the photographs that go through the depth model."""
    counted: Counter[str] = Counter()
    forward = DepthEstimator.forward

    def count(self: DepthEstimator, pictures: torch.Tensor, channels: int) -> torch.Tensor:
        counted["photographs"] += len(pictures)
        return forward(self, pictures, channels)

    monkeypatch.setattr(DepthEstimator, "forward", count)
    return counted


def test_a_run_with_depth_estimates_it_once_per_photograph_and_keeps_the_depth_model_once(
    tmp_path: Path, tiny_competition: Path, train: pd.DataFrame, passes: Counter[str]
) -> None:
    depth = write_tiny_depth(tmp_path / "depth")
    run, cache = tmp_path / "run", tmp_path / "cache"
    for _ in range(2):  # the second finds everything done
        train_tiny(EXPERIMENT, train, tiny_competition, run, cache=cache, depth_folder=depth)
        assert passes["photographs"] == len(train), "2 folds of 2 epochs, and one pass"
    oof = predict_out_of_fold(EXPERIMENT, train, tiny_competition, run, cache, CPU, depth)
    assert passes["photographs"] == 2 * len(train), "8 views, and one pass more"
    config = finish_run(EXPERIMENT, train, oof, run, depth)
    assert config["depth"] == json.loads((run / "config.json").read_text())["depth"]
    assert config["depth"] == {
        "weights": "depth.safetensors",
        "config": "depth_config.json",
        "sha256": sha256_of(depth / "model.safetensors"),
    }
    load_depth(run / "depth.safetensors", run / "depth_config.json")
    assert not [key for key in load_file(run / "fold0.safetensors") if "network" in key or "estimator" in key]


def test_the_depth_decides_what_is_learnt(tmp_path: Path, tiny_competition: Path, train: pd.DataFrame) -> None:
    logs = []
    for seed in (0, 1):
        run = tmp_path / f"run{seed}"
        depth = write_tiny_depth(tmp_path / f"depth{seed}", seed)
        train_tiny(changed(EXPERIMENT, {"data.train_folds": (0,)}), train, tiny_competition, run, depth_folder=depth)
        logs.append((run / "log0.csv").read_text().splitlines()[1].split(",")[2:4])
    assert logs[0][0] != logs[1][0] and logs[0][1] != logs[1][1], "training loss and inner loss"


def test_maps_lie_on_disk_in_half_precision_with_the_channels_that_are_asked_for(
    tmp_path: Path, tiny_competition: Path, train: pd.DataFrame, passes: Counter[str]
) -> None:
    depth = write_tiny_depth(tmp_path / "depth")
    for channels in (1, 2):
        experiment = changed(EXPERIMENT, {"depth.channels": channels})
        for _ in range(2):
            _, maps = training_pictures(
                experiment, train, tiny_competition, depth_folder=depth, cache=tmp_path / "cache", device=CPU
            )
            assert isinstance(maps, np.memmap) and maps.dtype == np.float16 and maps.shape == (20, channels, 32, 32)
        assert passes["photographs"] == channels * 20, "the second time they are read from disk"


def test_training_learns_from_the_very_maps_that_a_bundle_makes(
    tmp_path: Path, tiny_competition: Path, train: pd.DataFrame
) -> None:
    """The bundle's depth model is in half precision, the cached maps too: both see the numbers of both."""
    depth = write_tiny_depth(tmp_path / "depth")
    photographs, maps = training_pictures(
        EXPERIMENT, train, tiny_competition, depth_folder=depth, cache=tmp_path / "cache", device=CPU
    )
    tensors = load_file(depth / "model.safetensors")
    save_file({name: half_precision(name, tensor) for name, tensor in tensors.items()}, tmp_path / "bundled")
    bundled = load_depth(tmp_path / "bundled", depth / "config.json")
    assert any(not torch.equal(tensor, tensor.half().float()) for tensor in tensors.values()), "rounding does something"
    for photograph, learnt_from in zip(photographs, maps, strict=True):
        picture = torch.from_numpy(photograph.transpose(2, 0, 1).copy())[None]
        assert torch.equal(estimate_depth(bundled, picture, 2)[0], torch.from_numpy(learnt_from.astype(np.float32)))


def test_depth_that_is_asked_for_must_be_there(tmp_path: Path, tiny_competition: Path, train: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="tiny-depth needs depth: attach the dataset i2b-depth-anything"):
        training_pictures(EXPERIMENT, train, tiny_competition, depth_folder=None, cache=tmp_path, device=CPU)


def test_another_depth_model_is_another_run(tmp_path: Path, tiny_competition: Path, train: pd.DataFrame) -> None:
    def start(seed: int) -> None:
        depth = write_tiny_depth(tmp_path / f"depth{seed}", seed)
        train_tiny(
            changed(EXPERIMENT, {"schedule.epochs": 1, "data.train_folds": (0,)}),
            train,
            tiny_competition,
            tmp_path / "run",
            depth_folder=depth,
        )

    start(0)
    with pytest.raises(ValueError, match=r"different are: weights\)"):
        start(1)

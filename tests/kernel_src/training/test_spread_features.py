"""A backbone that one GPU cannot hold makes the same features, one process for all GPUs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm

from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.models import frozen_features
from kernel_src.recipes.changes import changed
from kernel_src.runtime.weight_files import weights_sha256
from kernel_src.training import feature_run
from kernel_src.training.feature_run import FEATURES_FILE, FeatureTask, finish_features, make_chunks
from kernel_src.training.session import ENDLESS
from tests.kernel_src.models.shards import write_shards
from tests.kernel_src.tiny import CPU

TWIN = changed(
    EXPERIMENTS["frozen_dinov2"],
    {"encoder.timm": "test_vit", "encoder.weights": "i2b-test-vit", "pictures.height_px": 32, "pictures.width_px": 32},
)


def test_the_features_of_a_spread_backbone_are_the_same_and_its_shards_are_named_by_one_hash(
    tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_shards(tmp_path / "weights", timm.create_model("test_vit", num_classes=0).state_dict())
    photographs = {path.stem: path for path in sorted((tiny_competition / "train").iterdir())[:3]}
    made = {}
    for name, device in (("one", CPU), ("both", replace(CPU, gpus_per_net=2))):
        task = FeatureTask(TWIN, photographs, weights, tmp_path / name)
        make_chunks(task, device, ENDLESS, batch_size=1, quiet=True)
        provenance = finish_features(task)
        assert provenance["weights"]["sha256"] == weights_sha256(weights)
        made[name] = np.load(tmp_path / name / FEATURES_FILE)["features"]
    assert np.array_equal(made["one"], made["both"])


def test_one_process_owns_all_gpus(tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_shards(tmp_path / "weights", timm.create_model("test_vit", num_classes=0).state_dict())
    photographs = {path.stem: path for path in sorted((tiny_competition / "train").iterdir())[:3]}
    calls: list[tuple] = []
    monkeypatch.setattr(frozen_features, "probed_gpu_memory", lambda index: (700_000, 700_000))
    monkeypatch.setattr(
        feature_run, "launch", lambda _, device, batch_size, shares, **__: calls.append((device, batch_size, shares))
    )
    two = replace(CPU, kind="cuda", count=2, half=True)
    make_chunks(FeatureTask(TWIN, photographs, weights, tmp_path / "run"), two, ENDLESS, batch_size=8, quiet=True)
    ((device, batch_size, shares),) = calls
    assert (device.count, device.gpus_per_net, batch_size, len(shares)) == (1, 2, 1, 1)

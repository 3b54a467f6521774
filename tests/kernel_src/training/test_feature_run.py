"""A run that makes features: the same bytes however it is cut, and nothing is left out in silence."""

import csv
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from build.search.regress.extraction import photographs_of
from kernel_src.data.images import ImageError
from kernel_src.models.frozen_features import FrozenFeatures
from kernel_src.models.precision import PrecisionChoice
from kernel_src.recipes.changes import changed
from kernel_src.training import feature_extraction, feature_run
from kernel_src.training.feature_extraction import FeatureExtractor
from kernel_src.training.feature_run import (
    FeatureTask,
    continue_previous_features,
    finish_features,
    make_chunks,
)
from kernel_src.training.session import ENDLESS, Session
from tests.kernel_src.kernels.frozen import TWIN, WEIGHTS_SLUG, write_weights
from tests.kernel_src.tiny import CPU

PHOTOGRAPHS = 20


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_weights(tmp_path_factory.mktemp("weights") / WEIGHTS_SLUG) / "model.safetensors"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five chunks of the tiny competition's photographs."""
    monkeypatch.setattr(feature_run, "CHUNK_PHOTOGRAPHS", 4)


@pytest.fixture
def task(weights: Path, tiny_competition: Path, tmp_path: Path) -> FeatureTask:
    return FeatureTask(TWIN, photographs_of(tiny_competition / "train.csv", None), weights, tmp_path / "run")


def made(task: FeatureTask, devices: int = 1) -> bytes:
    """The bytes of the finished file."""
    make_chunks(task, replace(CPU, count=devices), ENDLESS, batch_size=3, quiet=True)
    finish_features(task)
    return (task.folder / "features.npz").read_bytes()


def elsewhere(task: FeatureTask, name: str) -> FeatureTask:
    return task._replace(folder=task.folder.parent / name)


def test_two_devices_make_the_bytes_that_one_makes_and_each_has_a_share(task: FeatureTask) -> None:
    one = made(task)
    two = elsewhere(task, "two")
    assert made(two, devices=2) == one
    assert not list(two.folder.glob("chunk*")), "chunks go once the features are there"
    log = list(csv.DictReader((two.folder / "features_log.csv").open()))
    assert [(row["chunk"], row["photographs"], row["precision"]) for row in log] == [
        (str(number), "4", "fp32") for number in range(5)
    ]


def test_a_run_that_is_stopped_goes_on_elsewhere_and_ends_with_the_same_bytes(
    task: FeatureTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(task)
    begun, saved = elsewhere(task, "input/owner/notebook/run"), []
    real = feature_run.save_tensors

    def save_and_die(path: Path, *rest: object) -> None:
        real(path, *rest)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(feature_run, "save_tensors", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        make_chunks(begun, CPU, ENDLESS, batch_size=3, quiet=True)
    monkeypatch.setattr(feature_run, "save_tensors", real)
    with pytest.raises(ValueError, match="chunks 2, 3, 4 are not computed yet"):
        finish_features(begun)
    next_session = elsewhere(task, "working")
    assert continue_previous_features(tmp_path / "input", next_session.folder, TWIN) == begun.folder
    assert next_session.chunks_left == [2, 3, 4]
    assert made(next_session) == whole


def test_another_recipes_run_is_not_taken_up_and_other_photographs_are_refused(
    task: FeatureTask, tmp_path: Path
) -> None:
    begun = elsewhere(task, "input/run")
    made(begun)
    other = changed(TWIN, {"encoder.layers": (2,)})
    assert continue_previous_features(tmp_path / "input", tmp_path / "working", other) is None
    fewer = dict(list(task.photographs.items())[1:])
    with pytest.raises(ValueError, match=r"of other data.*different are: data"):
        make_chunks(begun._replace(photographs=fewer), CPU, ENDLESS, batch_size=3, quiet=True)


def test_a_finished_run_among_the_inputs_is_taken_over_as_it_is(task: FeatureTask, tmp_path: Path) -> None:
    begun = elsewhere(task, "input/run")
    whole = made(begun)
    again = elsewhere(task, "working")
    continue_previous_features(tmp_path / "input", again.folder, TWIN)
    assert again.chunks_left == [] and made(again) == whole


def test_it_stops_before_the_session_ends_and_keeps_whole_chunks_only(
    task: FeatureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = Session(started_s=time.monotonic(), limit_s=1000.0)
    real = feature_run.save_tensors

    def save_late(path: Path, *rest: object) -> None:
        real(path, *rest)
        object.__setattr__(ending, "started_s", ending.started_s - 400)  # 400 s pass with each chunk

    monkeypatch.setattr(feature_run, "save_tensors", save_late)
    make_chunks(task, CPU, ending, batch_size=3, quiet=True)
    assert task.chunks_left == [3, 4]


def test_too_little_memory_halves_the_batch_and_changes_no_feature(
    task: FeatureTask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    whole, seen = made(task), []
    real = FrozenFeatures.forward

    def tight(self: FrozenFeatures, *pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures[0]))
        if len(pictures[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *pictures)

    monkeypatch.setattr(FrozenFeatures, "forward", tight)
    make_chunks(elsewhere(task, "tight"), CPU, ENDLESS, batch_size=4, quiet=True)
    finish_features(elsewhere(task, "tight"))
    assert seen[:4] == [4, 2, 1, 1] and seen.count(1) == PHOTOGRAPHS
    assert "2 from now on" in capsys.readouterr().out
    ours, theirs = (np.load(one.folder / "features.npz")["features"] for one in (task, elsewhere(task, "tight")))
    assert whole and np.allclose(ours, theirs, atol=1e-5)


def test_not_even_one_photograph_fits(task: FeatureTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: FrozenFeatures, *pictures: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FrozenFeatures, "forward", full)
    with pytest.raises(RuntimeError, match=r"one photograph at a time needs more memory.*smaller pictures\.scales"):
        make_chunks(task, CPU, ENDLESS, batch_size=4, quiet=True)


def test_a_photograph_that_cannot_be_read_stops_the_run_by_name(task: FeatureTask, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    spoilt = task._replace(photographs=dict(task.photographs) | {"ID_LAST": broken})
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        make_chunks(spoilt, CPU, ENDLESS, batch_size=4, quiet=True)
    assert spoilt.chunks_left == [5], "what is computed stays"
    with pytest.raises(ValueError, match="chunks 5 are not computed"):
        finish_features(spoilt)


def test_a_feature_that_is_not_finite_stops_the_run_by_name(task: FeatureTask, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FrozenFeatures.forward

    def overflowing(self: FrozenFeatures, *pictures: torch.Tensor) -> torch.Tensor:
        features = real(self, *pictures)
        features[0, 0] = float("inf")
        return features

    monkeypatch.setattr(FrozenFeatures, "forward", overflowing)
    with pytest.raises(FloatingPointError, match=r"NaN or infinite, in fp32 too: .*ID1000\.jpg"):
        make_chunks(task, CPU, ENDLESS, batch_size=4, quiet=True)
    assert task.chunks_left == list(task.chunks)


# -- precision -----------------------------------------------------------------------------------------------------

FAST = replace(CPU, half=True)  # a CPU that says that it is fast in fp16


def test_fp16_is_used_where_it_is_borne_and_its_features_are_those_of_fp32_but_for_rounding(task: FeatureTask) -> None:
    made(task)
    halved = elsewhere(task, "half")
    make_chunks(halved, FAST, ENDLESS, batch_size=4, quiet=True)
    provenance = finish_features(halved)
    assert provenance["device"] == "CPU, fp16" and "fp16 differs from fp32 by" in provenance["precision"]
    assert provenance["experiment"]["encoder"]["precision"] == "auto" and provenance["dtype"] == "float32"
    full, half = (np.load(one.folder / "features.npz")["features"] for one in (task, halved))
    difference = np.sqrt(np.square(full - half).mean() / np.square(full).mean())
    assert 0 < difference < 0.01


def test_fp32_is_used_where_fp16_is_not_borne_and_inference_is_told_so(
    task: FeatureTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(task)
    refused = PrecisionChoice(False, "too different")
    monkeypatch.setattr(feature_extraction, "choose_precision", lambda wanted, can_half, compute: refused)
    full = elsewhere(task, "full")
    make_chunks(full, FAST, ENDLESS, batch_size=3, quiet=True)
    provenance = finish_features(full)
    assert provenance["device"] == "CPU, fp32" and provenance["precision"] == "too different"
    assert provenance["experiment"]["encoder"]["precision"] == "fp32"
    ours, theirs = (np.load(one.folder / "features.npz")["features"] for one in (task, full))
    assert whole and np.array_equal(ours, theirs), "its weights were never rounded"


def test_the_next_session_computes_as_the_first_has_decided(task: FeatureTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task.folder.mkdir()
    (task.folder / "precision.json").write_text(json.dumps({"half": False, "why": "decided before"}))

    def ask_again(*_: object) -> None:
        raise AssertionError("decided already")

    monkeypatch.setattr(FeatureExtractor, "choose_precision", ask_again)
    make_chunks(task, FAST, ENDLESS, batch_size=4, quiet=True)
    assert finish_features(task)["device"] == "CPU, fp32"


def test_a_chunk_that_was_changed_is_not_put_into_the_features(task: FeatureTask) -> None:
    from kernel_src.runtime.files import WeightsError

    make_chunks(task, CPU, ENDLESS, batch_size=4, quiet=True)
    shutil.copyfile(task.chunk(0), task.chunk(4))
    task.chunk(3).write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"chunk0003"):
        finish_features(task)

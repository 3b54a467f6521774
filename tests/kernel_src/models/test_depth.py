"""The frozen depth model: loaded strictly from local files, run once per picture, cached safely."""

import json
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DepthAnythingConfig

from build.weights.random_weights import DEPTH_SMALL
from kernel_src.models.depth import (
    DEPTH_CONFIG_FILE,
    DEPTH_WEIGHTS_FILE,
    DepthEstimator,
    load_depth,
)
from kernel_src.runtime.files import WeightsError
from kernel_src.training.depth_maps import cached_depth_maps, forget_old_depth_maps
from tests.tiny_depth import tiny_estimator, write_tiny_depth

CPU_DEVICE = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_depth(tmp_path_factory.mktemp("depth"))


def photographs(count: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 42, 3), np.uint8)


# Loading


def test_depth_anything_v2_small_has_its_24_8_million_parameters() -> None:
    with torch.device("meta"):
        estimator = DepthEstimator(DepthAnythingConfig(**DEPTH_SMALL))
    assert sum(p.numel() for p in estimator.parameters()) == 24_785_089
    assert not any(p.requires_grad for p in estimator.parameters()), "it is frozen"


def test_the_config_as_the_hub_has_it_builds_the_same_net() -> None:
    """With its nulls, versions and dtype, which say nothing about the network."""
    backbone = {
        "architectures": ["Dinov2Model"],
        "hidden_size": 384,
        "image_size": 518,
        "model_type": "dinov2",
        "num_attention_heads": 6,
        "out_features": ["stage3", "stage6", "stage9", "stage12"],
        "out_indices": [3, 6, 9, 12],
        "patch_size": 14,
        "reshape_hidden_states": False,
        "torch_dtype": "float32",
    }
    hub = {
        "_commit_hash": None,
        "architectures": ["DepthAnythingForDepthEstimation"],
        "backbone": None,
        "backbone_config": backbone,
        "fusion_hidden_size": 64,
        "head_hidden_size": 32,
        "head_in_index": -1,
        "initializer_range": 0.02,
        "model_type": "depth_anything",
        "neck_hidden_sizes": [48, 96, 192, 384],
        "patch_size": 14,
        "reassemble_factors": [4, 2, 1, 0.5],
        "reassemble_hidden_size": 384,
        "torch_dtype": "float32",
        "transformers_version": None,
        "use_pretrained_backbone": False,
    }
    with torch.device("meta"):
        ours, theirs = (DepthEstimator(DepthAnythingConfig(**config)) for config in (DEPTH_SMALL, hub))
    shapes = [{name: tensor.shape for name, tensor in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1] and {p.dtype for p in theirs.parameters()} == {torch.float32}


def test_a_hub_folder_loads_every_tensor(folder: Path) -> None:
    estimator = load_depth(folder / DEPTH_WEIGHTS_FILE, folder / DEPTH_CONFIG_FILE)
    tensors = load_file(folder / DEPTH_WEIGHTS_FILE)
    loaded = estimator.network.state_dict()
    assert tensors.keys() == loaded.keys() and all(
        torch.equal(tensors[key].half().float() if tensors[key].ndim > 1 else tensors[key], loaded[key])
        for key in tensors
    ), "rounded as a bundle stores them"
    assert not estimator.training


@pytest.mark.parametrize("fault", ["missing", "extra", "misshapen"])
def test_weights_that_do_not_fit_are_refused_by_key(folder: Path, tmp_path: Path, fault: str) -> None:
    tensors = load_file(folder / DEPTH_WEIGHTS_FILE)
    name = "head.conv1.weight"
    if fault == "missing":
        del tensors[name]
    elif fault == "extra":
        tensors["head.conv1.extra"] = torch.zeros(1)
    else:
        tensors[name] = torch.zeros(2, 2)
    save_file(tensors, tmp_path / DEPTH_WEIGHTS_FILE)
    with pytest.raises(WeightsError, match="does not fit the model: head.conv1"):
        load_depth(tmp_path / DEPTH_WEIGHTS_FILE, folder / DEPTH_CONFIG_FILE)


def test_a_missing_file_says_what_to_attach(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="attach the dataset that holds Depth Anything V2 Small"):
        load_depth(folder / DEPTH_WEIGHTS_FILE, tmp_path / DEPTH_CONFIG_FILE)


# Estimating


@pytest.mark.parametrize("size_px", [(28, 28), (40, 60), (384, 384)])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_map_has_the_size_of_the_picture_and_is_scaled_per_image(size_px: tuple[int, int], channels: int) -> None:
    pictures = torch.randint(0, 256, (2, 3, *size_px), dtype=torch.uint8)
    depth = tiny_estimator()(pictures, channels)
    assert depth.shape == (2, channels, *size_px) and depth.dtype == torch.float32
    relief = depth[:, 0].flatten(1)
    assert relief.amin(1).tolist() == [0.0, 0.0] and relief.amax(1).tolist() == pytest.approx([1.0, 1.0])


def test_a_size_that_is_no_multiple_of_14_is_answered_smaller_and_resized_back() -> None:
    seen: list[tuple[int, ...]] = []
    estimator = tiny_estimator()
    handle = estimator.network.register_forward_hook(lambda *call: seen.append(tuple(call[2].predicted_depth.shape)))
    estimator(torch.zeros(1, 3, 384, 384, dtype=torch.uint8), 1)
    handle.remove()
    assert seen == [(1, 378, 378)]


def test_the_second_channel_is_the_raw_answer_in_units_of_ten() -> None:
    pictures = torch.from_numpy(photographs(2).transpose(0, 3, 1, 2).copy())
    estimator = tiny_estimator()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.inference_mode():
        raw = estimator.network(pixel_values=(pictures / 255 - mean) / std).predicted_depth
    depth = estimator(pictures, 2)
    assert torch.allclose(depth[:, 1], raw / 10, atol=1e-6)
    low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
    assert torch.allclose(depth[:, 0], (raw - low) / (high - low), atol=1e-5)


def test_min_max_scaling_loses_the_height_and_the_second_channel_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = load_tiny()

    def answer(scale: float) -> torch.Tensor:
        raw = scale * torch.arange(28.0 * 28).view(1, 28, 28)

        class Answer(torch.nn.Module):
            def forward(self, pixel_values: torch.Tensor) -> object:
                return type("Output", (), {"predicted_depth": raw})

        estimator.network = Answer()
        return estimator(torch.zeros(1, 3, 28, 28, dtype=torch.uint8), 2)

    short, tall = answer(0.01), answer(0.1)
    assert torch.allclose(short[:, 0], tall[:, 0], atol=1e-6), "5 cm and 50 cm look alike"
    assert torch.allclose(tall[:, 1], 10 * short[:, 1])


def load_tiny() -> DepthEstimator:
    """A copy that a test may change."""
    from copy import deepcopy

    return deepcopy(tiny_estimator())


def test_a_flat_answer_is_no_division_by_zero() -> None:
    estimator = load_tiny()
    torch.nn.init.zeros_(estimator.network.head.conv3.weight)
    depth = estimator(torch.zeros(1, 3, 28, 28, dtype=torch.uint8), 1)
    assert depth.abs().max() == 0


# Cache


def cached(folder: Path, cache: Path, given: np.ndarray, channels: int = 1, **options: float) -> np.ndarray:
    weights = folder / DEPTH_WEIGHTS_FILE
    return cached_depth_maps(given, tiny_estimator(), weights, channels, cache, CPU_DEVICE, **options)


def test_cached_maps_are_the_estimators_in_fp16(folder: Path, tmp_path: Path) -> None:
    given = photographs()
    maps = cached(folder, tmp_path, given, 2)
    wanted = tiny_estimator()(torch.from_numpy(given.transpose(0, 3, 1, 2).copy()), 2)
    assert maps.shape == (3, 2, 28, 42) and maps.dtype == np.float16
    assert np.allclose(maps, wanted.numpy(), atol=1e-3)


def test_each_picture_is_estimated_once_whatever_how_often_it_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    forward = DepthEstimator.forward
    monkeypatch.setattr(DepthEstimator, "forward", lambda self, p, c: passes.append(len(p)) or forward(self, p, c))
    first = cached(folder, tmp_path, photographs())
    assert np.array_equal(first, cached(folder, tmp_path, photographs())) and sum(passes) == 3
    cached(folder, tmp_path, photographs(seed=1))
    assert sum(passes) == 6, "other pictures"
    cached(folder, tmp_path, photographs(), 2)
    assert sum(passes) == 9, "another number of channels"
    cached(folder, tmp_path, photographs().reshape(3, 42, 28, 3))
    assert sum(passes) == 12, "the same bytes in another shape"
    other = write_tiny_depth(tmp_path / "other", seed=1)
    cached(other, tmp_path, photographs())
    assert sum(passes) == 15, "another model"


def test_a_map_that_is_not_finite_is_refused_and_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    estimator = load_tiny()
    torch.nn.init.constant_(estimator.network.head.conv3.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="photograph 0 is NaN"):
        cached_depth_maps(photographs(), estimator, folder / DEPTH_WEIGHTS_FILE, 1, tmp_path, CPU_DEVICE)
    assert list(tmp_path.iterdir()) == []


def fill(folder: Path, cache: Path, start: Barrier) -> None:
    """What each of two processes does; they begin at the same moment."""
    torch.set_num_threads(1)
    start.wait(30)
    maps = cached(folder, cache, photographs(24))
    assert maps.shape == (24, 1, 28, 42) and (maps.max((2, 3)) > 0.99).all()


def test_two_processes_may_fill_one_cache_at_the_same_time(folder: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    tiny_estimator()
    both = [context.Process(target=fill, args=(folder, tmp_path, start)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    (cache,) = tmp_path.iterdir()
    assert cache.name.startswith("depth-1-") and np.load(cache).shape == (24, 1, 28, 42)


def test_beyond_the_limit_what_was_not_used_for_longest_goes_and_an_open_map_stays_readable(
    folder: Path, tmp_path: Path
) -> None:
    size_gb = 3 * 28 * 42 * 2 / 1e9
    maps = [cached(folder, tmp_path, photographs(seed=seed)) for seed in range(2)]
    files = sorted(tmp_path.iterdir())
    first = next(path for path in files if np.array_equal(np.load(path), maps[0]))
    os.utime(first, (1, 1))
    cached(folder, tmp_path, photographs(seed=0))  # used again: now the other one is the oldest
    os.utime(next(path for path in files if path != first), (2, 2))
    (tmp_path / ".depth-1-draft.123.npy").write_bytes(b"0" * 10**6)  # what another process is writing
    (tmp_path / "photographs-1.npy").write_bytes(b"0" * 10**6)  # not ours
    cached(folder, tmp_path, photographs(seed=2), limit_gb=2.5 * size_gb)
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 4 and first.name in left and {".depth-1-draft.123.npy", "photographs-1.npy"} <= left
    assert np.isfinite(maps[1]).all(), "its file is gone, the mapping is not"


def test_the_cache_in_use_is_never_deleted(tmp_path: Path) -> None:
    for name in ("depth-1-a.npy", "depth-1-b.npy"):
        (tmp_path / name).write_bytes(b"0" * 1000)
    assert forget_old_depth_maps(tmp_path, 0.0, keep=tmp_path / "depth-1-a.npy") == [tmp_path / "depth-1-b.npy"]
    assert (tmp_path / "depth-1-a.npy").exists()


def test_the_tiny_model_is_the_real_code_in_the_hubs_layout(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE]
    assert json.loads((folder / DEPTH_CONFIG_FILE).read_text())["model_type"] == "depth_anything"

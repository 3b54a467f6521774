"""Loading a bundle: all of it, exactly, or an error that names what is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from build.core.bundle_files import file_entry
from kernel_src.bundle.bundle_prediction import load_bundle, load_bundles
from kernel_src.recipes.predictor import predictor_from_json
from kernel_src.runtime.files import WeightsError, sha256_of
from kernel_src.runtime.manifest import BundleError
from tests.kernel_src.tiny import TINY
from tests.tiny_depth import write_tiny_depth


@pytest.fixture
def bundle(whole_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_bundle, tmp_path / "bundle"))


def sign_again(bundle: Path, **changes: Any) -> None:
    """Make a manifest that fits whatever lies there, as somebody would who edits a bundle by hand."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] = {name: file_entry(bundle / name) for name in manifest["files"] if (bundle / name).exists()}
    (bundle / "manifest.json").write_text(json.dumps(manifest | changes))


def test_a_bundle_rebuilds_experiment_preprocessing_and_one_model_per_fold(bundle: Path, trained_run: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.experiment == predictor_from_json(TINY.as_json()) and len(loaded.models) == 2
    assert loaded.preprocessing.mean == (0.485, 0.456, 0.406)
    assert loaded.source_sha256 == "ab" * 32
    assert loaded.oof_score == json.loads((trained_run / "config.json").read_text())["oof"]["score"]
    assert not any(model.training for model in loaded.models)


def test_the_models_hold_the_halved_weights_of_the_run_and_its_scaling_in_full(bundle: Path, trained_run: Path) -> None:
    for number, model in enumerate(load_bundle(bundle).models):
        run = load_file(trained_run / f"fold{number}.safetensors")
        for key, value in model.state_dict().items():
            expected = run[key].half().float() if run[key].ndim > 1 else run[key]
            assert torch.equal(value, expected), key


@pytest.mark.parametrize("name", ["fold0.safetensors", "fold1.safetensors", "config.json", "oof.csv"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "flipped"])
def test_every_file_missing_truncated_or_flipped_is_refused_by_name(bundle: Path, name: str, fault: str) -> None:
    path = bundle / name
    data = bytearray(path.read_bytes())
    path.unlink()
    if fault == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif fault == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    words = {"missing": "is missing", "truncated": "bytes, not", "flipped": "has another sha256"}
    with pytest.raises(BundleError, match=f"{name}.*{words[fault]}"):
        load_bundle(bundle)


def test_a_newer_format_is_refused_with_the_cure(bundle: Path) -> None:
    sign_again(bundle, format=4)
    with pytest.raises(BundleError, match="format 4, this notebook reads up to 3: build and push the notebook again"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "heads.0.0.weight is missing"),
        ("extra", "heads.0.0.scale is not in the model"),
        ("misshapen", "heads.0.0.weight has shape"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_refused_by_key(bundle: Path, fault: str, message: str) -> None:
    """Copying only what matches leaves the rest random, and nobody learns of it (facts/seed-system.md)."""
    tensors = load_file(bundle / "fold1.safetensors")
    if fault == "missing":
        del tensors["heads.0.0.weight"]
    elif fault == "extra":
        tensors["heads.0.0.scale"] = torch.ones(1)
    else:
        tensors["heads.0.0.weight"] = torch.ones(2, 2)
    save_file(tensors, bundle / "fold1.safetensors")
    sign_again(bundle)
    with pytest.raises(WeightsError, match=f"fold1.safetensors.*{message}"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["fold1.safetensors", "config.json"])
def test_a_file_that_the_manifest_does_not_cover_is_refused(bundle: Path, name: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"][name]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"the manifest does not cover {name}"):
        load_bundle(bundle)


@pytest.mark.parametrize("lacking", ["experiment", "preprocessing", "folds", "oof"])
def test_a_config_that_lacks_a_part_is_refused_by_its_name(bundle: Path, lacking: str) -> None:
    config = json.loads((bundle / "config.json").read_text())
    config["folds"] = [] if lacking == "folds" else config["folds"]
    if lacking != "folds":
        del config[lacking]
    (bundle / "config.json").write_text(json.dumps(config))
    sign_again(bundle)
    with pytest.raises(BundleError, match=f"lacks {lacking}"):
        load_bundle(bundle)


def test_a_bundle_from_before_interpolation_was_kept_is_refused(bundle: Path) -> None:
    """Such a run was trained on pictures resized in another way; guessing would cost score without an error."""
    config = json.loads((bundle / "config.json").read_text())
    del config["preprocessing"]["interpolation"]
    (bundle / "config.json").write_text(json.dumps(config))
    sign_again(bundle)
    with pytest.raises(BundleError, match="preprocessing lacks interpolation: .*make the bundle again"):
        load_bundle(bundle)


def test_an_experiment_with_a_field_of_the_future_is_refused(bundle: Path) -> None:
    config = json.loads((bundle / "config.json").read_text())
    config["experiment"]["mood"] = "bright"
    (bundle / "config.json").write_text(json.dumps(config))
    sign_again(bundle)
    with pytest.raises(BundleError, match="unknown fields mood"):
        load_bundle(bundle)


def test_a_dataset_of_starting_weights_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    files = {"model.safetensors": file_entry(tmp_path / "model.safetensors")}
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
    with pytest.raises(BundleError, match="config.json is missing"):
        load_bundle(tmp_path)


# The depth model


@pytest.fixture
def depth_bundle(whole_depth_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_depth_bundle, tmp_path / "depth-bundle"))


def test_the_depth_model_is_loaded_once_beside_the_folds(depth_bundle: Path) -> None:
    loaded = load_bundle(depth_bundle)
    stored = load_file(depth_bundle / "depth.safetensors")
    assert loaded.depth is not None and len(loaded.models) == 2
    assert loaded.depth_sha256 == sha256_of(depth_bundle / "depth.safetensors")
    assert all(torch.equal(value, stored[key].float()) for key, value in loaded.depth.network.state_dict().items())
    assert not any("depth_anything" in key or "neck" in key for model in loaded.models for key in model.state_dict())


def test_bundles_that_carry_the_same_depth_model_share_one(depth_bundle: Path, bundle: Path) -> None:
    first, second, without = load_bundles([depth_bundle, depth_bundle, bundle])
    assert first.depth is second.depth is not None
    assert without.depth is None and without.depth_sha256 == ""
    assert load_bundle(depth_bundle).depth is not first.depth


@pytest.mark.parametrize("name", ["depth.safetensors", "depth_config.json"])
def test_a_missing_file_of_the_depth_model_is_named(depth_bundle: Path, name: str) -> None:
    (depth_bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing → upload the bundle again"):
        load_bundle(depth_bundle)
    manifest = json.loads((depth_bundle / "manifest.json").read_text())
    del manifest["files"][name]
    (depth_bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"the manifest does not cover {name}"):
        load_bundle(depth_bundle)


def test_the_depth_model_of_another_bundle_is_refused(depth_bundle: Path, tmp_path: Path) -> None:
    other = write_tiny_depth(tmp_path / "other", seed=1)
    shutil.copyfile(other / "model.safetensors", depth_bundle / "depth.safetensors")
    sign_again(depth_bundle)
    with pytest.raises(BundleError, match="depth.safetensors is not the depth model that config.json names.*make the"):
        load_bundle(depth_bundle)


@pytest.mark.parametrize("lacking", ["weights", "config", "sha256", "depth"])
def test_a_config_that_does_not_name_its_depth_model_is_refused(depth_bundle: Path, lacking: str) -> None:
    config = json.loads((depth_bundle / "config.json").read_text())
    if lacking == "depth":
        del config["depth"]
    else:
        del config["depth"][lacking]
    (depth_bundle / "config.json").write_text(json.dumps(config))
    sign_again(depth_bundle)
    message = "weights, config, sha256" if lacking == "depth" else lacking
    with pytest.raises(BundleError, match=f"needs depth, but its entry depth lacks {message}: make the bundle again"):
        load_bundle(depth_bundle)


def test_depth_weights_that_do_not_fit_their_config_are_refused_by_key(depth_bundle: Path) -> None:
    tensors = load_file(depth_bundle / "depth.safetensors")
    del tensors["head.conv1.weight"]
    save_file(tensors, depth_bundle / "depth.safetensors")
    config = json.loads((depth_bundle / "config.json").read_text())
    config["depth"]["sha256"] = sha256_of(depth_bundle / "depth.safetensors")
    (depth_bundle / "config.json").write_text(json.dumps(config))
    sign_again(depth_bundle)
    with pytest.raises(WeightsError, match="depth.safetensors.*head.conv1.weight is missing"):
        load_bundle(depth_bundle)

"""From a training run to a bundle: half the size, the same predictions, and never over anything else."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from build.core.errors import CheckFailed, UsageError
from build.weights.bundle import half_precision, make_bundle, summary
from build.weights.command import bundle_verb
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.recipes.changes import changed
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of

SOURCE = "ab" * 32  # which the fixture's training noted


def make(run_folder: Path, out: Path, **options: Any):
    return make_bundle(run_folder, out, **({"slug": "i2b-tiny-weights"} | options))


@pytest.fixture
def run_folder(trained_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


def test_a_bundle_is_a_flat_folder_of_what_inference_needs_and_nothing_more(trained_run: Path, tmp_path: Path) -> None:
    report = make(trained_run, tmp_path / "bundle")
    names = {"fold0.safetensors", "fold1.safetensors", "config.json", "oof.csv", "README.md"}
    assert set(os.listdir(tmp_path / "bundle")) == names | {"manifest.json", "dataset-metadata.json"}
    assert os.listdir(tmp_path) == ["bundle"], "no draft is left"
    assert report.files == 5 and report.folder == str(tmp_path / "bundle")
    model_keys = set(load_file(trained_run / "fold0.safetensors"))
    assert set(load_file(tmp_path / "bundle/fold0.safetensors")) == model_keys


def test_the_manifest_has_size_and_hash_of_each_file_the_slug_and_the_sources(
    trained_run: Path, tmp_path: Path
) -> None:
    make(trained_run, tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["format"] == BUNDLE_FORMAT
    assert (manifest["dataset"], manifest["experiment"]) == ("i2b-tiny-weights", "tiny")
    assert manifest["source_sha256"] == SOURCE and "torch" in manifest["versions"]
    names = {"fold0.safetensors", "fold1.safetensors", "config.json", "oof.csv", "README.md"}
    assert set(manifest["files"]) == names
    for name, entry in manifest["files"].items():
        path = tmp_path / "bundle" / name
        assert entry == {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def test_a_notebook_that_is_rebuilt_after_the_training_changes_nothing_in_what_the_bundle_names(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It once stamped the hash of whatever notebook lay there, of which the run knew nothing."""
    slug = "i2b-tiny-train"
    rebuilt = tmp_path / "root" / "notebooks" / slug / f"{slug}.ipynb"
    rebuilt.parent.mkdir(parents=True)
    rebuilt.write_text(json.dumps({"metadata": {"stitch": {"source_sha256": "ef" * 32}}}))
    monkeypatch.setattr("build.notebooks.builder.ROOT", tmp_path / "root")
    bundle_verb(trained_run, tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle/manifest.json").read_text())["source_sha256"] == SOURCE
    assert f"trained from sources {SOURCE[:12]}" in capsys.readouterr().out


def test_a_run_that_does_not_know_its_sources_gives_a_bundle_that_says_so(run_folder: Path, tmp_path: Path) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    del config["source_sha256"]  # a run of an older kit
    (run_folder / "config.json").write_text(json.dumps(config))
    assert make(run_folder, tmp_path / "bundle").source_sha256 == "unknown"
    assert json.loads((tmp_path / "bundle/manifest.json").read_text())["source_sha256"] == "unknown"


def test_the_dataset_metadata_is_what_kaggle_accepts(trained_run: Path, tmp_path: Path) -> None:
    from build.notebooks.metadata import dataset_problems

    make(trained_run, tmp_path / "bundle")
    metadata = json.loads((tmp_path / "bundle/dataset-metadata.json").read_text())
    assert metadata["id"] == "OWNER/i2b-tiny-weights" and not dataset_problems(metadata, "dataset-metadata.json")


def test_the_same_run_gives_the_same_bytes(trained_run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(trained_run, tmp_path / name)
    hashes = [{path.name: sha256_of(path) for path in (tmp_path / name).iterdir()} for name in ("a", "b")]
    assert hashes[0] == hashes[1]


# Half precision


def test_matrices_are_halved_and_vectors_counters_and_the_scaling_are_not(trained_run: Path, tmp_path: Path) -> None:
    make(trained_run, tmp_path / "bundle")
    before, after = (load_file(folder / "fold0.safetensors") for folder in (trained_run, tmp_path / "bundle"))
    for key, tensor in before.items():
        assert after[key].dtype == (torch.float16 if tensor.ndim > 1 else tensor.dtype), key
        assert torch.equal(after[key], tensor.half() if tensor.ndim > 1 else tensor), key
    assert after["scaling.mean"].dtype == after["scaling.std"].dtype == torch.float32
    variances = [key for key in after if key.endswith("running_var")]
    assert variances and all(after[key].dtype == torch.float32 for key in variances)


def test_a_weight_beyond_fp16_is_refused_by_key_and_leaves_neither_bundle_nor_draft(run_folder: Path) -> None:
    tensors = load_file(run_folder / "fold1.safetensors")
    tensors["heads.3.0.weight"][0, 0] = 1e6
    save_file(tensors, run_folder / "fold1.safetensors")
    with pytest.raises(CheckFailed, match=r"heads.3.0.weight reaches 1e\+06, fp16 ends at 65504"):
        make(run_folder, run_folder.parent / "bundle")
    assert os.listdir(run_folder.parent) == ["run"]


def test_a_small_variance_survives() -> None:
    variance = torch.full((4,), 1e-9)
    assert torch.equal(half_precision("running_var", variance), variance)
    assert float(half_precision("conv", variance.view(2, 2)).sum()) == 0, "fp16 would have made it zero"


def test_the_cost_of_half_precision_is_measured_out_of_fold(
    trained_run: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    """The bundle's own weights predict out of fold again: by a thousandth of R² they may differ, not by more."""
    report = make(trained_run, tmp_path / "bundle", data=tiny_competition)
    assert report.oof_score_fp16 is not None and report.largest_change_g is not None
    assert report.oof_score_fp16 == pytest.approx(report.oof_score_fp32, abs=1e-3)
    assert 0 < report.largest_change_g < 0.5
    config = json.loads((tmp_path / "bundle/config.json").read_text())
    assert config["oof"]["fp16"] == {"score": report.oof_score_fp16, "largest_change_g": report.largest_change_g}
    text = summary(report)
    assert f"{report.oof_score_fp32:.5f} in fp32" in text and f"{report.oof_score_fp16:.5f} in fp16" in text


def test_without_data_nothing_is_claimed_about_half_precision(trained_run: Path, tmp_path: Path) -> None:
    report = make(trained_run, tmp_path / "bundle")
    assert report.oof_score_fp16 is None and "fp16 not measured, give --data" in summary(report)
    assert json.loads((tmp_path / "bundle/config.json").read_text())["oof"]["fp16"] is None


def test_measuring_on_other_data_is_refused(trained_run: Path, tmp_path: Path) -> None:
    from tests.conftest import write_competition

    visits = (("Tas", "2015/5/4", 3), ("Vic", "2015/7/2", 3), ("NSW", "2015/4/8", 3))
    other = write_competition(tmp_path / "other", visits)
    with pytest.raises(CheckFailed, match="these are not the photographs of the run"):
        make(trained_run, tmp_path / "bundle", data=other)
    assert not (tmp_path / "bundle").exists()


def test_the_bundle_predicts_what_the_run_does(trained_run: Path, tmp_path: Path, tiny_competition: Path) -> None:
    from dataclasses import replace as altered

    from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
    from kernel_src.models.model import load_fold
    from tests.kernel_src.tiny import CPU, TINY

    make(trained_run, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    exact = [load_fold(TINY, trained_run / f"fold{number}.safetensors") for number in range(2)]
    # The weights of the run, rounded here and computed in fp32: what loading must come to, bit for bit.
    rounded = [load_fold(TINY, trained_run / f"fold{number}.safetensors") for number in range(2)]
    with torch.no_grad():
        for parameter in (parameter for model in rounded for parameter in model.parameters()):
            parameter.copy_(parameter.half().float() if parameter.ndim > 1 else parameter)
    paths = sorted((tiny_competition / "test").iterdir())
    loaded, by_hand, in_full = (
        predict_bundles([one], paths, device=CPU, batch_size=2)[0]
        for one in (bundle, altered(bundle, models=rounded), altered(bundle, models=exact))
    )
    assert np.array_equal(loaded, by_hand)
    assert loaded.shape == (2, 3, 5) and loaded.std() > 0
    assert 0 < np.abs(loaded - in_full).max() < 0.02, "grams; half precision costs no more"


# The depth model


@pytest.fixture(scope="module")
def depth_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a depth model, all weights random; read it, never write it."""
    from build.weights.random_weights import random_run
    from tests.tiny_depth import TINY_DEPTH, write_tiny_depth

    folder = tmp_path_factory.mktemp("depth")
    return random_run(folder / "run", TINY_DEPTH, write_tiny_depth(folder / "hub"))


@pytest.fixture
def broken_depth_run(depth_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(depth_run, tmp_path / "run"))


def test_the_depth_model_is_stored_once_halved_and_named_by_its_hash(depth_run: Path, tmp_path: Path) -> None:
    report = make(depth_run, tmp_path / "bundle")
    names = {
        "fold0.safetensors",
        "fold1.safetensors",
        "depth.safetensors",
        "depth_config.json",
        "config.json",
        "oof.csv",
        "README.md",
    }
    assert set(os.listdir(tmp_path / "bundle")) == names | {"manifest.json", "dataset-metadata.json"}
    assert report.files == 7
    config = json.loads((tmp_path / "bundle/config.json").read_text())
    weights = tmp_path / "bundle/depth.safetensors"
    assert config["depth"]["sha256"] == sha256_of(weights)
    assert config["depth"]["trained_beside_sha256"] == sha256_of(depth_run / "depth.safetensors")
    before, after = load_file(depth_run / "depth.safetensors"), load_file(weights)
    assert set(before) == set(after)
    assert all(after[key].dtype == (torch.float16 if before[key].ndim > 1 else torch.float32) for key in after)
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert set(manifest["files"]) == names


def test_bundles_of_different_experiments_hold_the_same_depth_file(depth_run: Path, tmp_path: Path) -> None:
    """An ensemble sees by the hash that it is one model, and loads and asks it once."""
    from build.weights.random_weights import random_run
    from tests.tiny_depth import TINY_DEPTH, write_tiny_depth

    other = changed(TINY_DEPTH, {"name": "other", "pictures.height_px": 48, "pictures.width_px": 48})
    random_run(tmp_path / "other", other, write_tiny_depth(tmp_path / "hub"))
    make(depth_run, tmp_path / "a")
    make(tmp_path / "other", tmp_path / "b", slug="i2b-other-weights")
    assert sha256_of(tmp_path / "a/depth.safetensors") == sha256_of(tmp_path / "b/depth.safetensors")


@pytest.mark.parametrize("name", ["depth.safetensors", "depth_config.json"])
def test_a_run_without_its_depth_model_is_refused_with_the_cure(
    broken_depth_run: Path, tmp_path: Path, name: str
) -> None:
    (broken_depth_run / name).unlink()
    with pytest.raises(UsageError, match=f"lacks {name}: copy it from the dataset i2b-depth-anything"):
        make(broken_depth_run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_another_depth_model_than_the_one_trained_beside_is_refused(broken_depth_run: Path, tmp_path: Path) -> None:
    from tests.tiny_depth import write_tiny_depth

    other = write_tiny_depth(tmp_path / "other", seed=1)
    shutil.copyfile(other / "model.safetensors", broken_depth_run / "depth.safetensors")
    with pytest.raises(
        CheckFailed, match=r"depth.safetensors: sha256 \w+…, the folds were trained beside \w+….*put back"
    ):
        make(broken_depth_run, tmp_path / "bundle")


def test_a_run_that_does_not_name_its_depth_model_is_refused(broken_depth_run: Path, tmp_path: Path) -> None:
    config = json.loads((broken_depth_run / "config.json").read_text())
    del config["depth"]
    (broken_depth_run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="the entry depth lacks weights, config, sha256"):
        make(broken_depth_run, tmp_path / "bundle")


def test_a_depth_model_inside_every_fold_is_refused(broken_depth_run: Path, tmp_path: Path) -> None:
    """As the seed packed it: 100 MB, five times."""
    from tests.tiny_depth import tiny_estimator

    tensors = load_file(broken_depth_run / "fold1.safetensors")
    tensors |= {f"depth_model.{key}": tensor for key, tensor in tiny_estimator().state_dict().items()}
    save_file(tensors, broken_depth_run / "fold1.safetensors")
    with pytest.raises(CheckFailed, match=r"fold1.safetensors: holds \d+ tensors of the frozen depth model.*keep the"):
        make(broken_depth_run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


# Sizes


def test_the_report_tells_the_bytes_before_and_after(trained_run: Path, tmp_path: Path) -> None:
    report = make(trained_run, tmp_path / "bundle")
    before = sum((trained_run / f"fold{k}.safetensors").stat().st_size for k in (0, 1))
    after = sum(path.stat().st_size for path in (tmp_path / "bundle").iterdir())
    weights = sum((tmp_path / f"bundle/fold{k}.safetensors").stat().st_size for k in (0, 1))
    assert (report.bytes_run, report.bytes_bundle) == (before, after)
    assert weights < 0.65 * before, "a net as small as this one is a tenth of vectors and headers"


@pytest.mark.full
def test_the_bundle_of_v1_is_half_of_its_weights(tmp_path: Path) -> None:
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.models.model import BackboneNet
    from kernel_src.training.checkpoint import save_tensors

    v1 = EXPERIMENTS["v1"]
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    save_tensors(run_folder / "fold0.safetensors", BackboneNet(v1).state_dict())
    (run_folder / "oof.csv").write_text("image_id,fold," + ",".join(TARGETS) + "\n")
    oof = {"score": 0.0, "images": 0, "formula": "none: random weights"}
    config = {"format": 3, "experiment": v1.as_json(), "folds": ["fold0.safetensors"], "oof": oof}
    (run_folder / "config.json").write_text(json.dumps(config | {"versions": {}}))
    report = make(run_folder, tmp_path / "bundle", slug="i2b-v1-weights")
    print(f"v1: {report.bytes_run:,} → {report.bytes_bundle:,} bytes")
    assert 85e6 < report.bytes_run < 90e6
    assert 0.500 < report.bytes_bundle / report.bytes_run < 0.505


# What is refused


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(UsageError, match="holds no finished training run.*train first"):
        make(tmp_path / "nothing", tmp_path / "bundle")
    (run_folder / "fold1.safetensors").unlink()
    (run_folder / "oof.csv").unlink()
    with pytest.raises(UsageError, match="lacks fold1.safetensors, oof.csv: let the training finish"):
        make(run_folder, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_an_older_bundle_is_replaced_whole(trained_run: Path, tmp_path: Path) -> None:
    make(trained_run, tmp_path / "bundle")
    (tmp_path / "bundle/fold9.safetensors").touch()
    make(trained_run, tmp_path / "bundle")
    assert not (tmp_path / "bundle/fold9.safetensors").exists()


def test_a_failure_leaves_the_older_bundle(run_folder: Path, tmp_path: Path) -> None:
    make(run_folder, tmp_path / "bundle")
    before = {path.name: sha256_of(path) for path in (tmp_path / "bundle").iterdir()}
    (run_folder / "fold1.safetensors").write_bytes(b"broken")
    with pytest.raises(Exception, match="fold1.safetensors is a text file"):
        make(run_folder, tmp_path / "bundle")
    assert {path.name: sha256_of(path) for path in (tmp_path / "bundle").iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["bundle", "run"]


@pytest.mark.parametrize("kind", ["a folder with other things", "the run itself", "a file"])
def test_what_is_no_bundle_is_never_replaced(run_folder: Path, tmp_path: Path, kind: str) -> None:
    """`--out ~` must not empty the home folder."""
    out = tmp_path / "home"
    if kind == "a folder with other things":
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
    elif kind == "a file":
        out.write_text("years of work")
    else:
        out = run_folder
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="is there and is not a bundle, so it is not replaced: name another --out"):
        make(run_folder, out)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_may_be_filled(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    make(trained_run, tmp_path / "bundle")
    assert (tmp_path / "bundle/manifest.json").is_file()


# The command


def test_the_command_prints_one_json_object_for_scripts(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_verb(trained_run, tmp_path / "bundle", as_json=True)
    assert json.loads(capsys.readouterr().out)["files"] == 5
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["dataset"] == "i2b-tiny-weights"


def test_a_bundle_is_made_in_no_time(trained_run: Path, tmp_path: Path) -> None:
    start = time.perf_counter()
    make(trained_run, tmp_path / "bundle")
    assert time.perf_counter() - start < 5


def test_the_changed_experiment_travels_in_the_config(run_folder: Path, tmp_path: Path) -> None:
    """`CHANGES` of the training notebook must reach inference, which knows only this file."""
    from kernel_src.bundle.bundle_prediction import load_bundle
    from kernel_src.recipes.predictor import predictor_from_json
    from tests.kernel_src.tiny import TINY

    config = json.loads((run_folder / "config.json").read_text())
    config["experiment"] = changed(TINY, {"predict.tta": "none"}).as_json()
    (run_folder / "config.json").write_text(json.dumps(config))
    make(run_folder, tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").experiment == predictor_from_json(config["experiment"])

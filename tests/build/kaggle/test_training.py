"""`push-training`: onto Kaggle's GPUs, and a bundle of what comes back."""

import json
import shutil
from pathlib import Path

import pytest

from build.core.bundle_files import verify_manifest
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.held_recipes import EXPERIMENTS
from tests.build.kaggle.desk import Desk, lay_desk, write_bundle

KERNEL, STARTING = "kim/i2b-demo-train", "kim/i2b-lite0-imagenet"


@pytest.fixture(scope="session")
def first_desk(mother, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    mother.order({"import": "kernel_src.training.runs"})  # torch takes seconds
    desk = lay_desk(tmp_path_factory.mktemp("desk") / "kit")
    # Starting weights that nobody loads, described as make demo describes its own.
    pretrained = write_bundle(desk.folder / "out" / "demo" / "pretrained")
    manifest = json.loads((pretrained / "manifest.json").read_text()) | {"dataset": "i2b-lite0-imagenet"}
    (pretrained / "manifest.json").write_text(json.dumps(manifest))
    (pretrained / "dataset-metadata.json").unlink()
    return desk


def training_outputs(tmp_path: Path, **changed: object) -> dict[str, bytes]:
    """What the training notebook leaves, with a fold of one small matrix."""
    import torch
    from safetensors.torch import save_file

    save_file({"head.weight": torch.ones(4, 4), "head.bias": torch.zeros(4)}, tmp_path / "fold0.safetensors")
    config = {
        "format": 3,
        "experiment": EXPERIMENTS["demo"].as_json() | changed,
        "folds": ["fold0.safetensors"],
        "oof": {"score": 0.7, "images": 1, "formula": "R2"},
        "versions": {},
        "source_sha256": "of the run",
    }
    oof = "image_id,fold," + ",".join(TARGETS) + "\nID1,0,2.0,1.0,0.5,2.5,3.5\n"
    files = {"config.json": json.dumps(config).encode(), "oof.csv": oof.encode(), "log.csv": b"epoch\n1\n"}
    files["fold0.safetensors"] = (tmp_path / "fold0.safetensors").read_bytes()
    return {f"run/{name}": data for name, data in files.items()}


@pytest.fixture
def desk(first_desk: Desk, mother, server, site, tmp_path: Path) -> Desk:
    site.outputs = {"i2b-demo-train": training_outputs(tmp_path)}
    return first_desk.copy(tmp_path / "kit", mother)


def test_a_training_on_kaggle_becomes_a_bundle_and_is_not_repeated(desk: Desk, server, site) -> None:
    done = desk.shell(verb="push-training")
    assert done.returncode == 0, done.stderr
    assert site.summary() == {"datasets": {STARTING: 1}, "kernels": {KERNEL: 1}, "submissions": []}
    bundle = desk.folder / "out" / "bundles" / "demo"
    manifest = verify_manifest(bundle)
    assert manifest["dataset"] == "i2b-demo-weights" and set(manifest["files"]) > {"fold0.safetensors", "oof.csv"}
    assert manifest["source_sha256"] == "of the run"
    assert done.stdout.count("done in") == 9 and "`make push-inference EXPERIMENT=demo` is next" in done.stdout
    before = server.names()
    again = desk.shell(verb="push-training")
    assert again.returncode == 0 and "already of this version" in again.stdout, again.stderr
    assert not {"SaveKernel", "CreateDataset", "GetKernelSessionStatus"} & set(server.names()[len(before) :])


@pytest.mark.full
def test_wait_0_pushes_and_goes_and_the_next_run_fetches(desk: Desk, site) -> None:
    done = desk.shell("--no-wait", verb="push-training")
    assert done.returncode == 0 and "`make push-training EXPERIMENT=demo` continues" in done.stdout, done.stderr
    assert desk.shell(verb="push-training").returncode == 0
    assert site.summary()["kernels"] == {KERNEL: 1}


@pytest.mark.full
def test_what_another_experiment_left_is_not_bundled(desk: Desk, site, tmp_path: Path) -> None:
    site.outputs = {"i2b-demo-train": training_outputs(tmp_path, name="v1")}
    done = desk.shell(verb="push-training")
    assert done.returncode == 1 and "a run of 'v1', not of 'demo'" in done.stderr
    assert not (desk.folder / "out" / "bundles").exists()


def test_starting_weights_that_are_nowhere_stop_it_before_the_push(desk: Desk, server, site) -> None:
    shutil.rmtree(desk.folder / "out" / "demo" / "pretrained")
    done = desk.shell(verb="push-training")
    assert done.returncode == 1 and "make push-data DIR=… SLUG=i2b-lite0-imagenet" in done.stderr
    assert "SaveKernel" not in server.names()


@pytest.mark.full
def test_tidying_the_starting_weights_away_trains_nothing_once_more(desk: Desk, site) -> None:
    assert desk.shell("--no-wait", verb="push-training").returncode == 0
    shutil.rmtree(desk.folder / "out" / "demo" / "pretrained")
    assert desk.shell("--no-wait", verb="push-training").returncode == 0
    assert site.summary()["kernels"] == {KERNEL: 1}


@pytest.mark.full
def test_starting_weights_that_are_on_kaggle_only_will_do(desk: Desk, site) -> None:
    assert desk.shell("--no-wait", verb="push-training").returncode == 0
    shutil.rmtree(desk.folder / "out" / "demo" / "pretrained")
    desk.forget()
    assert desk.shell("--no-wait", verb="push-training").returncode == 0
    assert site.summary() == {"datasets": {STARTING: 1}, "kernels": {KERNEL: 2}, "submissions": []}

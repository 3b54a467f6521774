"""`make train` and `make infer` on nets of 0.1 M parameters: really run, killed, resumed, and ended in a bundle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build.core.errors import UsageError
from build.core.submission_file import read_column, submission_problems
from build.notebooks.builder import ROOT
from build.run.inference import infer
from build.run.training import forget_caches, train
from kernel_src.competitions.held_recipes import EXPERIMENTS
from tests.build.typing_in import type_in
from tests.kernel_src.kernels.twins import tiny_twin, twin_datasets

TINY = (
    "encoder.timm=test_efficientnet encoder.weights= pictures.height_px=32 pictures.width_px=64 head.hidden=8 "
    "schedule.epochs=2 batch.size=4 data.split.folds=2 predict.tta=none schedule.warmup=0"
)


@pytest.fixture(scope="module")
def trained(tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("out") / "runs"
    return train("demo", tiny_competition, folds="1", set_values=[TINY], out=out, quiet=True), out


@pytest.mark.full
def test_training_leaves_config_log_curves_predictions_weights_and_a_bundle(trained) -> None:
    report, out = trained
    folder = out / "demo" / report.hash
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "log.csv", "kernel.log", "curves.png", "out_of_fold.png", "oof.csv"} <= names
    assert "fold1.safetensors" in names and "fold0.safetensors" not in names, "FOLDS chooses the folds"
    assert json.loads((folder / "config.json").read_text())["experiment"]["schedule"]["epochs"] == 2
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    assert manifest["dataset"] == "i2b-demo-weights" and "fold1.safetensors" in manifest["files"]
    assert report.finished and not report.resumed and not list((out / ".sessions").iterdir())


@pytest.mark.full
def test_the_same_command_trains_nothing_again_and_another_one_goes_elsewhere(trained, tiny_competition: Path) -> None:
    report, out = trained
    weights = out / "demo" / report.hash / "fold1.safetensors"
    before = weights.stat().st_mtime_ns
    again = train("demo", tiny_competition, folds="1", set_values=[TINY], out=out, quiet=True)
    assert again.hash == report.hash and again.resumed and weights.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="names 7; the folds are 0 to 1: check SET and FOLDS"):
        train("demo", tiny_competition, folds="7", set_values=[TINY], out=out, quiet=True)
    assert len([*(out / "demo").iterdir()]) == 1
    other = train("demo", tiny_competition, folds="0", set_values=[TINY], out=out, quiet=True)
    assert other.hash != report.hash and len([*(out / "demo").iterdir()]) == 2


@pytest.mark.full
def test_inference_from_the_bundle_writes_a_valid_submission(trained, tiny_competition: Path) -> None:
    report, out = trained
    found = infer("demo", tiny_competition, [Path(report.bundle)], out=out, quiet=True)
    ids = read_column(tiny_competition / "sample_submission.csv", "sample_id")
    assert submission_problems(Path(found.submission), ids) == [] and found.images == 3 and found.rows == 15


@pytest.mark.full
def test_a_killed_training_goes_on_and_ends_in_the_very_same_weights(
    trained, tiny_competition: Path, tmp_path: Path
) -> None:
    report, _ = trained
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "build", "train", "--experiment", "demo", "--data", str(tiny_competition)]
    command += ["--folds", "1", "--set", TINY, "--out", str(out), "--json"]
    process = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    folder = out / "demo" / report.hash
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*/checkpoint*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = train("demo", tiny_competition, folds="1", set_values=[TINY], out=out, quiet=True)
    first, second = (Path(run.folder) / "fold1.safetensors" for run in (report, again))
    assert again.hash == report.hash, "the place of the output is not part of the identity"
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.full
def test_v5_with_depth_and_external_folders_trains_and_predicts(tiny_competition: Path, tmp_path: Path) -> None:
    v5 = EXPERIMENTS["v5"]
    changes = tmp_path / "tiny.json"
    changes.write_text(json.dumps(tiny_twin(v5)))
    folders = twin_datasets(v5, tmp_path)
    # A folder's name is its slug where no file in it says otherwise.
    given = [folder.rename(folder.with_name(slug)) for slug, folder in folders.items()]
    out = tmp_path / "runs"
    report = train("v5", tiny_competition, set_values=[f"@{changes}"], pretrained=given, out=out, quiet=True)
    bundle = Path(report.bundle)
    assert (bundle / "depth.safetensors").is_file() and (bundle / "fold1.safetensors").is_file()
    found = infer("v5", tiny_competition, [bundle], out=out, quiet=True)
    assert found.images == 3
    with pytest.raises(UsageError, match="no folder for the dataset i2b-depth-anything-v2-small"):
        train("v5", tiny_competition, set_values=[f"@{changes}"], pretrained=given[1:], out=out, quiet=True)


def test_without_the_competition_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no train.csv"):
        train("demo", tmp_path, set_values=[TINY], out=tmp_path / "runs", quiet=True)
    assert not (tmp_path / "runs").exists()


def test_a_wrong_word_ends_with_exit_code_2_and_no_traceback(tiny_competition: Path) -> None:
    done = type_in("train", "--experiment", "demo", "--data", tiny_competition, "--set", "schedule.epoch=3")
    assert done.returncode == 2 and "did you mean schedule.epochs?" in done.stderr and "Traceback" not in done.stderr


def test_old_caches_go_first_and_the_newest_stay(tmp_path: Path) -> None:
    for age, name in enumerate(("new.npy", "middle.npy", "old.npy")):
        (tmp_path / name).write_bytes(bytes(1000))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    forget_caches(tmp_path, limit_gb=2000 / 1e9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle.npy", "new.npy"]

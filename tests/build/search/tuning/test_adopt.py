"""The best trial becomes an experiment: one file changes, and a fresh process trains by it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.notebooks.adoption import read_entries
from build.notebooks.builder import ROOT
from build.search.tuning.command import adopt, tuned_file, tuned_source
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed

V1 = EXPERIMENTS["v1"]

BEST = {
    "experiment": "v1",
    "changes": {"optimizer.lr": 3.2e-4, "loss": "Log1pError", "head.hidden": [64, 8]},
    "found_by": "study v1-fold0: trial 17, best of 40, mean R² 0.5120 over 3 inner folds; outer fold 0 not seen",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("build.notebooks.builder.ROOT", tmp_path)
    shutil.copytree(ROOT / "kernel_src", tmp_path / "kernel_src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def listed(root: Path) -> dict:
    code = (
        "import json; from kernel_src.competitions.held_recipes import EXPERIMENTS as e; "
        "print(json.dumps({n: x.as_json() for n, x in e.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_an_adopted_trial_is_an_experiment_and_only_one_file_changed(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*.py")}
    written = adopt("v1_tuned", BEST)
    written_over = [path for path in root.rglob("*.py") if path.read_bytes() != before.get(path)]
    assert written_over == [written] == [root / tuned_file()]
    experiments = listed(root)
    assert experiments["v1_tuned"] == changed(V1, BEST["changes"] | {"name": "v1_tuned"}).as_json()


def test_the_notebook_of_an_adopted_experiment_can_be_stitched(root: Path) -> None:
    from build.stitch import compose

    adopt("v1_tuned", BEST)
    try:
        notebook = compose(root / "kernel_src/kernels/train.py", root, {"EXPERIMENT": "v1_tuned"}).notebook
    except CheckFailed as failed:
        assert not [p for p in failed.problems if "tuned" in p.where or "experiments.py" in p.where]
        pytest.skip("another module of the tree cannot be stitched at the moment")
    assert b"v1_tuned" in notebook and b"study v1-fold0" in notebook


def test_what_picked_the_epoch_of_the_trials_is_no_part_of_the_adopted_experiment(root: Path) -> None:
    picked = {**BEST["changes"], "keep": "InnerFold", "keep.patience": 10}
    adopt("v1_tuned", {**BEST, "changes": picked})
    experiments = listed(root)
    assert experiments["v1_tuned"] == changed(V1, BEST["changes"] | {"name": "v1_tuned"}).as_json()


def test_adopting_again_replaces_the_entry_and_keeps_the_others(root: Path) -> None:
    adopt("v1_tuned", BEST)
    adopt("v1_other", {**BEST, "changes": {"schedule.epochs": 3}})
    adopt("v1_tuned", {**BEST, "changes": {"schedule.epochs": 9}})
    tuned = read_entries(root / tuned_file(), "TUNED")
    assert {name: entry["changes"] for name, entry in tuned.items()} == {
        "v1_other": {"schedule.epochs": 3},
        "v1_tuned": {"schedule.epochs": 9},
    }


def test_the_file_is_written_as_the_formatter_would(tmp_path: Path) -> None:
    path = tmp_path / "tuned_experiments.py"
    for tuned in ({}, {"a": {"base": "v1", "changes": {"schedule.epochs": 3}, "found_by": "x"}}):
        path.write_text(tuned_source(tuned))
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "format", "--check", "--config", ROOT / "pyproject.toml", path],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, path.read_text()
    assert tuned_source({}) == (ROOT / tuned_file()).read_text() or read_entries(ROOT / tuned_file(), "TUNED")


@pytest.mark.parametrize("name", ["v5", "v6", "V5 tuned", "x" * 60])
def test_a_name_that_is_taken_or_impossible_is_refused(root: Path, name: str) -> None:
    with pytest.raises(UsageError):
        adopt(name, BEST)


def test_a_file_broken_by_hand_is_not_overwritten(root: Path) -> None:
    (root / tuned_file()).write_text("TUNED: dict = {'a': make()}\n")
    with pytest.raises(CheckFailed, match="not a literal dictionary"):
        adopt("v1_tuned", BEST)

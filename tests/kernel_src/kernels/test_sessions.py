"""The training notebook stops itself before the session's end, and the next one goes on from its output."""

from pathlib import Path

import pytest

from tests.kernel_src.kernels.running import TINY, lay_out_kaggle, run_notebook, run_script
from tests.kernel_src.kernels.twins import InProcess


def working(home: Path) -> Path:
    return home / "kaggle" / "working" / "run"


@pytest.mark.full
def test_two_sessions_make_the_run_that_one_would_have_made(tiny_competition: Path, tmp_path: Path) -> None:
    changes = TINY | {"keep": {"kind": "EMA", "decay": 0.9}}
    whole = lay_out_kaggle(tmp_path / "whole", tiny_competition, {})
    run_script("train", {"EXPERIMENT": "demo", "CHANGES": changes}, whole, tmp_path / "scratch0")

    first = lay_out_kaggle(tmp_path / "first", tiny_competition, {})
    limited = {"EXPERIMENT": "demo", "CHANGES": changes | {"machine.limit_s": 0.01}}
    # As a notebook: what ends it early must look like a success to papermill, or Kaggle would not keep the output.
    printed = run_notebook("train", limited, first, tmp_path / "scratch1")
    assert "fold 0: stopped in epoch 1 of 2" in printed and "NOT FINISHED: folds 0, 1" in printed
    assert "Add Input" in printed and "out-of-fold" not in printed
    assert {path.name for path in working(first).iterdir()} == {
        "fingerprint.json",
        "sources.json",
        "checkpoint0.safetensors",
    }

    second = lay_out_kaggle(tmp_path / "second", tiny_competition, {})
    (second / "kaggle/input/notebooks/owner/i2b-demo-train").mkdir(parents=True)
    (second / "kaggle/input/notebooks/owner/i2b-demo-train/run").symlink_to(working(first))
    printed = run_script("train", {"EXPERIMENT": "demo", "CHANGES": changes}, second, tmp_path / "scratch2")
    assert "going on with" in printed and "fold 0: resumed after epoch 0, batch 1" in printed
    for name in ("fold0.safetensors", "fold1.safetensors", "oof.csv"):
        assert (working(second) / name).read_bytes() == (working(whole) / name).read_bytes(), name


@pytest.mark.full
def test_the_notebook_trains_with_depth_and_external_data_from_their_datasets(
    tiny_competition: Path, tmp_path: Path
) -> None:
    from tests.kernel_src.competitions.biomass.test_external import write_grassclover
    from tests.tiny_depth import write_tiny_depth

    changes = TINY | {
        "depth": {"weights": "i2b-depth"},
        "data.external": {"dataset": "i2b-grassclover"},
        "schedule.epochs": 1,
    }
    kaggle = lay_out_kaggle(tmp_path / "home", tiny_competition, {})
    datasets = kaggle / "kaggle/input/datasets/owner"
    write_tiny_depth(datasets / "i2b-depth")
    write_grassclover(datasets / "i2b-grassclover")
    printed = run_script("train", {"EXPERIMENT": "demo", "CHANGES": changes}, kaggle, tmp_path / "scratch")
    assert "external data grassclover: 3 of 3 rows kept" in printed
    assert "on 20 photographs" in printed, "external rows are not scored"
    names = {path.name for path in working(kaggle).iterdir()}
    assert names >= {"depth.safetensors", "depth_config.json", "config.json", "oof.csv"}


def test_a_notebook_whose_recipe_cannot_train_one_fold_ends_well_and_says_that_the_run_is_not_whole(
    tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from build.kaggle.outputs import verify_training
    from build.scores.cross_validation import cross_validation
    from build.weights.bundle import make_bundle, summary

    kaggle = lay_out_kaggle(tmp_path / "home", tiny_competition, {})
    run = working(kaggle)
    run.mkdir(parents=True)
    (run / "given_up1.txt").write_text("the loss is not finite at fold 1\n")
    changes = TINY | {"schedule.epochs": 1}
    printed = InProcess(monkeypatch)("train", {"EXPERIMENT": "demo", "CHANGES": changes}, kaggle, tmp_path / "scratch")
    assert "NOT WHOLE: fold 1 is given up: the loss is not finite at fold 1" in printed
    assert "NOT WHOLE: the photographs of folds 1 are not scored" in printed and "out-of-fold R²" in printed
    assert "NOT FINISHED" not in printed and not list(run.glob("checkpoint*"))
    assert verify_training(kaggle / "kaggle/working", "demo") == run
    report = make_bundle(run, tmp_path / "bundle", slug="i2b-demo-weights", data=tiny_competition)
    assert "NOT WHOLE: fold 1 could not be trained (the loss is not finite at fold 1)" in summary(report)
    assert "NOT WHOLE: fold 1" in (tmp_path / "bundle/README.md").read_text()
    assert "without fold 1, which could not be trained" in cross_validation(tmp_path / "bundle").folds

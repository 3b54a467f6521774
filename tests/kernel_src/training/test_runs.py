"""A whole run: which rows train, what is kept on resuming, and what is left for the bundle."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from build.core.bundle_files import missing_folds_text
from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.biomass.tables import group_labels, target_array
from kernel_src.data.training_photographs import FoldData
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, InnerFold
from kernel_src.recipes.training_data import LeaveGroupOut
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of
from kernel_src.training import runs, training
from kernel_src.training.gradient_steps import TrainingDiverged
from kernel_src.training.resumption import continue_previous_run, hand_over
from kernel_src.training.runs import (
    collect_log,
    finish_run,
    folds_left,
    missing_folds,
    out_of_fold_score,
    predict_out_of_fold,
)
from kernel_src.training.session import Session
from kernel_src.training.training_data import folds_to_train, training_pictures
from tests.kernel_src.tiny import CPU, TINY, TINY_VIT, train_tiny


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> dict[int, FoldData]:
    """Record what each fold would be trained on, and leave a file where its weights would be."""
    given: dict[int, FoldData] = {}

    def record(experiment: Experiment, fold: int, data: FoldData, *, folder: Path, **_: Any) -> list[dict[str, Any]]:
        given[fold] = data
        (folder / f"fold{fold}.safetensors").write_text("weights")
        (folder / f"log{fold}.csv").write_text(f"fold,epoch\n{fold},1\n")
        return [{"fold": fold, "epoch": 1}]

    monkeypatch.setattr(runs, "train_fold", record)
    return given


def test_no_visit_lies_in_two_of_training_inner_and_outer_rows(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, no_training: dict[int, FoldData]
) -> None:
    """A picture that is scored must not have trained the weights, nor picked the epoch; nor one of the same visit."""
    experiment = changed(TINY_VIT, {"data.split.folds": 3, "keep": InnerFold(2)})
    train_tiny(experiment, train, tiny_competition, tmp_path / "run")
    groups = group_labels(train)
    fold_of = fold_numbers("group", groups, target_array(train).sum(1), 3, 0)
    assert set(no_training) == {0, 1, 2}
    for fold, data in no_training.items():
        outer = np.flatnonzero(fold_of == fold)
        parts = [set(groups[rows]) for rows in (data.train_rows, data.inner_rows, outer)]
        assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert sorted([*data.train_rows, *data.inner_rows, *outer]) == list(range(len(train)))


def test_without_inner_folds_all_other_rows_train(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, no_training: dict[int, FoldData]
) -> None:
    train_tiny(TINY_VIT, train, tiny_competition, tmp_path / "run")
    assert sum(len(data.train_rows) for data in no_training.values()) == len(train)
    assert all(len(data.inner_rows) == 0 for data in no_training.values())
    assert no_training[0].photographs.shape == (20, 32, 32, 3)
    assert np.array_equal(no_training[0].values, target_array(train))


def test_a_resumed_run_trains_only_what_is_missing_and_its_log_holds_every_fold(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, no_training: dict[int, FoldData]
) -> None:
    run = tmp_path / "run"
    train_tiny(TINY_VIT, train, tiny_competition, run)
    assert folds_left(TINY_VIT, train, run) == ()
    (run / "fold1.safetensors").unlink()
    assert folds_left(TINY_VIT, train, run) == (1,)
    no_training.clear()
    train_tiny(TINY_VIT, train, tiny_competition, run)
    assert set(no_training) == {1}
    no_training.clear()
    train_tiny(TINY_VIT, train, tiny_competition, run)
    assert not no_training
    for _ in range(2):
        collect_log(run)
        assert (run / "log.csv").read_text() == "fold,epoch\n0,1\n1,1\n"


def test_what_a_fold_killed_at_its_very_end_has_left_behind_is_cleared(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, no_training: dict[int, FoldData]
) -> None:
    run = tmp_path / "run"
    train_tiny(TINY_VIT, train, tiny_competition, run)
    left = ("checkpoint0.safetensors", ".checkpoint0.123.safetensors", "checkpoint1.safetensors")
    for name in left:
        (run / name).write_text("")
    (run / "fold1.safetensors").unlink()
    train_tiny(TINY_VIT, train, tiny_competition, run)
    assert [name for name in left if (run / name).exists()] == ["checkpoint1.safetensors"]


def test_the_same_data_mounted_elsewhere_is_the_same_run_and_the_session_limit_is_no_part_of_it(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, no_training: dict[int, FoldData]
) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "mounted"
    train_tiny(TINY_VIT, train, tiny_competition, run)
    elsewhere.symlink_to(tiny_competition)
    moved = train.assign(image_path=[str(elsewhere / path) for path in train["image_path"]])
    train_tiny(changed(TINY_VIT, {"machine.limit_s": 60.0, "machine.shape": "NvidiaL4"}), moved, Path("/"), run)


@pytest.mark.parametrize("other", ["experiment", "data", "no record"])
def test_a_folder_with_another_run_is_refused(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, no_training: dict[int, FoldData], other: str
) -> None:
    run = tmp_path / "run"
    train_tiny(TINY_VIT, train, tiny_competition, run)
    no_training.clear()
    experiment, table = TINY_VIT, train
    if other == "experiment":
        experiment = changed(TINY_VIT, {"schedule.epochs": 3})
    elif other == "data":
        table = train.assign(GDM_g=train["GDM_g"] + 1)
    else:
        (run / "fingerprint.json").unlink()
    with pytest.raises(ValueError, match="run holds a run of another experiment or of other data: choose an empty"):
        train_tiny(experiment, table, tiny_competition, run)
    assert not no_training


def test_only_the_asked_folds_are_trained_and_a_fold_that_is_not_there_is_refused() -> None:
    fold_of = np.array([0, 1, 2, 3, 4])
    of_groups = changed(TINY, {"data.split": LeaveGroupOut()})
    assert folds_to_train(of_groups, fold_of) == (0, 1, 2, 3, 4)
    assert folds_to_train(changed(of_groups, {"data.train_folds": (3,)}), fold_of) == (3,)
    with pytest.raises(ValueError, match=r"train_folds names \[5, 7\], the split has folds 0 to 4"):
        folds_to_train(changed(of_groups, {"data.train_folds": (5, 1, 7)}), fold_of)


# The real thing, on the tiny competition


def test_a_run_leaves_weights_config_predictions_and_log(trained_run: Path) -> None:
    names = {path.name for path in trained_run.iterdir()}
    assert names == {
        "fold0.safetensors",
        "fold1.safetensors",
        "config.json",
        "oof.csv",
        "log.csv",
        "log0.csv",
        "log1.csv",
        "fingerprint.json",
        "sources.json",
    }
    rows = list(csv.DictReader((trained_run / "log.csv").open()))
    assert [(row["fold"], row["epoch"]) for row in rows] == [("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]


def test_every_image_is_predicted_once_by_the_fold_that_has_not_seen_it(trained_run: Path, train: pd.DataFrame) -> None:
    oof = pd.read_csv(trained_run / "oof.csv")
    assert sorted(oof["image_id"]) == sorted(train["image_id"])
    fold_of = fold_numbers("group", group_labels(train), target_array(train).sum(1), 2, 0)
    expected = dict(zip(train["image_id"], fold_of, strict=True))
    assert [expected[image] for image in oof["image_id"]] == oof["fold"].tolist()


def test_the_config_says_what_inference_needs_and_the_score_is_the_submissions(
    trained_run: Path, train: pd.DataFrame
) -> None:
    config = json.loads((trained_run / "config.json").read_text())
    assert config["folds"] == ["fold0.safetensors", "fold1.safetensors"] and config["format"] == BUNDLE_FORMAT
    assert config["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert config["preprocessing"]["interpolation"] == "bicubic"
    assert set(config["versions"]) >= {"python", "torch", "timm", "numpy"}
    means = train[list(TARGETS)].mean()
    assert config["target_mean"] == pytest.approx(means.to_dict(), abs=1e-3)
    oof = pd.read_csv(trained_run / "oof.csv").set_index("image_id").loc[train["image_id"]]
    grams = constrain(oof[list(TARGETS)].to_numpy(float), TINY.predict.constraint)
    assert config["oof"]["score"] == pytest.approx(weighted_r2(target_array(train), grams), abs=1e-5)
    assert config["oof"]["images"] == 20


def test_the_score_does_not_depend_on_the_order_of_the_predictions(trained_run: Path, train: pd.DataFrame) -> None:
    oof = pd.read_csv(trained_run / "oof.csv")
    shuffled = oof.sample(frac=1, random_state=3)
    assert out_of_fold_score(TINY, train, shuffled) == pytest.approx(out_of_fold_score(TINY, train, oof))


def test_predicting_again_gives_the_same_table(
    trained_run: Path, train: pd.DataFrame, tiny_competition: Path, tmp_path: Path
) -> None:
    again = predict_out_of_fold(TINY, train, tiny_competition, trained_run, tmp_path, CPU)
    before = pd.read_csv(trained_run / "oof.csv")
    assert np.abs(again[list(TARGETS)].to_numpy() - before[list(TARGETS)].to_numpy()).max() < 1e-4


def test_the_strip_at_the_bottom_is_seen_neither_in_training_nor_out_of_fold(
    trained_run: Path, train: pd.DataFrame, tiny_competition: Path, tmp_path: Path
) -> None:
    """A cardboard edge is painted into the last eighth of every photograph; a quarter is cut off."""
    painted = tmp_path / "painted"
    shutil.copytree(tiny_competition, painted)
    for path in train["image_path"]:
        picture = cv2.imread(str(painted / path))
        picture[-picture.shape[0] // 8 :] = (90, 160, 210)
        cv2.imwrite(str(painted / path), picture)
    cutting = changed(TINY, {"pictures.crop_bottom": 0.25})
    seen, grams = {}, {}
    for name, experiment in (("whole", TINY), ("cut", cutting)):
        for where in (tiny_competition, painted):
            cache = tmp_path / f"{name}-{where.name}"
            seen[name, where], _ = training_pictures(
                experiment, train, where, depth_folder=None, cache=cache, device=CPU
            )
            oof = predict_out_of_fold(experiment, train, where, trained_run, cache, CPU)
            grams[name, where] = oof[list(TARGETS)].to_numpy()

    def change(of: dict) -> list[float]:
        return [
            float(np.abs(of[name, painted].astype(float) - of[name, tiny_competition]).mean())
            for name in ("whole", "cut")
        ]

    # What was painted was compressed once more: noise of one level.
    for whole, cut in (change(seen), change(grams)):
        assert whole > 8 * cut
    assert change(seen)[1] < 1.5


def test_a_fold_is_predicted_in_the_precision_that_its_training_ended_with(
    trained_run: Path, train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real, halves = tmp_path / "run", runs.predict_values, list[bool]()
    shutil.copytree(trained_run, run)
    for fold, bits in ((0, "16,32"), (1, "16,16")):  # of the two epochs
        log = pd.read_csv(run / f"log{fold}.csv")
        log.assign(precision_bits=bits.split(",")).to_csv(run / f"log{fold}.csv", index=False)

    def predict(*given: Any, device: DeviceReport, **options: Any) -> Any:
        halves.append(device.half)
        return real(*given, device=CPU, **options)

    monkeypatch.setattr(runs, "predict_values", predict)
    predict_out_of_fold(TINY, train, tiny_competition, run, tmp_path / "cache", replace(CPU, half=True))
    assert halves == [False, True]


def test_a_single_trained_fold_is_scored_on_its_own_images(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path
) -> None:
    experiment = changed(TINY_VIT, {"data.split.folds": 3, "data.train_folds": (1,), "schedule.epochs": 1})
    train_tiny(experiment, train, tiny_competition, tmp_path / "run")
    oof = predict_out_of_fold(experiment, train, tiny_competition, tmp_path / "run", tmp_path / "cache", CPU)
    config = finish_run(experiment, train, oof, tmp_path / "run")
    fold_of = fold_numbers("group", group_labels(train), target_array(train).sum(1), 3, 0)
    assert config["folds"] == ["fold1.safetensors"] and set(oof["fold"]) == {1}
    assert list(oof["image_id"]) == train["image_id"][fold_of == 1].tolist()
    assert config["oof"]["images"] == int((fold_of == 1).sum())


def test_the_means_in_the_config_keep_the_identities_whatever_the_labels(
    trained_run: Path, train: pd.DataFrame, tmp_path: Path
) -> None:
    """One real image breaks additivity by 0.31 g: among 22 photographs that is more than a submission may be off."""
    wrong = train.assign(Dry_Total_g=train["Dry_Total_g"] + 3)
    means = finish_run(TINY, wrong, pd.read_csv(trained_run / "oof.csv"), tmp_path)["target_mean"]
    assert means["Dry_Total_g"] == pytest.approx(means["GDM_g"] + means["Dry_Dead_g"])
    assert means["GDM_g"] == pytest.approx(means["Dry_Green_g"] + means["Dry_Clover_g"])


# A fold that cannot be trained, and where the checkpoints lie


def one_fold_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    real = runs.train_fold

    def diverge(experiment: Experiment, fold: int, *given: Any, **options: Any) -> Any:
        if fold == 1:
            raise TrainingDiverged("the loss is not finite at fold 1, epoch 3")
        return real(experiment, fold, *given, **options)

    monkeypatch.setattr(runs, "train_fold", diverge)


def test_a_fold_that_diverges_costs_no_other_fold_and_nothing_takes_the_run_for_whole(
    train: pd.DataFrame,
    tiny_competition: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    experiment, run = changed(TINY_VIT, {"data.split.folds": 3, "schedule.epochs": 1}), tmp_path / "run"
    one_fold_diverges(monkeypatch)
    train_tiny(experiment, train, tiny_competition, run)
    assert {path.name for path in run.glob("fold*")} == {"fold0.safetensors", "fold2.safetensors"}
    assert "fold 1 is given up: the loss is not finite" in capsys.readouterr().out
    assert folds_left(experiment, train, run) == (), "the recipe would fail again"
    missing = missing_folds(experiment, train, run)
    assert missing == {1: "the loss is not finite at fold 1, epoch 3"}
    oof = predict_out_of_fold(experiment, train, tiny_competition, run, tmp_path / "cache", CPU, missing=missing)
    config = finish_run(experiment, train, oof, run)
    assert config["folds"] == ["fold0.safetensors", "fold2.safetensors"] and set(oof["fold"]) == {0, 2}
    assert config["missing_folds"] == {"1": missing[1]}
    assert missing_folds_text(config).startswith("NOT WHOLE: fold 1 could not be trained (the loss is not finite")


def test_a_whole_run_names_no_missing_folds(trained_run: Path) -> None:
    config = json.loads((trained_run / "config.json").read_text())
    assert "missing_folds" not in config and missing_folds_text(config) == ""


def test_a_weight_that_is_lost_is_no_missing_fold(trained_run: Path, train: pd.DataFrame, tmp_path: Path) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    (tmp_path / "run/fold1.safetensors").unlink()
    assert missing_folds(TINY, train, tmp_path / "run") == {} and folds_left(TINY, train, tmp_path / "run") == (1,)


def test_the_runs_folder_never_holds_more_than_finished_weights_until_the_session_ends(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Kaggle limits to 20 GB: it used to hold a checkpoint of three times the weights, and its draft."""
    run, scratch, sizes, checkpoints = tmp_path / "run", tmp_path / "scratch", list[int](), list[str]()
    rename = os.replace

    def measure(source: Path, target: Path) -> None:
        sizes.append(sum(path.stat().st_size for path in run.iterdir()))  # drafts among it
        if Path(target).name.startswith("checkpoint"):
            checkpoints.append(str(target))
        rename(source, target)

    monkeypatch.setattr(os, "replace", measure)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    train_tiny(
        changed(TINY, {"keep": EMA(0.9)}), train, tiny_competition, run, scratch=scratch, cache=tmp_path / "cache"
    )
    weights = sum(path.stat().st_size for path in run.glob("fold*.safetensors"))
    assert max(sizes) < 1.05 * weights, "fingerprint and logs are all that may come on top"
    assert len(checkpoints) > 4 and all(path.startswith(str(scratch)) for path in checkpoints)
    assert not list(scratch.glob("*/*")), "finished folds leave none"


def test_a_session_that_ends_hands_over_and_the_next_one_goes_on_bit_for_bit(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path
) -> None:
    def session(folder: Path, scratch: Path, limit_s: float = 0.0) -> None:
        limit = Session(started_s=0.0, limit_s=limit_s)
        cache = tmp_path / "cache"
        train_tiny(TINY, train, tiny_competition, folder, cache=cache, scratch=scratch, session=limit)

    session(tmp_path / "whole", tmp_path / "scratch0")
    first, second = tmp_path / "input/notebooks/me/i2b/run", tmp_path / "second"
    session(first, tmp_path / "scratch1", limit_s=0.001)
    assert not list(first.glob("*.safetensors"))
    assert hand_over(tmp_path / "scratch1", first) == ["checkpoint0.safetensors is kept, after step 1"]
    assert continue_previous_run(tmp_path / "input", second, TINY, tmp_path / "scratch2") == first
    session(second, tmp_path / "scratch2")
    assert hand_over(tmp_path / "scratch2", second) == []
    for fold in (0, 1):
        one, two = (sha256_of(tmp_path / name / f"fold{fold}.safetensors") for name in ("whole", "second"))
        assert one == two

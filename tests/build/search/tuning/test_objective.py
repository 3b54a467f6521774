"""A trial sees the training rows of one outer fold and nothing else, and its score is the mean over grouped folds."""

from pathlib import Path

import numpy as np
import optuna
import pytest

from build.search.tuning import objective as tuning
from build.search.tuning.command import prepare
from build.search.tuning.objective import objective, score_trial, without_outer_fold
from build.search.tuning.space import Choice, Range
from kernel_src.competitions.biomass.tables import group_labels, read_train
from kernel_src.recipes.changes import changed
from kernel_src.training.training_data import judged_folds
from tests.kernel_src.tiny import TINY

OUTER = 1
TRIAL = changed(TINY, {"name": "trial", "data.split.folds": 3, "predict.tta": "none"})


def material(competition: Path, tmp_path: Path):
    return prepare(TRIAL, {}, competition, [], OUTER, 2, tmp_path / "cache")


def test_the_outer_fold_is_never_seen_by_training_or_by_validation(
    tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spy at the four places where rows enter: files that are opened, and rows that train, pick and judge."""
    from kernel_src.data import dataset

    train = read_train(tiny_competition / "train.csv")
    outer = set(train["image_id"][judged_folds(TRIAL, train) == OUTER])
    opened: set[str] = set()
    fold_rows: list[tuple[set[int], set[int], set[int]]] = []
    real_read, real_train, real_judge = dataset.read_photograph, tuning.train_fold, tuning.DecodedPhotographs
    judged: list[set[int]] = []

    def read(path: Path, at_least_px: tuple[int, int]):
        opened.add(path.stem)
        return real_read(path, at_least_px)

    def fit(experiment, fold, data, **others):
        fold_rows.append((set(data.train_rows), set(data.inner_rows), judged[-1]))
        return real_train(experiment, fold, data, **others)

    def judge(photographs, rows):
        judged.append(set(rows.tolist()))
        return real_judge(photographs, rows)

    monkeypatch.setattr(dataset, "read_photograph", read)
    monkeypatch.setattr(tuning, "train_fold", fit)
    monkeypatch.setattr(tuning, "DecodedPhotographs", judge)
    data = material(tiny_competition, tmp_path)
    scores = score_trial(TRIAL, data, lambda step, score: None)

    assert outer and opened and not opened & outer, "no file of the outer fold is even opened"
    assert opened == set(data.train["image_id"]) == set(train["image_id"]) - outer
    groups = group_labels(data.train)
    assert len(scores) == 2 and len(fold_rows) == 2
    for fitted, picking, judging in fold_rows:
        assert judging and not judging & (fitted | picking)
        assert not set(groups[list(judging)]) & set(groups[list(fitted | picking)]), "validation inside is grouped"
    assert fold_rows[0][2] | fold_rows[1][2] == set(range(len(data.train)))


def test_whole_visits_are_left_out(tiny_competition: Path) -> None:
    train = read_train(tiny_competition / "train.csv")
    kept = without_outer_fold(TRIAL, train, OUTER)
    left_out = train[~train["image_id"].isin(kept["image_id"])]
    assert len(left_out) and not set(group_labels(kept)) & set(group_labels(left_out))
    with pytest.raises(ValueError, match="no outer fold 3"):
        without_outer_fold(TRIAL, train, 3)


def test_the_score_is_the_mean_over_the_inner_folds_and_each_epoch_is_reported(
    tiny_competition: Path, tmp_path: Path
) -> None:
    study = optuna.create_study(direction="maximize")
    space = {"optimizer.lr": Range(1e-4, 1e-3, log=True), "loss": Choice(("SquaredError", "Log1pError"))}
    study.optimize(objective(TRIAL, space, material(tiny_competition, tmp_path)), n_trials=1)
    trial = study.best_trial
    assert trial.value == pytest.approx(np.mean(trial.user_attrs["inner_scores"]))
    assert list(trial.intermediate_values) == [1, 2, 3, 4]  # two folds of two epochs
    assert set(trial.user_attrs["changes"]) == {"optimizer.lr", "loss"}
    # Without augmentation in time or at test, the last report is the score itself.
    assert trial.intermediate_values[4] == pytest.approx(trial.value, abs=1e-5)


class PruneAfter(optuna.pruners.BasePruner):
    def prune(self, study, trial) -> bool:
        return trial.last_step >= 1


def test_a_pruned_trial_stops_within_its_first_fold(tiny_competition: Path, tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", pruner=PruneAfter())
    study.optimize(
        objective(TRIAL, {"loss": Choice(("SquaredError", "Log1pError"))}, material(tiny_competition, tmp_path)),
        n_trials=1,
    )
    assert study.trials[0].state.name == "PRUNED" and list(study.trials[0].intermediate_values) == [1]


def test_a_diverging_trial_is_pruned_and_does_not_end_the_search(
    tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kernel_src.training.gradient_steps import TrainingDiverged

    def diverge(*args, **others):
        raise TrainingDiverged("the loss is not finite")

    monkeypatch.setattr(tuning, "train_fold", diverge)
    study = optuna.create_study(direction="maximize")
    study.optimize(
        objective(TRIAL, {"loss": Choice(("SquaredError", "Log1pError"))}, material(tiny_competition, tmp_path)),
        n_trials=2,
    )
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "PRUNED"]

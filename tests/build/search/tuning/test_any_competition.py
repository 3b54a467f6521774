"""Tuning two other competitions: the study runs in the metric's direction and searches losses that suit the targets."""

from pathlib import Path

import optuna
import pytest

from build.core.choosing import working_on
from build.search.tuning.command import tune, tuned_file
from build.search.tuning.space import space_for
from build.search.tuning.study import make_pruner, open_storage, open_study
from kernel_src.competitions.held_recipes import EXPERIMENTS
from tests.kernel_src.small_competitions import write_small_leaf, write_small_paws

WRITERS = {"leaf": write_small_leaf, "paws": write_small_paws}
TINY = (
    "encoder.timm=test_efficientnet encoder.weights= pictures.height_px=32 pictures.width_px=32 schedule.epochs=1 "
    "schedule.warmup=0 batch.size=4 data.split.folds=2 augment.preset=none optimizer.weight_decay=1e-4"
)


@pytest.mark.parametrize("name", WRITERS)
def test_a_study_finds_the_best_by_the_competitions_own_metric(name: str, tmp_path: Path) -> None:
    data = WRITERS[name](tmp_path / "data")
    with working_on(name):
        space = ["optimizer.lr=1e-4..1e-2", "optimizer=AdamW", *(["loss=SquaredError"] if name == "paws" else [])]
        report = tune(
            name,
            data,
            trials=2,
            set_values=TINY.split(),
            restrictions=space,
            inner_folds=2,
            pruner="none",
            out=tmp_path,
        )
        storage = open_storage("", Path(report.folder))
        study = optuna.load_study(study_name=report.study, storage=storage)
    scores = [trial.value for trial in study.trials if trial.value is not None]
    best, metric = (max, "accuracy") if name == "leaf" else (min, "RMSE")
    assert len(scores) == 2 and report.best["score"] == best(scores) and report.best["metric"] == metric
    assert f"mean {metric} {report.best['score']:.4f}" in report.best["found_by"]


def test_the_direction_the_losses_and_the_file_are_the_competitions(tmp_path: Path) -> None:
    ways = {}
    for name in WRITERS:
        with working_on(name):
            study = open_study("s", open_storage("", tmp_path / name), {}, make_pruner("none", 2, 2))
            losses = space_for(EXPERIMENTS[name], (), {})["loss"].values
            ways[name] = study.direction.name, "CrossEntropy" in losses, len(losses) > 1, tuned_file().parent.name
    assert ways == {"leaf": ("MAXIMIZE", True, False, "leaf"), "paws": ("MINIMIZE", False, True, "paws")}

"""How many sessions a training takes, computed before it is pushed."""

from pathlib import Path

import pytest

from build.weights.describe import describe
from build.weights.training_time import TrainingTime, training_time
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed

DEMO = EXPERIMENTS["demo"]


def test_three_passes_for_every_photograph_epoch_and_fold_on_two_t4s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = changed(DEMO, {"schedule.epochs": 4, "data.split.folds": 5, "data.train_folds": [0, 1]})
    time = training_time(recipe, 1000)
    assert time is not None
    assert time.hours == pytest.approx(3 * describe(recipe).flops_fold * 4 * 2 * 800 / 20e12 / 2 / 3600)
    assert time.sessions == 1 and time.as_line() == ""
    assert training_time(changed(recipe, {"machine.shape": "NvidiaL4"}), 1000) is None, "nobody has said how fast it is"


def test_a_session_ends_by_the_recipes_clock_or_by_kaggles_which_keeps_nothing() -> None:
    limited, unlimited = (TrainingTime(hours=25.0, limit_s=limit_s) for limit_s in (11.5 * 3600, 0.0))
    assert limited.sessions == unlimited.sessions == 3  # of 10.9 h, of 12 h
    assert "about 25 h of GPUs, so 3 sessions (computed, not measured" in limited.as_line()
    assert "NOTE" not in limited.as_line() and "nothing is kept: SET=machine.limit_s=41400" in unlimited.as_line()

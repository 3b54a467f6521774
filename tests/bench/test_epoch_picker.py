"""The table of what the epoch picker costs can be made again, and says so where the real embeddings are not at hand."""

from pathlib import Path

import numpy as np
import pytest

from bench import epoch_picker
from kernel_src.competition.tables import read_train, target_array
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.learning import InnerFold

SMALL = changed(
    EXPERIMENTS["v7"],
    {"head.hidden": (8,), "data.split.folds": 2, "schedule.epochs": 4, "optimizer.lr": 0.01, "batch.accumulate": 1},
)


def test_the_three_ways_are_scored_on_all_images_and_heads_learn_from_features_that_tell(
    tiny_competition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_picker, "PICKER", InnerFold(2, patience=1))
    train = read_train(tiny_competition / "train.csv")
    telling = target_array(train) / 10
    embeddings = dict(zip(train["image_id"], telling, strict=True))
    short, long = (
        epoch_picker.scores(changed(SMALL, {"schedule.epochs": epochs, "schedule": "Constant"}), train, embeddings)
        for epochs in (1, 60)
    )
    assert set(long) == {*epoch_picker.WAYS, "picked epoch, mean"} and all(np.isfinite(list(long.values())))
    assert 1 <= long["picked epoch, mean"] <= 60
    assert long["last, all rows"] > short["last, all rows"] + 0.1
    again = epoch_picker.scores(changed(SMALL, {"schedule.epochs": 1, "schedule": "Constant"}), train, embeddings)
    assert again == short, "every number is drawn by its place"


def test_without_the_real_embeddings_it_is_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(epoch_picker, "SHARED", tmp_path)
    monkeypatch.setattr("sys.argv", ["epoch_picker.py"])
    assert epoch_picker.main() == 0
    assert "skipped: the real embeddings are not here" in capsys.readouterr().out

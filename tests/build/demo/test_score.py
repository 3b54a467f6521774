"""The demo's scores and their intervals are those that `compare` gives for the same predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from build.demo.competition import paint_competition
from build.demo.score import score_demo
from build.scores.comparison import compare_files
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import project
from kernel_src.competitions.biomass.long_tables import wide_to_long
from kernel_src.competitions.biomass.tables import group_labels, read_train, target_array


def guesses(labels: Path, file: Path) -> tuple[list[str], np.ndarray]:
    """Predictions for every photograph of a table, also written as a file for `compare`."""
    table = read_train(labels)
    grams = target_array(table)
    assert len(set(group_labels(table))) > 2
    guess = np.abs(grams * np.random.default_rng(1).normal(1, 0.3, grams.shape))
    guess = project(guess)
    written = pd.DataFrame(guess, columns=list(TARGETS))
    written.insert(0, "image_id", table["image_id"])
    file.parent.mkdir(parents=True, exist_ok=True)
    written.to_csv(file, index=False)
    return table["image_id"].tolist(), guess


@pytest.mark.full
def test_scores_and_intervals_are_compares(tmp_path: Path) -> None:
    paint_competition(tmp_path, train_images=16, hidden_images=8, seed=7, workers=2)
    guesses(tmp_path / "competition/train.csv", tmp_path / "bundle/oof.csv")
    image_ids, guess = guesses(tmp_path / "hidden/labels.csv", tmp_path / "hidden.csv")
    submission = tmp_path / "rehearsal/working/submission.csv"
    submission.parent.mkdir(parents=True)
    rows = wide_to_long(image_ids, guess)
    pd.DataFrame({"sample_id": list(rows), "target": list(rows.values())}).to_csv(submission, index=False)

    found = score_demo(tmp_path)
    for name, file, labels in (
        ("oof", tmp_path / "bundle/oof.csv", tmp_path / "competition/train.csv"),
        ("hidden", tmp_path / "hidden.csv", tmp_path / "hidden/labels.csv"),
    ):
        (model,) = compare_files([str(file)], labels).models
        wanted = model.estimate, model.low, model.high
        assert (found[f"{name}_score"], *found[f"{name}_score_interval"]) == pytest.approx(wanted, abs=1e-6)

"""The table of pseudo-labels, its filter, and what its rows weigh in training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kernel_src.competition.splits import split_sha256
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.data.agreement import fold_spread
from kernel_src.data.pseudo_labels import confident, pseudo_table, read_pseudo_labels
from kernel_src.recipes.changes import changed
from kernel_src.recipes.training_data import PseudoLabels
from kernel_src.training.training import train_fold
from tests.kernel_src.tiny import CPU, TINY_VIT, fold_data


def test_the_spread_is_the_metrics_mean_of_the_deviations_between_folds() -> None:
    folds = np.zeros((2, 1, 5))
    folds[1, 0] = [2, 4, 6, 8, 10]  # deviations 1 to 5; 0.1 * (1 + 2 + 3) + 0.2 * 4 + 0.5 * 5
    assert fold_spread(folds).tolist() == pytest.approx([3.9])


def test_the_images_that_the_folds_agree_on_are_kept_in_every_fold(tmp_path: Path) -> None:
    grams = np.zeros((3, 4, 5))
    grams[0] += np.array([4.0, 1.0, 3.0, 2.0])[:, None]
    table = pseudo_table(["a", "b", "c", "d"], ["p"] * 4, [0, 2, 4], grams, "s")
    assert sorted(confident(table, 0.5)["image_id"]) == ["b"] * 3 + ["d"] * 3
    assert len(confident(table, 1.0)) == 12
    assert len(confident(table.drop(columns="spread_g"), 0.5)) == 12
    table.to_csv(tmp_path / "t.csv", index=False)
    read = read_pseudo_labels(tmp_path / "t.csv", share=0.25)
    assert set(read["image_id"]) == {"b"} and read["fold"].tolist() == [0, 2, 4]


def test_a_split_is_known_by_its_images_whatever_their_order() -> None:
    one = split_sha256(["a", "b", "c"], np.array([0, 1, 0]))
    assert one == split_sha256(["c", "a", "b"], np.array([0, 0, 1]))
    assert one != split_sha256(["a", "b", "c"], np.array([1, 0, 0]))


def weights_after(folder: Path, pseudo_weight: float, label_g: float) -> dict[str, torch.Tensor]:
    data = fold_data(12)
    grams = data.values.copy()
    grams[8:] = label_g
    pseudo = np.arange(12) >= 8
    folder.mkdir()
    experiment = changed(TINY_VIT, {"data.pseudo": PseudoLabels(weight=pseudo_weight), "batch.size": 12})
    train_fold(
        experiment,
        0,
        replace(data, values=grams, pseudo=pseudo),
        device=CPU,
        starting_weights=None,
        folder=folder,
    )
    return load_file(folder / "fold0.safetensors")


def test_pseudo_labelled_rows_weigh_what_the_experiment_says_and_do_not_set_the_scale(tmp_path: Path) -> None:
    runs = {
        (weight, label): weights_after(tmp_path / f"{weight}-{label}", weight, label)
        for weight in (1e-12, 0.5)
        for label in (10.0, 90.0)
    }
    key = "heads.4.0.weight"
    nothing, half = ((runs[weight, 10.0][key] - runs[weight, 90.0][key]).abs().max() for weight in (1e-12, 0.5))
    assert nothing < 1e-5 < 1e-4 < half, "what they say matters by their weight"
    scales = [weights["scaling.mean"] for weights in runs.values()]
    assert all(torch.equal(scale, scales[0]) for scale in scales), "guesses must not shift what the weighed rows mean"
    assert torch.allclose(scales[0], torch.from_numpy(fold_data(12).values[:8].mean(0)).float(), rtol=1e-5)


def test_the_table_goes_through_a_csv_unchanged(tmp_path: Path) -> None:
    grams = np.random.default_rng(0).random((2, 3, 5))
    table = pseudo_table(["1", "02", "c"], ["p", "q", "r"], [0, 1], grams, "s")
    table.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(read_pseudo_labels(tmp_path / "t.csv", 1.0), table)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("GDM_g", "1 g", "image x has '1 g' under GDM_g, not a number"),
        ("spread_g", "much", "image x has 'much' under spread_g"),
        ("image_id", None, "columns image_id are missing"),
    ],
)
def test_a_table_that_was_edited_is_refused_by_image_and_column(
    column: str, value: str | None, message: str, tmp_path: Path
) -> None:
    table = pd.DataFrame({"image_id": ["x"], "spread_g": 0.1, **dict.fromkeys(TARGETS, 1.0)})
    table = table.drop(columns=column) if value is None else table.assign(**{column: value})
    table.to_csv(tmp_path / "pseudo_labels.csv", index=False)
    with pytest.raises(ValueError, match=message):
        read_pseudo_labels(tmp_path / "pseudo_labels.csv")

"""Auxiliary targets: what they read, what is unknown, and losses worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from kernel_src.recipes.learning import Auxiliary, Bins, Classify, Regress
from kernel_src.recipes.spec import kinds_of
from kernel_src.training.auxiliary import AuxiliaryHeads, BinsTask, ClassifyTask, RegressTask, auxiliary_columns

GRAMS = np.arange(40.0).reshape(8, 5)
ALL = np.arange(8)
TABLE = pd.DataFrame(
    {
        "State": ["NSW", "Tas", "NSW", "", None, "Vic", "Tas", "WA"],
        "Height_Ave_cm": [1.0, 3.0, None, 5.0, 2.0, 100.0, 4.0, 3.0],
        "Dry_Total_g": GRAMS[:, 4],
    }
)


def silent(task: torch.nn.Module) -> torch.nn.Module:
    """Let its layer answer 0 whatever it is given."""
    for parameter in task.parameters():
        torch.nn.init.zeros_(parameter)
    return task


def test_columns_are_read_as_numbers_or_words_and_the_unknown_is_marked() -> None:
    columns = auxiliary_columns([Bins(), Regress("Height_Ave_cm"), Classify("State")], TABLE)
    assert list(columns) == ["Height_Ave_cm", "State"]
    assert columns["State"].tolist() == ["NSW", "Tas", "NSW", "", "", "Vic", "Tas", "WA"]
    assert np.isnan(columns["Height_Ave_cm"]).tolist() == [False, False, True] + [False] * 5


def test_a_missing_column_is_an_error_that_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"Regress\('Height'\) needs a column .* it has State, Height_Ave_cm$"):
        auxiliary_columns([Regress("Height")], TABLE)


def test_words_cannot_be_regressed() -> None:
    with pytest.raises(ValueError, match=r"column State holds words: Classify\('State'\) instead"):
        auxiliary_columns([Regress("State")], TABLE)


# Bins


def test_intervals_lie_between_quantiles_of_the_training_rows() -> None:
    task = BinsTask(Bins(count=4), 3, GRAMS)  # Green: 0, 5, …, 35, quartiles at 8.75, 17.5, 26.25
    assert task.edges[0].tolist() == pytest.approx([8.75, 17.5, 26.25])
    numbers = task.intervals(torch.from_numpy(GRAMS).float())
    assert numbers[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert task.intervals(torch.tensor([[8.75, 0, 0, 0, 999.0]]))[0].tolist() == [1, 0, 0, 0, 3]


def test_targets_that_are_mostly_zero_leave_intervals_empty_and_nothing_breaks() -> None:
    grams = GRAMS.copy()
    grams[:6, 2] = 0.0
    task = silent(BinsTask(Bins(count=7), 3, grams))
    lost = task(torch.ones(8, 3), torch.from_numpy(grams).float(), torch.arange(8))
    assert lost.tolist() == pytest.approx([math.log(7)] * 8), "seven intervals, each as likely"


def test_the_loss_of_bins_is_the_mean_over_the_targets() -> None:
    task = silent(BinsTask(Bins(count=2), 1, GRAMS))
    with torch.no_grad():
        task.logits.bias[0] = 3.0  # Green below its median, with odds of e³
    green_below, green_above = (
        task(torch.ones(1, 1), torch.from_numpy(GRAMS[i : i + 1]).float(), torch.tensor([i])).item() for i in (0, 7)
    )
    assert green_below == pytest.approx((math.log(1 + math.exp(-3)) + 4 * math.log(2)) / 5, rel=1e-5)
    assert green_above == pytest.approx((3 + math.log(1 + math.exp(-3)) + 4 * math.log(2)) / 5, rel=1e-5)


# Columns


def test_a_number_is_scaled_by_the_rows_that_train_and_the_unknown_costs_nothing() -> None:
    heights = auxiliary_columns([Regress("Height_Ave_cm")], TABLE)["Height_Ave_cm"]
    rows = np.array([0, 1, 2, 3])  # 1, 3, unknown, 5: mean 3, deviation √(8/3); the 100 of row 5 does not count
    task = silent(RegressTask(Regress("Height_Ave_cm"), 2, heights, rows))
    torch.nn.init.ones_(task.answer.bias)  # whatever it is given, it answers one deviation above the mean
    lost = task(torch.ones(5, 2), torch.zeros(5, 5), torch.tensor([0, 1, 2, 3, 4]))
    deviation = math.sqrt(8 / 3)
    squares = [(1 - (height - 3) / deviation) ** 2 for height in (1, 3, 5, 2)]
    assert lost.tolist() == pytest.approx([*squares[:2], 0, *squares[2:]], rel=1e-5)


def test_classes_are_those_of_the_rows_that_train_and_others_cost_nothing() -> None:
    words = auxiliary_columns([Classify("State")], TABLE)["State"]
    task = silent(ClassifyTask(Classify("State"), 2, words, np.array([0, 1, 2, 3])))
    assert task.classes == ["NSW", "Tas"]
    lost = task(torch.ones(8, 2), torch.zeros(8, 5), torch.arange(8))
    two = math.log(2)  # of two classes, each as likely; no word, and words that no training row has
    assert lost.tolist() == pytest.approx([two, two, two, 0, 0, 0, two, 0])


@pytest.mark.parametrize("spec", [Regress("Height_Ave_cm"), Classify("State")])
def test_a_column_that_is_empty_in_all_rows_that_train_is_an_error(spec: Auxiliary) -> None:
    empty = TABLE.assign(State="", Height_Ave_cm=float("nan"))
    with pytest.raises(ValueError, match="is empty in all rows that train"):
        heads([spec], empty)


# All together


def heads(specs: list[Auxiliary], table: pd.DataFrame = TABLE) -> AuxiliaryHeads:
    return AuxiliaryHeads(specs, 4, values=GRAMS, rows=ALL, columns=auxiliary_columns(specs, table))


SPECS: list[Auxiliary] = [Bins(count=3, weight=0.3), Regress("Height_Ave_cm", weight=0.05), Classify("State")]


def test_every_auxiliary_target_that_can_be_written_down_can_be_built() -> None:
    assert {type(spec) for spec in SPECS} == set(kinds_of(Auxiliary).values())


def test_the_losses_are_added_with_their_weights_and_each_photograph_with_its_own() -> None:
    built = heads(SPECS)
    features, grams = torch.randn(8, 4), torch.from_numpy(GRAMS).float()
    rows, weights = torch.arange(8), torch.tensor([1.0, 0.25, 1, 1, 1, 1, 0, 1])
    each = [task(features, grams, rows) for task in built.tasks]
    expected = sum(share * (one * weights).sum().item() / 8 for share, one in zip((0.3, 0.05, 0.1), each, strict=True))
    assert built(features, grams, rows, weights).item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_cut_in_two_gives_what_the_whole_one_gives_also_where_values_are_missing() -> None:
    built = heads(SPECS)
    features, grams, rows, weights = torch.randn(8, 4), torch.from_numpy(GRAMS).float(), torch.arange(8), torch.ones(8)
    parts = [built(features[s], grams[s], rows[s], weights[s]).item() for s in (slice(0, 4), slice(4, 8))]
    assert built(features, grams, rows, weights).item() == pytest.approx(sum(parts) / 2, rel=1e-5)


def test_the_rows_labels_are_in_no_file_and_edges_are() -> None:
    assert set(heads(SPECS).state_dict()) == {
        "tasks.0.edges",
        *(f"tasks.{task}.{part}" for task in ("0.logits", "1.answer", "2.logits") for part in ("weight", "bias")),
    }


def test_features_learn_what_the_auxiliary_targets_say() -> None:
    built = heads(SPECS)
    features = torch.randn(8, 4, requires_grad=True)
    built(features, torch.from_numpy(GRAMS).float(), torch.arange(8), torch.ones(8)).backward()
    assert features.grad is not None and (features.grad.abs().sum(1) > 0).all()

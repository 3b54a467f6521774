"""A table with a row for each photograph, as most competitions have it: labels, groups, floors, refusals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel_src.competitions.leaf.rules import LeafRules
from kernel_src.competitions.paws.facts import DESCRIPTION
from kernel_src.competitions.paws.rules import PawsRules
from tests.kernel_src.small_competitions import LEAF_LABELS, read_rows, write_rows, write_small_leaf, write_small_paws

LEAF, PAWS = LeafRules(), PawsRules()


class Visits(PawsRules):
    """Photographs of one pet and day stay together; its metric and facts are paws'."""

    group_columns = ("Eyes", "Face")
    group_name = "pet"


def rewritten(path: Path, change) -> Path:
    """Change the rows of a CSV; a row is a dict of texts."""
    rows = read_rows(path)
    change(rows)
    write_rows(path, [tuple(rows[0]), *(tuple(row.values()) for row in rows)])
    return path


def test_a_label_becomes_one_column_per_class_and_the_file_of_the_photograph_is_found(tmp_path: Path) -> None:
    train = LEAF.read_train(write_small_leaf(tmp_path) / "train.csv")
    truth = LEAF.target_array(train)
    assert truth.shape == (24, 10) and truth.sum(1).tolist() == [1.0] * 24
    assert [str(number) for number in truth.argmax(1)] == LEAF_LABELS
    assert train["image_path"][0] == "train_images/leaf.1000.jpg" and train["image_id"][0] == "leaf.1000.jpg"
    assert LEAF.strata(truth).dtype.kind == "i", "classes are balanced one by one"


def test_each_photograph_is_a_group_of_its_own_unless_columns_say_otherwise(tmp_path: Path) -> None:
    table = write_small_paws(tmp_path) / "train.csv"
    train = PAWS.read_train(table)
    assert len(set(PAWS.group_labels(train))) == 24
    assert set(Visits().group_labels(train)) == {"0 0", "0 1", "1 0", "1 1"}


def test_inputs_are_numbers_in_the_facts_order_nan_where_there_is_none_and_words_are_refused(tmp_path: Path) -> None:
    table = write_small_paws(tmp_path) / "train.csv"
    train = PAWS.read_train(table)
    assert PAWS.input_array(train).shape == (24, 12)
    assert PAWS.input_array(train)[:, 2].tolist() == train["Face"].tolist() and DESCRIPTION[2] == "Face"
    elsewhere = pd.concat([train, pd.DataFrame({"image_id": ["other"]})], ignore_index=True)
    assert np.isnan(PAWS.input_array(elsewhere)[-1]).all() and not np.isnan(PAWS.input_array(elsewhere)[:-1]).any()
    rewritten(table, lambda rows: rows[5].update(Near="maybe"))
    with pytest.raises(ValueError, match="train.005 has 'maybe' under Near, which an experiment reads as a number"):
        PAWS.input_array(PAWS.read_train(table))
    assert LEAF.input_array(pd.DataFrame({"image_id": ["a"]})).shape == (1, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[3].update(Id=rows[2]["Id"]), "train.002 appears twice"),
        (lambda rows: rows[3].update(Id=""), "a row has no Id"),
        (lambda rows: rows[3].update(Pawpularity="many"), "train.003 lacks a target, or it is not a number"),
        (lambda rows: [row.pop("Blur") for row in rows], "columns Blur are missing, it has Id, Subject Focus"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused_with_the_row(change, said: str, tmp_path: Path) -> None:
    table = rewritten(write_small_paws(tmp_path) / "train.csv", change)
    with pytest.raises(ValueError, match=said):
        PAWS.read_train(table)


def test_an_unknown_class_and_an_empty_table_are_refused(tmp_path: Path) -> None:
    table = rewritten(write_small_leaf(tmp_path) / "train.csv", lambda rows: rows[0].update(label="12"))
    with pytest.raises(ValueError, match="label '12' is none of 0, 1, 2"):
        LEAF.read_train(table)
    write_rows(table, [("image_id", "label")])
    with pytest.raises(ValueError, match="has a heading and no rows"):
        LEAF.read_train(table)
    with pytest.raises(FileNotFoundError, match="is the competition's data complete"):
        LEAF.read_train(tmp_path / "nothing.csv")


def test_the_floor_is_what_the_mean_scores_and_few_photographs_come_with_a_caveat(tmp_path: Path) -> None:
    leaf = LEAF.read_train(write_small_leaf(tmp_path / "leaf") / "train.csv")
    paws = PAWS.read_train(write_small_paws(tmp_path / "paws") / "train.csv")
    assert LEAF.floors(leaf) == {"the mean of all": LEAF_LABELS.count("3") / 24}
    assert PAWS.floors(paws)["the mean of all"] == pytest.approx(PAWS.target_array(paws).std())
    assert "on 24 photographs of 24 groups the score means nothing" in PAWS.caveat(paws)
    assert LEAF.metric.gain(0.9) > LEAF.metric.gain(0.8) and PAWS.metric.gain(17.0) > PAWS.metric.gain(18.0)


def test_a_rule_that_there_is_not_drops_nothing_silently(tmp_path: Path) -> None:
    paws = PAWS.read_train(write_small_paws(tmp_path) / "train.csv")
    assert not PAWS.dropped_rows([], paws).any()
    with pytest.raises(ValueError, match="there is no rule 'blurred' by which rows do not train: paws has none"):
        PAWS.dropped_rows(["blurred"], paws)

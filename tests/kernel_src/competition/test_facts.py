"""The layout that most competitions have: which rows are predicted, how a submission is written and checked."""

import math
from pathlib import Path

import pytest

from kernel_src.competition.facts import Facts
from kernel_src.competitions.held_facts import competitions, facts
from kernel_src.competitions.leaf.facts import LeafFacts
from kernel_src.competitions.paws.facts import DESCRIPTION, PawsFacts
from kernel_src.runtime.faults import FaultLog, NotContained
from tests.kernel_src.small_competitions import read_rows, write_rows, write_small_leaf, write_small_paws

LEAF, PAWS = LeafFacts(), PawsFacts()
HALF = dict.fromkeys(LEAF.targets, 0.1)


class Graded(PawsFacts):
    """An ordinal target, submitted as a whole number."""

    targets, inputs = ("grade",), ()
    id_column, suffix, answer = "photo", ".png", "rounded"
    lowest, highest = 0.0, 4.0


# The test


def test_without_a_test_csv_the_sample_submission_names_the_photographs(tmp_path: Path) -> None:
    write_small_leaf(tmp_path)
    test = LEAF.read_test(tmp_path, FaultLog(strict=True))
    assert test.row_ids == tuple(f"leaf.{9000 + number}.jpg" for number in range(5)) == tuple(test.photographs)
    assert all(path == tmp_path / "test_images" / name and path.is_file() for name, path in test.photographs.items())
    assert test.inputs == {} and test.unknown == ()


def test_numbers_of_the_test_come_with_each_photograph_and_nan_for_none_where_it_is_contained(tmp_path: Path) -> None:
    write_small_paws(tmp_path)
    rows = read_rows(tmp_path / "test.csv")
    test = PAWS.read_test(tmp_path, FaultLog(strict=True))
    assert test.inputs[rows[1]["Id"]] == tuple(float(rows[1][name]) for name in DESCRIPTION)
    assert test.photographs[rows[1]["Id"]].name == f"{rows[1]['Id']}.jpg", "an id with a dot keeps it"
    rows[1]["Eyes"], rows[2]["Face"], rows[3]["Near"] = "", "maybe", "inf"
    write_rows(tmp_path / "test.csv", [tuple(rows[0]), *(tuple(row.values()) for row in rows)])
    with pytest.raises(NotContained, match="rows without a number in one of Subject Focus"):
        PAWS.read_test(tmp_path, FaultLog(strict=True))
    log = FaultLog(strict=False)
    read = PAWS.read_test(tmp_path, log).inputs
    unread = [
        (name, column) for name in read for column, one in zip(DESCRIPTION, read[name], strict=True) if math.isnan(one)
    ]
    assert unread == [(rows[1]["Id"], "Eyes"), (rows[2]["Id"], "Face"), (rows[3]["Id"], "Near")]
    assert log.faults[0].ids == (rows[1]["Id"], rows[2]["Id"], rows[3]["Id"])


def test_a_column_of_numbers_that_is_not_there_at_all_is_none_of_every_row(tmp_path: Path) -> None:
    write_small_paws(tmp_path)
    (tmp_path / "test.csv").unlink()
    log = FaultLog(strict=False)
    test = PAWS.read_test(tmp_path, log)
    assert len(test.inputs) == 4 and all(map(math.isnan, test.inputs[test.row_ids[0]]))
    assert [fault.fallback for fault in log.faults] == ["the rows of sample_submission.csv", "the training mean there"]


def test_a_row_that_appears_twice_is_predicted_once_and_a_table_without_ids_is_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.csv", [("photo",), ("a.1",), ("b",), ("a.1",)])
    log = FaultLog(strict=False)
    assert Graded().read_test(tmp_path, log).row_ids == ("a.1", "b")
    assert log.faults[0].what.endswith("rows appear twice") and log.faults[0].ids == ("a.1",)
    write_rows(tmp_path / "test.csv", [("name",), ("a",)])
    with pytest.raises(ValueError, match="no table names the rows of the test: .*no column 'photo', it has name"):
        Graded().read_test(tmp_path, log)


def test_a_photograph_is_found_whatever_its_kind(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test/a.1.webp").write_bytes(b"")
    assert Graded().photograph(tmp_path, "test", "a.1", {}) == tmp_path / "test/a.1.webp"
    assert Graded().photograph(tmp_path, "test", "b", {}) == tmp_path / "test/b.png", "as it should be called"


# The submission


def test_photographs_without_a_prediction_get_the_means_in_the_answers_own_form(tmp_path: Path) -> None:
    write_small_leaf(tmp_path)
    test = LEAF.read_test(tmp_path, FaultLog(strict=True))
    means = {**HALF, "class_3": 0.4}
    LEAF.save_predictions(tmp_path / "submission.csv", test, [[0.0] * 7 + [1.0, 0, 0]], means)
    LEAF.check_submission(tmp_path / "submission.csv", test.row_ids)
    assert [row["label"] for row in read_rows(tmp_path / "submission.csv")] == ["7", "3", "3", "3", "3"]


def test_numbers_are_written_out_and_grades_are_rounded_half_up_within_their_range() -> None:
    assert PAWS.texts([38.25]) == ("38.250000",)
    assert [Graded().texts([value])[0] for value in (-2.0, 0.49, 0.5, 2.5, 9.0)] == ["0", "0", "1", "3", "4"]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (PAWS, "101.0", "does not lie in 1.0 to 100.0"),
        (PAWS, "nan", "is not finite"),
        (PAWS, "1_0", "is not a number"),
        (PAWS, "", "is not a number"),
        (LEAF, "12", "is none of 0, 1, 2"),
        (Graded(), "2.5", "is not a whole number"),
    ],
)
def test_a_value_that_cannot_be_submitted_is_refused_with_its_row(
    kind: Facts, text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "submission.csv"
    write_rows(path, [kind.submission_columns, ("a.1", text)])
    with pytest.raises(ValueError, match=f"1 rows are wrong: a.1 {said}"):
        kind.check_submission(path, ["a.1"])


def test_a_submission_with_other_rows_or_another_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_rows(path, [PAWS.submission_columns, ("a", 1.0), ("b", 2.0)])
    PAWS.check_submission(path, ["a", "b"])
    for ids in (["b", "a"], ["a"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="does not hold the rows of the test, each once and in their order"):
            PAWS.check_submission(path, ids)


def test_targets_weigh_the_same_unless_the_facts_say_otherwise_and_every_competition_says_what_it_must() -> None:
    assert LEAF.weight_of == pytest.approx(dict.fromkeys(LEAF.targets, 0.1))
    assert LEAF.find_by == "sample_submission.csv" and PAWS.find_by == "test.csv"
    for name in competitions():
        one = facts(name)
        assert one.slug and one.prefix and one.targets and one.id_column, name
        assert set(one.fallback) == set(one.targets), f"{name}: what is submitted where no bundle can be read"
        assert not (one.are_classes and one.is_amount)
        assert one.answer in ("number", "label", "rounded") and one.lowest < one.highest

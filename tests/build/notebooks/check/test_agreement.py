"""A package that says something else than the files is found before anything is trained; each fault is planted."""

from pathlib import Path
from typing import Any

import pytest

from build.notebooks.check.agreement import agreement_problems, noted_problems
from kernel_src.competition.metrics import RootMeanSquaredError
from kernel_src.competitions.leaf.facts import LeafFacts
from kernel_src.competitions.leaf.rules import LeafRules
from kernel_src.competitions.paws.facts import PawsFacts
from kernel_src.competitions.paws.rules import PawsRules
from kernel_src.runtime.files import write_json
from tests.build.new import layouts


class TwoColumns(PawsFacts):
    """As the tiny folder has it: of the twelve columns two."""

    inputs = ("Face", "Blur")


class SmallLeaf(LeafFacts):
    """Five classes."""

    targets = tuple(f"class_{number}" for number in range(5))
    labels = tuple("01234")


def problems(folder: Path, facts: type, rules: type, alike: Any = (), **wrong: Any) -> str:
    """What is found where the package says something wrong: facts' attributes, and rules' by `rules_NAME`."""
    of_rules = {key.removeprefix("rules_"): value for key, value in wrong.items() if key.startswith("rules_")}
    of_facts = {key: value for key, value in wrong.items() if not key.startswith("rules_")}
    said = type("Said", (facts,), of_facts)
    judged = type("Judged", (rules,), {"facts": said, **of_rules})
    return "\n".join(map(str, agreement_problems(said(), judged(), folder, alike)))


@pytest.fixture
def paws(tmp_path: Path) -> Path:
    layouts.pawpularity(tmp_path)
    return tmp_path


@pytest.fixture
def leaf(tmp_path: Path) -> Path:
    layouts.cassava(tmp_path)
    return tmp_path


def test_packages_that_are_right_have_no_problems(tmp_path: Path) -> None:
    for name, write, facts, rules in (
        ("paws", layouts.pawpularity, TwoColumns, PawsRules),
        ("leaf", layouts.cassava, SmallLeaf, LeafRules),
    ):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        assert problems(tmp_path / name, facts, rules) == ""


def test_a_wrong_id_column_is_found(paws: Path) -> None:
    found = problems(paws, TwoColumns, PawsRules, id_column="Name")
    assert "no column 'Name', it has Id, Face, Blur" in found and "correct id_column" in found
    found = problems(paws, TwoColumns, PawsRules, rules_train_id_column="Face")
    assert "appears twice, or a row has no Face" in found


def test_a_wrong_folder_or_suffix_is_found(paws: Path) -> None:
    found = problems(paws, TwoColumns, PawsRules, train_folder="pictures", test_folder="test")
    assert "30 of 30 training photographs are not there, such as pictures/0" in found
    (paws / "test" / next((paws / "test").iterdir()).name).unlink()
    assert "1 of 4 test photographs are not there" in problems(paws, TwoColumns, PawsRules)
    found = problems(paws, TwoColumns, PawsRules, suffix=".v2")  # another suffix than a picture's own
    assert found.count("are not there") == 1, "what is called by a picture's own suffix is found all the same"


def test_a_wrong_set_of_labels_is_found(leaf: Path) -> None:
    fewer = {"targets": ("a", "b", "c", "d"), "labels": tuple("0123")}
    found = problems(leaf, SmallLeaf, LeafRules, **fewer)
    assert "label '4' is none of 0, 1, 2, 3" in found and "2216849948.jpg is none of 0, 1, 2, 3: 4" in found


def test_a_wrong_range_or_form_of_the_answers_is_found(paws: Path) -> None:
    found = problems(paws, TwoColumns, PawsRules, highest=50.0)
    assert "targets are 1 to 88, predictions 1 to 50" in found
    found = problems(paws, TwoColumns, PawsRules, answer="rounded")
    assert "is not a whole number: 20.5" in found and "the sample submission must be possible" in found
    found = problems(paws, TwoColumns, PawsRules, answer_columns=("popularity",))
    assert "written would be Id, popularity" in found


def test_a_test_table_without_a_column_that_the_network_sees_is_found(paws: Path) -> None:
    (paws / "test.csv").write_text("Id,Face\n" + "".join(f"{n:032x},1\n" for n in range(100, 104)))
    assert "rows without a number in one of Face, Blur" in problems(paws, TwoColumns, PawsRules)


def test_rows_that_are_not_those_of_the_sample_submission_are_found(paws: Path) -> None:
    (paws / "test.csv").write_text("Id,Face,Blur\nsomebody,1,0\n")
    assert "have not the same rows" in problems(paws, TwoColumns, PawsRules)


def test_look_alikes_that_folds_would_part_are_found(paws: Path) -> None:
    alike = [[f"{0:032x}", f"{1:032x}"]]
    assert "1 groups of photographs that are nearly the same are not kept" in problems(
        paws, TwoColumns, PawsRules, alike
    )
    assert problems(paws, TwoColumns, PawsRules, alike, rules_alike=tuple(map(tuple, alike))) == ""


def test_a_metric_the_wrong_way_round_is_found_where_it_makes_errors_good(paws: Path) -> None:
    upside_down = type("UpsideDown", (RootMeanSquaredError,), {"higher_is_better": True})
    found = problems(paws, TwoColumns, PawsRules, rules_metric=upside_down())
    assert "a perfect prediction 0" in found and "the wrong way round" in found


def test_another_metric_than_the_competitions_own_cannot_be_seen_from_the_files(paws: Path) -> None:
    from kernel_src.competition.metrics import R2

    assert problems(paws, TwoColumns, PawsRules, rules_metric=R2()) == ""


def test_check_compares_what_make_new_noted_while_the_files_are_there(paws: Path, tmp_path: Path) -> None:
    (tmp_path / "out/new").mkdir(parents=True)
    write_json(tmp_path / "out/new/paws.json", {"data": str(paws), "alike": []})  # whose inputs are twelve
    assert "columns" in str(noted_problems(tmp_path)[-1]) and len(noted_problems(tmp_path)) == 2
    write_json(tmp_path / "out/new/paws.json", {"data": str(tmp_path / "gone"), "alike": []})
    assert noted_problems(tmp_path) == []
    (tmp_path / "out/new/paws.json").write_text("{")
    assert "is no note of `make new`" in str(noted_problems(tmp_path)[0])

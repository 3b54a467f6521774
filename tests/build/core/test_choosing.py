"""A command works on one competition: the one that was typed, else that of what it names, else the default."""

import json
from pathlib import Path

import pytest

from build.core.choosing import choose, demo_folder, first_experiment, usual_data
from build.core.errors import UsageError
from kernel_src.competition.choice import choose_competition, chosen_competition


def write_config(folder: Path, competition: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"competition": competition}))
    return folder


@pytest.mark.parametrize(
    ("typed", "named", "chosen"),
    [
        ("", [], "biomass"),
        ("leaf", [], "leaf"),
        ("csiro-biomass", [], "biomass"),
        ("", ["paws"], "paws"),
        ("", ["v6"], "biomass"),
        ("", ["nobody_has_this_name"], "biomass"),
        ("paws", ["nobody_has_this_name"], "paws"),
        ("leaf", ["leaf"], "leaf"),
    ],
)
def test_what_was_typed_chooses_or_else_the_experiment(typed: str, named: list[str], chosen: str) -> None:
    assert choose(typed, named) == chosen == chosen_competition()


def test_the_folder_of_a_bundle_chooses_and_so_does_a_file_in_it(tmp_path: Path) -> None:
    bundle = write_config(tmp_path / "my-bundle", "leaf")
    (bundle / "oof.csv").touch()
    rehearsal = write_config(tmp_path / "rehearsal/working/run", "paws").parents[1]
    assert choose("", [bundle]) == choose("", [str(bundle / "oof.csv")]) == choose("", [f"mine={bundle}"]) == "leaf"
    assert choose("", [rehearsal]) == "paws"
    assert choose("", [tmp_path]) == "biomass"  # says nothing, and so does a bundle of an older kit


def test_an_adopted_kernel_chooses_by_the_slug_on_its_card() -> None:
    assert choose("", ["my-baseline"], {"my-baseline": "leaf-classification"}.__getitem__) == "leaf"


def test_two_competitions_in_one_command_are_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        choose("leaf", ["v1"])
    assert str(error.value) == (
        "one command works on one competition, but --competition leaf (make: COMPETITION=) means leaf, v1 means biomass"
    )
    with pytest.raises(UsageError, match="my-bundle means paws"):
        choose("", ["leaf", write_config(tmp_path / "my-bundle", "paws")])


def test_a_competition_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="no competition 'leave'; there are biomass, .*leaf.* Did you mean leaf"):
        choose("leave", [])


def test_a_command_begins_with_the_first_experiment_on_the_downloaded_files_or_else_the_demos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (first_experiment(), usual_data("demo"), usual_data("v5")) == ("demo", *[Path("out/demo/competition")] * 2)
    choose_competition("leaf")
    assert (first_experiment(), usual_data("leaf")) == ("leaf", Path("out/demo/leaf/competition"))
    for slug in ("leaf-classification", "csiro-biomass"):
        (tmp_path / "data" / slug).mkdir(parents=True)
        (tmp_path / "data" / slug / "train.csv").touch()
    assert usual_data("leaf") == Path("data/leaf-classification")
    assert demo_folder() == Path("out/demo/leaf")
    choose_competition("biomass")
    assert (usual_data("demo"), usual_data("v5")) == (Path("out/demo/competition"), Path("data/csiro-biomass"))

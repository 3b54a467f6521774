"""A submission is judged by what holds for any test set, and nothing that is wrong goes through."""

import json
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.kaggle.outputs import verify_submission, verify_training
from kernel_src.competitions.biomass.constants import TARGETS

GOOD = {"Dry_Green_g": 2.0, "Dry_Dead_g": 1.0, "Dry_Clover_g": 0.5, "GDM_g": 2.5, "Dry_Total_g": 3.5}


def rows_of(*images: str, **changed: object) -> list[str]:
    return [f"{image}__{target},{(GOOD | changed)[target]}" for image in images for target in TARGETS]


def submission(tmp_path: Path, rows: list[str], heading: str = "sample_id,target") -> Path:
    (tmp_path / "submission.csv").write_text("\n".join([heading, *rows]) + "\n")
    return tmp_path


def test_any_images_will_do_and_no_other_file_is_needed(tmp_path: Path) -> None:
    assert verify_submission(submission(tmp_path, rows_of("ID9", "never-seen-here"))) == 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_of("ID1")[:-1], "1 rows are missing: an image needs all five targets: ID1__Dry_Total_g"),
        (rows_of("ID1") + rows_of("ID1")[:1], "appear more than once"),
        (rows_of("ID1", Dry_Green_g="nan"), "not finite"),
        (rows_of("ID1", Dry_Green_g="inf"), "not finite"),
        (rows_of("ID1", Dry_Green_g="many"), "not a number"),
        (rows_of("ID1", Dry_Clover_g=-0.5, GDM_g=1.5, Dry_Total_g=2.5), "negative"),
        (rows_of("ID1", GDM_g=9.0, Dry_Total_g=10.0), "break GDM_g = Dry_Green_g + Dry_Clover_g"),
        (rows_of("ID1", Dry_Total_g=9.0), "break Dry_Total_g"),
        ([*rows_of("ID1"), "ID2__Dry_Weight_g,1.0"], "are not <image_id>__<one of"),
        ([*rows_of("ID1"), "ID2"], "two fields"),
        ([], "no row for any image"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, rows: list[str], said: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        verify_submission(submission(tmp_path, rows))
    assert said in str(caught.value)
    assert "sample submission" not in str(caught.value), "there is none on Kaggle's side of the rehearsal"


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="the columns must be sample_id,target"):
        verify_submission(submission(tmp_path, rows_of("ID1"), heading="sample_id,grams"))


def test_no_submission_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="does not exist"):
        verify_submission(tmp_path)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    config = {"format": 1, "experiment": {"name": "v1"}, "folds": ["fold0.safetensors"]}
    (run / "config.json").write_text(json.dumps(config))
    (run / "fold0.safetensors").write_bytes(b"weights")
    (run / "oof.csv").write_text("image_id,fold," + ",".join(TARGETS) + "\nID1,0,1,1,1,2,3\n")
    return tmp_path


def test_a_whole_training_run_is_taken(training: Path) -> None:
    assert verify_training(training, "v1") == training / "run"


def test_a_training_of_another_experiment_is_refused(training: Path) -> None:
    with pytest.raises(CheckFailed, match="a run of 'v1', not of 'v2'"):
        verify_training(training, "v2")


@pytest.mark.parametrize("name", ["config.json", "fold0.safetensors", "oof.csv"])
def test_a_training_without_one_of_its_files_is_refused(training: Path, name: str) -> None:
    (training / "run" / name).unlink()
    with pytest.raises(CheckFailed, match=f"{name}.* is missing"):
        verify_training(training, "v1")


def test_a_training_that_is_not_finished_is_told_from_one_that_failed(training: Path) -> None:
    (training / "run/config.json").unlink()
    (training / "run/checkpoint1.safetensors").write_bytes(b"state")
    with pytest.raises(
        CheckFailed, match="not finished, it holds checkpoint1, fold0.*attach this notebook's own output"
    ):
        verify_training(training, "v1")


@pytest.mark.parametrize("value", ["nan", "", "inf", "x"])
def test_a_training_that_predicts_no_number_is_refused(training: Path, value: str) -> None:
    path = training / "run" / "oof.csv"
    path.write_text(path.read_text() + f"ID2,0,1,1,1,2,{value}\n")
    with pytest.raises(CheckFailed, match="1 lines have .* the first is line 3"):
        verify_training(training, "v1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image_id,Dry_Green_g\nID1,nan\n", "1 lines have a prediction that is not a finite number"),
        ("image_id\n", "not a finite number"),
        ("image_id,GDM_g\nID1,1,2,3\n", "not a finite number"),
        ('image_id,GDM_g\n"' + "x" * 200_000 + '",1\n', "is not a CSV: field larger than field limit"),
    ],
)
def test_odd_predictions_of_a_training_are_one_message(training: Path, content: str, said: str) -> None:
    (training / "run/oof.csv").write_text(content)
    with pytest.raises(CheckFailed) as failed:
        verify_training(training, "v1")
    assert said in str(failed.value) and len(str(failed.value)) < 500


def test_predictions_that_are_a_link_are_not_read(training: Path) -> None:
    (secret := training / "kaggle.json").write_text('{"key": "do-not-print-me"}')
    (training / "run/oof.csv").unlink()
    (training / "run/oof.csv").symlink_to(secret)
    with pytest.raises(CheckFailed, match="is a link") as failed:
        verify_training(training, "v1")
    assert "do-not-print-me" not in str(failed.value)

"""The writer leaves a whole valid file or none; what was written is read back, and what is odd about it is an error."""

import os
from pathlib import Path

import pytest

from build.core.submission_file import submission_problems
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.submission import check_submission, write_submission

GRAMS = dict(zip(TARGETS, (10.0, 5.0, 2.0, 12.0, 17.0), strict=True))
VALID = {f"{image}__{target}": value for image in ("A", "B") for target, value in GRAMS.items()}
IDS = list(VALID)


def written(folder: Path, rows: dict[str, object]) -> Path:
    path = folder / "submission.csv"
    path.write_text("\n".join(["sample_id,target", *(f"{name},{value}" for name, value in rows.items())]) + "\n")
    return path


def test_what_the_writer_writes_is_valid_and_in_the_order_of_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    write_submission(path, IDS[::-1], VALID)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["sample_id,target", "B__Dry_Total_g,17.000000"] and len(lines) == 11
    check_submission(path, IDS[::-1])
    assert submission_problems(path, IDS) == [], "and anybody else would say so"


def test_a_missing_prediction_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path, VALID)
    before = path.read_bytes()
    with pytest.raises(KeyError, match="C__GDM_g"):
        write_submission(path, [*IDS, "C__GDM_g"], VALID)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["submission.csv"]


def test_an_image_of_which_the_test_has_some_targets_only_can_be_submitted(tmp_path: Path) -> None:
    some = {name: value for name, value in VALID.items() if name != "B__Dry_Dead_g"} | {"C__other": 1.0}
    check_submission(written(tmp_path, some), list(some))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"C__GDM_g": 1.0}, "does not hold the rows of the test"),
        ({"B__Dry_Dead_g": "nan"}, "1 rows are wrong: B__Dry_Dead_g is nan"),
        ({"B__Dry_Dead_g": "-inf", "B__Dry_Total_g": "-inf"}, "B__Dry_Dead_g is -inf"),
        ({"B__Dry_Dead_g": -5.0, "B__Dry_Total_g": 7.0}, "1 rows are wrong: B__Dry_Dead_g is -5.0"),
        ({"B__Dry_Dead_g": "five"}, "could not convert string to float: 'five'"),
        (
            {"A__GDM_g": 12.5, "A__Dry_Total_g": 17.5},
            "A__GDM_g is not the sum of Dry_Green_g and Dry_Clover_g",
        ),
        ({"B__Dry_Total_g": 17.5}, "1 rows are wrong: B__Dry_Total_g is not the sum of GDM_g and Dry_Dead_g"),
    ],
)
def test_what_kaggle_would_refuse_or_score_low_is_an_error(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        check_submission(written(tmp_path, VALID | changes), IDS)


def test_a_row_that_is_missing_doubled_or_elsewhere_is_an_error(tmp_path: Path) -> None:
    for ids in (IDS[1:], [*IDS, IDS[0]], IDS[::-1]):
        with pytest.raises(ValueError, match="each once and in their order"):
            check_submission(written(tmp_path, VALID), ids)

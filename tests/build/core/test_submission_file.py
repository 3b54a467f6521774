"""The check of a submission finds each thing that Kaggle would not say; a sample id can be taken apart again."""

from pathlib import Path

import pytest

from build.core.submission_file import read_column, split_sample_id, submission_problems
from kernel_src.competitions.biomass.constants import TARGETS, sample_id

GRAMS = dict(zip(TARGETS, (10.0, 5.0, 2.0, 12.0, 17.0), strict=True))
VALID = {f"{image}__{target}": value for image in ("A", "B") for target, value in GRAMS.items()}
IDS = list(VALID)


def written(folder: Path, rows: dict[str, object], heading: str = "sample_id,target") -> Path:
    path = folder / "submission.csv"
    path.write_text("\n".join([heading, *(f"{name},{value}" for name, value in rows.items())]) + "\n")
    return path


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    assert submission_problems(written(tmp_path, dict(reversed(VALID.items()))), IDS) == []


def test_a_rounding_below_the_tolerance_is_no_broken_identity(tmp_path: Path) -> None:
    assert submission_problems(written(tmp_path, VALID | {"A__GDM_g": 12.004, "A__Dry_Total_g": 17.004}), IDS) == []


def test_read_column_names_the_columns_there_are(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_bytes("\ufeffsample_id,x\nA__GDM_g,1\n".encode())
    assert read_column(path, "sample_id") == ["A__GDM_g"], "a byte order mark is not part of the first name"
    with pytest.raises(ValueError, match="no column 'target', it has sample_id, x"):
        read_column(path, "target")


def test_a_column_of_what_is_no_text_is_refused_without_a_codec(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_bytes("sample_id\na\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"test.csv is not a table: it is not text in UTF-8; download it again"):
        read_column(tmp_path / "test.csv", "sample_id")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ({k: v for k, v in VALID.items() if k != "A__GDM_g"}, "1 rows of the sample submission are missing: A__GDM_g"),
        (VALID | {"C__GDM_g": 1.0}, "1 rows are not in the sample submission: C__GDM_g"),
        (VALID | {"B__Dry_Dead_g": "nan"}, r"1 rows not finite \(NaN or inf\): B__Dry_Dead_g"),
        (VALID | {"B__Dry_Dead_g": ""}, "B__Dry_Dead_g is '', not a number"),
        (VALID | {"B__Dry_Dead_g": "-inf"}, r"1 rows not finite"),
        (VALID | {"B__Dry_Dead_g": -5.0, "B__Dry_Total_g": 7.0}, "1 rows negative: grams cannot be: B__Dry_Dead_g"),
        (VALID | {"B__Dry_Dead_g": "five"}, "submission.csv:8: B__Dry_Dead_g is 'five', not a number"),
        (VALID | {"A__Dry_Green_g": "1_0"}, "A__Dry_Green_g is '1_0', not a number"),
        (VALID | {"A__GDM_g": 12.5, "A__Dry_Total_g": 17.5}, r"1 rows break GDM_g = Dry_Green_g \+ Dry_Clover_g: A"),
        (VALID | {"B__Dry_Total_g": 17.5}, r"1 rows break Dry_Total_g = GDM_g \+ Dry_Dead_g: B"),
        (VALID | {"B__Dry_Total_g": "17.0,0.3"}, "submission.csv:11: a row needs two fields, it has 3"),
    ],
)
def test_each_fault_is_found_and_is_the_first_thing_said(tmp_path: Path, rows: dict[str, object], problem: str) -> None:
    import re

    problems = submission_problems(written(tmp_path, rows), IDS)
    assert problems and re.search(problem, problems[0])


def test_a_doubled_id_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, VALID)
    path.write_text(path.read_text() + "A__GDM_g,12.0\n")
    assert submission_problems(path, IDS) == ["1 rows appear more than once: A__GDM_g"]


@pytest.mark.parametrize("heading", ["sample_id,prediction", "target,sample_id", "sample_id,target,extra", ""])
def test_other_columns_are_refused(tmp_path: Path, heading: str) -> None:
    (problem,) = submission_problems(written(tmp_path, VALID, heading), IDS)
    assert "the columns must be sample_id,target" in problem


def test_a_missing_an_empty_and_a_binary_file_are_reported_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    assert "ended without writing a submission" in submission_problems(path, IDS)[0]
    path.write_bytes(b"")
    assert "must be sample_id,target, not none" in submission_problems(path, IDS)[0]
    path.write_bytes(b"\xff\xfe\x00sample_id")
    assert "must be sample_id,target" in submission_problems(path, IDS)[0]


def test_every_problem_is_listed_not_only_the_first(tmp_path: Path) -> None:
    rows = {k: v for k, v in VALID.items() if k != "A__GDM_g"}
    rows |= {"B__GDM_g": "nan", "A__Dry_Dead_g": -1, "Z__GDM_g": 1, "A__Dry_Green_g": "x", "B__Dry_Green_g": "1,2"}
    text = "\n".join(submission_problems(written(tmp_path, rows), IDS))
    for part in ("needs two fields", "missing", "not in the sample", "not finite", "negative", "not a number"):
        assert part in text


def test_many_offenders_fold_into_one_line_that_names_three(tmp_path: Path) -> None:
    (problem,) = submission_problems(written(tmp_path, {}), IDS)
    assert problem.startswith("10 rows") and problem.count("__") == 3 and problem.endswith("…")


@pytest.mark.parametrize("image_id", ["ID1011485656", "ID__with__separators", "1"])
def test_a_sample_id_is_taken_apart_into_what_it_was_made_of(image_id: str) -> None:
    assert [split_sample_id(sample_id(image_id, t)) for t in TARGETS] == [(image_id, t) for t in TARGETS]


@pytest.mark.parametrize("name", ["ID1", "ID1__Dry_Green", "ID1_GDM_g", "", "ID1__gdm_g"])
def test_what_is_no_sample_id_is_refused_by_its_text(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r}.*Dry_Green_g, Dry_Dead_g"):
        split_sample_id(name)

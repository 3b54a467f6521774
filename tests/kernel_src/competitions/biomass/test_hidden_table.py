"""Every oddity of the table is an error in an ordinary run, and in the rerun it is contained and told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_src.competitions.biomass.constants import SAMPLE_CSV, TARGETS
from kernel_src.competitions.biomass.hidden_table import read_hidden_test, save_predictions
from kernel_src.runtime.faults import FaultLog, NotContained

MEANS = dict(zip(TARGETS, (2.0, 1.0, 1.0, 3.0, 4.0), strict=True))


def rows(image: str, path: str = "") -> list[str]:
    return [f"{image}__{target},{path or f'test/{image}.jpg'},{target}" for target in TARGETS]


def table(
    folder: Path, lines: list[str], heading: str = "sample_id,image_path,target_name", name: str = "test.csv"
) -> Path:
    (folder / name).write_text("\n".join([heading, *lines]) + "\n")
    return folder


def test_photographs_keep_their_first_order_and_rows_their_own(tmp_path: Path) -> None:
    lines = [*rows("B"), *rows("A")]
    test = read_hidden_test(table(tmp_path, lines[::-1]), FaultLog(strict=True))
    assert list(test.photographs) == ["A", "B"] and test.photographs["A"] == tmp_path / "test/A.jpg"
    assert list(test.row_ids) == [line.partition(",")[0] for line in lines[::-1]]


@pytest.mark.parametrize(
    ("lines", "heading", "told", "ids"),
    [
        ([*rows("A"), rows("A")[2]], None, "rows appear twice", ("A__Dry_Clover_g",)),
        ([*rows("A"), "A__Moss_g,test/A.jpg,Moss_g"], None, "target is none of", ("A__Moss_g",)),
        ([*rows("A")[1:], f"A__{TARGETS[0]},test/A.jpg,{TARGETS[1]}"], None, "target is none of", ("A__Dry_Green_g",)),
        ([*rows("A")[1:], f"A__{TARGETS[0]},test/Z.jpg,{TARGETS[0]}"], None, "another photograph", ("A__Dry_Green_g",)),
        ([], None, "a heading and no rows", ()),
        ([line.split(",")[0] for line in rows("A")], "sample_id", "columns image_path, target_name are missing", ()),
    ],
)
def test_an_oddity_is_an_error_and_in_the_rerun_it_is_told(
    lines: list[str], heading: str | None, told: str, ids: tuple[str, ...], tmp_path: Path
) -> None:
    folder = table(tmp_path, lines, *([heading] if heading else []))
    with pytest.raises(NotContained, match=told):
        read_hidden_test(folder, FaultLog(strict=True))
    log = FaultLog(strict=False)
    test = read_hidden_test(folder, log)
    (fault,) = log.faults
    assert told in fault.what and fault.ids == ids
    assert len(set(test.row_ids)) == len(test.row_ids) == len({line.split(",")[0] for line in lines})
    save_predictions(tmp_path / "s.csv", test, [[5.0, 1.0, 1.0, 6.0, 7.0]] * len(test.photographs), MEANS)
    written = dict(line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:])
    assert set(written) == set(test.row_ids) and all(float(grams) > 0 for grams in written.values())


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.write_text("image_path\ntest/A.jpg\n"), "no column 'sample_id', it has image_path"),
        (lambda path: path.write_bytes(b""), "no column 'sample_id', it has nothing"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not a table: "),
        (lambda path: path.unlink(), "No such file"),
    ],
    ids=["no ids", "empty", "not UTF-8", "missing"],
)
def test_where_the_table_names_no_rows_the_sample_submission_does_in_the_rerun(
    spoil: Callable[[Path], object], told: str, tmp_path: Path
) -> None:
    table(tmp_path, [f"{line.partition(',')[0]},0" for line in rows("B") + rows("A")], "sample_id,target", SAMPLE_CSV)
    spoil(table(tmp_path, rows("A")) / "test.csv")
    with pytest.raises(NotContained, match=told):
        read_hidden_test(tmp_path, FaultLog(strict=True))
    log = FaultLog(strict=False)
    test = read_hidden_test(tmp_path, log)
    assert test.photographs == {"B": tmp_path / "test/B.jpg", "A": tmp_path / "test/A.jpg"} and not test.unknown
    assert len(test.row_ids) == 10
    (fault,) = log.faults
    assert told in fault.what and "the rows of sample_submission.csv" in fault.fallback


@pytest.mark.parametrize("sample", ["", "target\n0\n"])
def test_tables_that_name_no_rows_are_refused_in_every_run(sample: str, tmp_path: Path) -> None:
    folder = table(tmp_path, ["test/A.jpg"], "image_path")
    if sample:
        (tmp_path / SAMPLE_CSV).write_text(sample)
    with pytest.raises(ValueError, match="no column 'sample_id', it has image_path; .*sample_submission.csv"):
        read_hidden_test(folder, FaultLog(strict=False))


def test_photographs_that_were_not_reached_get_the_means(tmp_path: Path) -> None:
    test = read_hidden_test(table(tmp_path, [*rows("A"), *rows("B")]), FaultLog(strict=True))
    save_predictions(tmp_path / "s.csv", test, [[5.0, 1.0, 1.0, 6.0, 7.0]], MEANS)
    written = dict(line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:])
    assert float(written["A__Dry_Total_g"]) == 7 and float(written["B__Dry_Total_g"]) == 4

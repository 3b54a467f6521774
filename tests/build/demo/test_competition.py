"""The painted competition has Kaggle's layout, the same bytes every time, and is not painted twice."""

import csv
import json
from pathlib import Path

import pytest

from build.core.errors import UsageError
from build.demo.competition import _files, draw_quadrats, paint_competition
from build.demo.stamp import STAMP, is_made
from kernel_src.competitions.biomass.long_tables import split_sample_id
from kernel_src.runtime.files import sha256_of

TRAIN_HEADER = "sample_id,image_path,Sampling_Date,State,Species,Pre_GSHH_NDVI,Height_Ave_cm,target_name,target"


def paint(out: Path, workers: int) -> Path:
    paint_competition(out, train_images=10, hidden_images=2, seed=7, workers=workers)
    return out


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("demo"), 2)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_the_tables_have_the_columns_and_the_row_order_of_the_real_ones(painted: Path) -> None:
    text = (painted / "competition/train.csv").read_text()
    assert text.splitlines()[0] == TRAIN_HEADER and text.endswith("\n") and "\r" not in text
    names = [row["sample_id"] for row in rows(painted / "competition/train.csv")]
    assert len(names) == 10 * 5 and names == sorted(names)
    assert [split_sample_id(name)[1] for name in names[:5]] == [
        *("Dry_Clover_g", "Dry_Dead_g", "Dry_Green_g", "Dry_Total_g", "GDM_g")
    ]


def test_dates_and_paths_are_written_as_in_the_real_table(painted: Path) -> None:
    for row in rows(painted / "competition/train.csv"):
        year, month, day = row["Sampling_Date"].split("/")
        assert year == "2015" and not month.startswith("0") and not day.startswith("0")
        assert row["image_path"] == f"train/{split_sample_id(row['sample_id'])[0]}.jpg"
        assert float(row["target"]) >= 0 and "." in row["target"] and "." in row["Height_Ave_cm"]


def test_every_named_photograph_is_a_jpeg_of_2000_by_1000(painted: Path) -> None:
    import cv2

    for table in ("competition/train.csv", "competition/test.csv", "hidden/test.csv"):
        folder = (painted / table).parent
        named = {row["image_path"] for row in rows(painted / table)}
        assert named == {str(path.relative_to(folder)) for path in (folder / min(named)).parent.glob("*.jpg")}
        image = cv2.imread(str(folder / min(named)))
        assert image is not None and image.shape == (1000, 2000, 3)


def test_the_public_test_is_one_image_and_the_hidden_one_keeps_its_labels_aside(painted: Path) -> None:
    assert len(rows(painted / "competition/test.csv")) == 5
    assert {path.name for path in (painted / "competition").iterdir()} == {
        *("train.csv", "test.csv", "sample_submission.csv", "train", "test")
    }
    test, sample, labels = (rows(painted / f"hidden/{name}.csv") for name in ("test", "sample_submission", "labels"))
    assert list(test[0]) == ["sample_id", "image_path", "target_name"]
    assert {row["target"] for row in sample} == {"0.0"}
    assert [row["sample_id"] for row in test] == [r["sample_id"] for r in sample] == [r["sample_id"] for r in labels]
    assert len(test) == 2 * 5


@pytest.mark.full
def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(painted: Path, tmp_path: Path) -> None:
    again = paint(tmp_path, 1)
    files = sorted(path.relative_to(painted) for path in painted.rglob("*") if path.is_file())
    assert len(files) == 13 + 6 + 1
    assert [sha256_of(painted / file) for file in files] == [sha256_of(again / file) for file in files]


def test_what_is_there_already_is_not_painted_again(painted: Path) -> None:
    photo = next((painted / "competition/train").glob("*.jpg"))
    before = photo.stat().st_mtime_ns
    fail = lambda *_: pytest.fail("painted again")  # noqa: E731
    paint_competition(painted, train_images=10, hidden_images=2, seed=7, progress=fail)
    assert photo.stat().st_mtime_ns == before


def test_a_missing_photograph_is_noticed(painted: Path) -> None:
    spec = json.loads((painted / STAMP).read_text())
    spec.pop("complete")
    files = _files(draw_quadrats(10, 2, 7))
    assert is_made(painted, spec, files)
    photo = painted / files[-1]
    photo.rename(photo.with_suffix(".away"))
    try:
        assert not is_made(painted, spec, files)
    finally:
        photo.with_suffix(".away").rename(photo)


def test_a_folder_that_was_not_painted_here_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "competition").mkdir()
    (tmp_path / "competition/train.csv").write_text("the real download")
    with pytest.raises(UsageError, match="not painted here"):
        paint(tmp_path, 1)
    assert (tmp_path / "competition/train.csv").read_text() == "the real download"

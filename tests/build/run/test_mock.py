"""The fake Kaggle: both layouts, the hidden test, and no way from it back to the user's own files."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed, UsageError
from build.run.mock import HIDDEN_IMAGES, MockKaggle, dataset_slug, lay_out, tree_sha256
from kernel_src.competitions.biomass.constants import SLUG
from tests.build.run.rehearse.toys import make_bundle, make_competition


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A competition of 3 train images and 1 test image."""
    return make_competition(tmp_path / "data")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A dataset folder called `bundle`, whose slug is i2b-toy-weights."""
    return make_bundle(tmp_path / "bundle")


def mock_of(tmp_path: Path, data: Path, **options: Any) -> MockKaggle:
    """Lay out with the new layout and no datasets, unless told otherwise."""
    options = {"competition_slug": SLUG, "datasets": {}, "layout": "new"} | options
    return lay_out(tmp_path / "mock", data=data, **options)


def files_below(root: Path) -> set[str]:
    """Name every file below a folder."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def images_of(table: Path) -> list[str]:
    """List the different images that a table names."""
    with table.open(newline="") as handle:
        return sorted({row["image_path"] for row in csv.DictReader(handle)})


def test_the_new_layout_sorts_mounts_by_kind_and_owner(tmp_path: Path, data: Path, bundle: Path) -> None:
    mock = mock_of(tmp_path, data, datasets={"i2b-toy-weights": bundle, "someone/backbones": bundle})
    assert (mock.input / "competitions" / SLUG / "train.csv").is_file()
    assert (mock.input / "competitions" / SLUG / "test" / "ID1010000.jpg").is_file()
    assert (mock.input / "datasets/owner/i2b-toy-weights/fold0.bin").is_file()
    assert (mock.input / "datasets/someone/backbones/fold0.bin").is_file()
    assert mock.working.is_dir() and not list(mock.working.iterdir())


def test_the_legacy_layout_is_flat(tmp_path: Path, data: Path, bundle: Path) -> None:
    mock = mock_of(tmp_path, data, datasets={"owner/i2b-toy-weights": bundle}, layout="legacy")
    assert sorted(path.name for path in mock.input.iterdir()) == [SLUG, "i2b-toy-weights"]


def test_a_rerun_has_the_hidden_test_and_nothing_of_the_public_one(tmp_path: Path, data: Path) -> None:
    hidden = make_competition(tmp_path / "hidden", test=4, prefix="ID77")
    (hidden / "labels.csv").write_text("the truth\n")
    mount = mock_of(tmp_path, data, rerun=True, hidden=hidden).input / "competitions" / SLUG
    assert images_of(mount / "test.csv") == [f"test/ID771{number:04d}.jpg" for number in range(4)]
    assert files_below(mount / "test") == {f"ID771{number:04d}.jpg" for number in range(4)}
    assert (mount / "sample_submission.csv").read_text() == (hidden / "sample_submission.csv").read_text()
    assert (mount / "train.csv").read_text() == (data / "train.csv").read_text()
    assert not (mount / "labels.csv").exists()


def test_without_a_hidden_test_train_images_stand_in_under_new_ids_and_a_note_says_so(tmp_path: Path) -> None:
    data = make_competition(tmp_path / "many", train=HIDDEN_IMAGES + 3, test=1)
    mock = mock_of(tmp_path, data, rerun=True)
    mount = mock.input / "competitions" / SLUG
    images = images_of(mount / "test.csv")
    assert len(images) == HIDDEN_IMAGES and all((mount / image).is_file() for image in images)
    assert files_below(mount / "test") == {Path(image).name for image in images}
    train_names = {Path(image).name for image in images_of(mount / "train.csv")}
    assert not train_names & files_below(mount / "test")
    assert len((mount / "sample_submission.csv").read_text().splitlines()) == 1 + 5 * HIDDEN_IMAGES
    assert "37 train images" in mock.notes[0] and "public test has 1" in mock.notes[0]


@pytest.mark.parametrize(("train", "public"), [(3, 3), (HIDDEN_IMAGES + 5, HIDDEN_IMAGES)])
def test_the_stand_in_never_has_the_public_tests_size(tmp_path: Path, train: int, public: int) -> None:
    data = make_competition(tmp_path / "equal", train=train, test=public)
    mount = mock_of(tmp_path, data, rerun=True).input / "competitions" / SLUG
    assert len(images_of(mount / "test.csv")) not in (0, public)


def test_no_write_through_the_tree_reaches_the_originals(tmp_path: Path, data: Path) -> None:
    mock = mock_of(tmp_path, data)
    copy, original = mock.input / "competitions" / SLUG / "test.csv", data / "test.csv"
    assert not os.path.samefile(copy, original)
    assert copy.stat().st_mode & 0o222 == 0 and copy.parent.stat().st_mode & 0o222 == 0


def test_a_tree_that_will_be_mounted_read_only_costs_no_space(tmp_path: Path, data: Path) -> None:
    before = tree_sha256(data)
    mock = mock_of(tmp_path, data, protected=True)
    assert os.path.samefile(mock.input / "competitions" / SLUG / "test.csv", data / "test.csv")
    mock.remove()
    assert tree_sha256(data) == before, "removing the links must not touch the files"


def test_a_symbolic_link_in_the_data_becomes_a_plain_file(tmp_path: Path, data: Path) -> None:
    (data / "train.csv").rename(tmp_path / "elsewhere.csv")
    (data / "train.csv").symlink_to(tmp_path / "elsewhere.csv")
    for protected in (True, False):
        placed = mock_of(tmp_path, data, protected=protected).input / "competitions" / SLUG / "train.csv"
        assert placed.is_file() and not placed.is_symlink()


def test_a_dataset_holds_what_kaggles_upload_would_carry(tmp_path: Path, data: Path, bundle: Path) -> None:
    (bundle / "logs").mkdir()
    (bundle / "logs" / "log.csv").write_text("x\n")
    mock = mock_of(tmp_path, data, datasets={"w": bundle})
    assert files_below(mock.input / "datasets/owner/w") == {"fold0.bin", "manifest.json"}
    assert any("logs/" in note and "flat" in note for note in mock.notes)


def test_archives_are_refused_all_at_once_for_kaggle_would_unpack_them(
    tmp_path: Path, data: Path, bundle: Path
) -> None:
    for name in ("a.zip", "b.tar.gz"):
        (bundle / name).write_bytes(b"")
    with pytest.raises(CheckFailed) as failed:
        mock_of(tmp_path, data, datasets={"w": bundle})
    assert [Path(problem.where).name for problem in failed.value.problems] == ["a.zip", "b.tar.gz"]
    assert "flat files" in failed.value.problems[0].cure


def test_every_missing_file_is_named_with_the_option_that_mends_it(tmp_path: Path, data: Path) -> None:
    (data / "test.csv").unlink()
    (data / "sample_submission.csv").unlink()
    with pytest.raises(UsageError) as wrong:
        mock_of(tmp_path, data, datasets={"w": tmp_path / "nowhere"})
    for part in ("no test.csv", "no sample_submission.csv", "nowhere does not exist", "--weights"):
        assert part in str(wrong.value)


def test_a_hidden_test_without_a_rerun_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="--rerun"):
        mock_of(tmp_path, data, hidden=data)


def test_laying_out_twice_leaves_nothing_of_the_first_time_and_nothing_else_is_removed(
    tmp_path: Path, data: Path, bundle: Path
) -> None:
    mock = mock_of(tmp_path, data, datasets={"w": bundle})
    (mock.root / "mine.txt").write_text("keep me")
    mock = mock_of(tmp_path, data, layout="legacy")
    assert [path.name for path in mock.input.iterdir()] == [SLUG]
    mock.remove()
    assert [path.name for path in mock.root.iterdir()] == ["mine.txt"]


def test_a_dataset_is_named_by_its_metadata_then_its_manifest_then_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "by-folder"
    folder.mkdir()
    assert dataset_slug(folder) == "by-folder"
    (folder / "manifest.json").write_text(json.dumps({"dataset": "by-manifest"}))
    assert dataset_slug(folder) == "by-manifest"
    (folder / "dataset-metadata.json").write_text(json.dumps({"id": "OWNER/by-metadata"}))
    assert dataset_slug(folder) == "by-metadata"


def test_the_tree_hash_sees_a_changed_byte_a_new_file_and_a_new_folder(tmp_path: Path, data: Path) -> None:
    before = tree_sha256(data)
    (data / "test.csv").write_bytes((data / "test.csv").read_bytes()[:-1] + b"\t")
    (data / "new").mkdir()
    (data / "new" / "file").touch()
    after = tree_sha256(data)
    assert {name for name in after if before.get(name) != after[name]} == {"test.csv", "new", "new/file"}

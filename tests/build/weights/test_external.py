"""A download of external data becomes a dataset of a few flat files that training reads like the download."""

import json
from pathlib import Path

import pytest

import build.weights.external
from build.core.bundle_files import verify_manifest
from build.core.errors import CheckFailed, UsageError
from build.run.mock import dataset_slug
from build.weights.external import make_external
from kernel_src.competitions.biomass.external import read_external
from kernel_src.competitions.biomass.external_table import GRASSCLOVER
from tests.build.typing_in import type_in
from tests.kernel_src.competitions.biomass.test_external import (
    HEADER,
    ROWS,
    flattened,
    write_grassclover,
    write_photograph,
)

SLUG = "i2b-grassclover"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where photographs are unpacked."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / "scratch"


def messy_download(root: Path) -> Path:
    """Rows of several fates, photographs in sub-folders with equal names, and files that no row names."""
    rows = [*ROWS, "x/a.jpg;2017;5;5;5;15", "cut.jpg;2018;1;1;1;3", "gone.jpg;2018;1;1;1;3", "empty.jpg;2018;1;;;1"]
    write_grassclover(root, rows, images=("a.jpg", "b.jpg", "c.jpg", "x/a.jpg", "unnamed.jpg"))
    images = root / "train" / "images"
    (images / "cut.jpg").write_bytes((images / "a.jpg").read_bytes()[:-200])
    (images / "empty.jpg").write_bytes(b"")
    (root / "synthetic").mkdir()
    (root / "synthetic" / "huge.png").write_bytes(b"not ours")
    return root


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_dataset_is_flat_and_gives_training_the_rows_of_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = messy_download(tmp_path / "download")
    before = bytes_below(download)
    monkeypatch.setattr(build.weights.external, "PACK_BYTES", 10_000)  # photographs here have about 6,000 bytes
    made = make_external(SLUG, download, tmp_path / "made")
    names = sorted(path.name for path in (tmp_path / "made").iterdir())
    packs = [f"photographs-{number:03d}.safetensors" for number in range(made.files - 1)]
    assert names == sorted(["biomass_train_data.csv", "dataset-metadata.json", "manifest.json", *packs])
    assert len(packs) > 1 and made.photographs == 6, "also those whose rows are skipped, none that no row names"
    assert set(verify_manifest(tmp_path / "made")["files"]) == {"biomass_train_data.csv", *packs}
    assert dataset_slug(tmp_path / "made") == SLUG

    rows, report = read_external(tmp_path / "made", GRASSCLOVER)
    wanted, of_download = read_external(download, GRASSCLOVER)
    assert rows.drop(columns="image_path").equals(wanted.drop(columns="image_path"))
    assert (report.kept, report.skipped) == (4, {"unreadable image": 2, "missing image": 1})
    assert report == of_download == made.read
    for ours, theirs in zip(rows["image_path"], wanted["image_path"], strict=True):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes()
    assert bytes_below(download) == before


def test_a_flat_download_serves_as_well_and_no_scratch_copy_is_left(tmp_path: Path, scratch: Path) -> None:
    made = make_external(SLUG, flattened(write_grassclover(tmp_path / "download")), tmp_path / "made")
    assert made.read.kept == made.photographs == 3
    assert not [path for path in scratch.rglob("*") if path.is_file()]


@pytest.mark.full
def test_the_verb_says_what_was_kept_and_what_the_mean_is(tmp_path: Path) -> None:
    messy_download(tmp_path / "download")
    typed = type_in("external", "--from", "download", folder=tmp_path)
    assert typed.returncode == 0, typed.stderr
    lines = typed.stdout.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'out/external' / SLUG}: 6 photographs in 2 files")
    assert "4 of 7 rows kept; skipped 2 unreadable image, 1 missing image" in lines[1]
    # 0.84 x (100 + 10 + 45 + 15) / 4, by hand
    assert lines[2] == "mean total 35.7 g per quadrat (the competition's photographs: 45.32 g)"
    assert "WARNING" not in typed.stdout and f"rehearse --weights {tmp_path / 'out/external' / SLUG}" in lines[-1]
    printed = json.loads(type_in("external", "--from", "download", "--json", folder=tmp_path).stdout)
    assert printed["mean_total_g"] == pytest.approx(35.7) and printed["read"]["kept"] == 4 and printed["ok"] is True


@pytest.mark.parametrize(("grams", "suspicious"), [(2, True), (60, False), (900, True)])
def test_grams_of_another_order_are_warned_of(tmp_path: Path, grams: int, suspicious: bool) -> None:
    download = write_grassclover(tmp_path / "download", [f"a.jpg;2017;{grams};0;0;{grams}"])
    made = make_external(SLUG, download, tmp_path / "made")
    assert bool(made.warning) is suspicious
    assert any(line.startswith("WARNING: a mean of ") for line in made.as_lines()) is suspicious


def test_a_download_that_cannot_be_used_leaves_nothing_and_says_what_was_looked_for(tmp_path: Path) -> None:
    out = tmp_path / "made"
    write_photograph(tmp_path / "no-table" / "a.jpg")
    with pytest.raises(CheckFailed, match="no biomass_train_data.csv in"):
        make_external(SLUG, tmp_path / "no-table", out)
    with pytest.raises(CheckFailed, match="looked for a.jpg, b.jpg, c.jpg in .*images and in"):
        make_external(SLUG, write_grassclover(tmp_path / "no-images", images=()), out)
    with pytest.raises(CheckFailed, match="columns dry_weeds are missing"):
        other = HEADER.replace("dry_weeds", "weeds")
        make_external(SLUG, write_grassclover(tmp_path / "columns", header=other), out)
    with pytest.raises(CheckFailed, match="no row can be used"):
        make_external(SLUG, write_grassclover(tmp_path / "no-rows", []), out)
    alike = write_grassclover(tmp_path / "alike", ["x/a.jpg;2017;1;0;0;1", "y/a.jpg;2017;2;0;0;2"], images=("x/a.jpg",))
    with pytest.raises(CheckFailed, match="x/a.jpg and y/a.jpg would be one file"):
        make_external(SLUG, flattened(alike), out)
    assert not out.exists() and not list(tmp_path.glob(".*draft"))


def test_a_wrong_name_or_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    download = write_grassclover(tmp_path / "download")
    with pytest.raises(UsageError, match="known are grassclover"):
        make_external("i2b-meadows", download, tmp_path / "made")
    with pytest.raises(UsageError, match="unpack the download"):
        make_external(SLUG, tmp_path / "download.zip", tmp_path / "made")
    with pytest.raises(UsageError, match="lie in each other"):
        make_external(SLUG, download, download / "made")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not replaced"):
        make_external(SLUG, download, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "keep me"


def test_a_second_time_replaces_the_first(tmp_path: Path) -> None:
    download = write_grassclover(tmp_path / "download")
    make_external(SLUG, download, tmp_path / "made")
    write_grassclover(download, ROWS[:2])
    assert make_external(SLUG, download, tmp_path / "made").read.kept == 2


def test_a_dataset_that_reads_unlike_the_download_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photographs change places: every row is still there and every file can be read."""
    download = write_grassclover(tmp_path / "download", images=("a.jpg", "b.jpg", "c.jpg"))
    (download / "train/images/b.jpg").unlink()
    write_photograph(download / "train/images/longer-name.jpg")  # another name, other pixels
    (download / "train/images/longer-name.jpg").rename(download / "train/images/b.jpg")
    pack = build.weights.external._pack

    def swapped(found: dict[str, Path], folder: Path) -> list[str]:
        return pack(found | {"a.jpg": found["b.jpg"], "b.jpg": found["a.jpg"]}, folder)

    monkeypatch.setattr(build.weights.external, "_pack", swapped)
    with pytest.raises(CheckFailed, match="reads unlike the download"):
        make_external(SLUG, download, tmp_path / "made")
    assert not (tmp_path / "made").exists()

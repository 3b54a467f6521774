"""The competition's files: fetched once, checked, and nothing of an archive lands where it should not."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.kaggle.archives import unpack
from build.kaggle.transfers import fetch_data

SLUG = "csiro-biomass"
FILES = {
    "train.csv": b"a,b\n" * 100,
    "test.csv": b"c\n",
    "train/ID1.jpg": bytes(range(256)) * 3000,
    "test/ID2.jpg": b"j" * 99,
}
LIMIT = 10**9


@pytest.fixture
def data(site) -> None:
    site.competitions[SLUG] = dict(FILES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / SLUG


def there(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_comes_and_nothing_else_is_left(kaggle, data, folder: Path) -> None:
    fetched = fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    assert fetched.outcome == "downloaded" and fetched.files == 4
    assert there(folder) == FILES and [path.name for path in folder.parent.iterdir()] == [SLUG]


def test_what_is_there_is_not_fetched_again_and_a_file_that_is_missing_is(kaggle, server, data, folder: Path) -> None:
    fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    server.log.clear()
    assert fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT).outcome == "already there"
    assert set(server.names()) == {"ListDataFiles"}
    (folder / "train/ID1.jpg").write_bytes(b"half")
    (folder / "mine.txt").write_text("stays")
    assert fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT).outcome == "downloaded"
    assert there(folder) == FILES | {"mine.txt": b"stays"}


def test_a_broken_download_goes_on_at_the_byte_in_this_run_and_in_the_next(kaggle, server, site, folder: Path) -> None:
    import random

    site.competitions[SLUG] = {"train.csv": random.Random(1).randbytes(2_000_000)}
    server.fault("GET", cut_bytes=600_000)
    server.fault("GET", nth=2, times=20, status=503)
    with pytest.raises(CheckFailed, match="503"):
        fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    server.faults.clear()
    server.log.clear()
    fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    ranges = [seen.headers.get("Range") for seen in server.log if seen.name == "GET"]
    assert ranges[-1] is not None and int(ranges[-1][6:-1]) >= 262_144
    assert there(folder) == site.competitions[SLUG]


def test_a_run_that_was_stopped_while_it_unpacked_needs_no_second_download(
    kaggle, server, data, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("build.kaggle.transfers.unpack", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    monkeypatch.undo()
    for name, value in server.environment(folder.parents[1] / "home").items():
        monkeypatch.setenv(name, value)
    server.log.clear()
    fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    assert "DownloadDataFiles" not in server.names() and there(folder) == FILES


def test_rules_that_are_not_accepted_come_with_the_page(kaggle, site, data, folder: Path) -> None:
    site.rules_accepted = False
    with pytest.raises(
        CheckFailed, match=f"not accepted the rules yet → join and accept them at .*/competitions/{SLUG}/rules"
    ):
        fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    assert not folder.exists()


def test_an_archive_that_lacks_a_listed_file_is_said(kaggle, site, data, folder: Path) -> None:
    site.archives[SLUG] = archive({"train.csv": FILES["train.csv"]}).getvalue()
    with pytest.raises(CheckFailed, match="lacks 3 of the 4 files"):
        fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)


def test_a_damaged_archive_is_not_believed_and_fetched_afresh_the_next_time(kaggle, site, data, folder: Path) -> None:
    good = archive(FILES).getvalue()
    site.archives[SLUG] = good.replace(b"a,b\n" * 10, b"x,y\n" * 10) if b"a,b\n" * 10 in good else good[:-200]
    with pytest.raises(CheckFailed, match="damaged"):
        fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT)
    site.archives[SLUG] = good
    site.files.clear()
    assert fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT).outcome == "downloaded"


def test_more_than_the_limit_is_refused_before_the_download(kaggle, server, data, folder: Path) -> None:
    with pytest.raises(CheckFailed, match="the limit is"):
        fetch_data(kaggle, SLUG, folder, limit_bytes=1000)
    assert "DownloadDataFiles" not in server.names()


def test_a_size_that_differs_from_the_list_is_a_note(kaggle, server, data, folder: Path) -> None:
    listed = [{"name": name, "totalBytes": len(content) + (name == "test.csv")} for name, content in FILES.items()]
    server.fault("ListDataFiles", edit={"files": listed})
    assert "1 files are of another size" in str(fetch_data(kaggle, SLUG, folder, limit_bytes=LIMIT))


def archive(files: dict[str, bytes], **attributes: int) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as opened:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes.get("mode", stat.S_IFREG | 0o644) << 16
            opened.writestr(info, content)
    return target


class TestUnpacking:
    def refuse(self, tmp_path: Path, content: io.BytesIO, limit_bytes: int = LIMIT) -> str:
        path = tmp_path / "x.zip"
        path.write_bytes(content.getvalue())
        with pytest.raises(CheckFailed) as failed:
            unpack(path, tmp_path / "to", limit_bytes=limit_bytes, advance=lambda done, total: None)
        assert not (tmp_path / "to").exists() or not there(tmp_path / "to")
        return str(failed.value)

    @pytest.mark.parametrize(
        "name", ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\..\\evil", "a//evil", "./evil"]
    )
    def test_names_that_lead_out_write_nothing(self, tmp_path: Path, name: str) -> None:
        assert "would not stay" in self.refuse(tmp_path, archive({"good.txt": b"1", name: b"2"}))
        assert not list(tmp_path.rglob("evil"))

    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
    def test_links_and_devices_are_refused(self, tmp_path: Path, kind: int) -> None:
        assert "a link or a device" in self.refuse(tmp_path, archive({"x": b"/etc/passwd"}, mode=kind | 0o777))

    def test_a_bomb_is_refused_by_what_it_would_unpack_to(self, tmp_path: Path) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("zeros", b"\0" * 5_000_000)
        assert len(target.getvalue()) < 10_000
        assert "would unpack to 5,000,000 bytes" in self.refuse(tmp_path, target, limit_bytes=1_000_000)

    def test_a_bomb_that_lies_about_its_size_stops_at_what_it_said(self, tmp_path: Path) -> None:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("zeros", b"\0" * 5_000_000)
        lie = target.getvalue().replace((5_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
        assert "damaged" in self.refuse(tmp_path, io.BytesIO(lie), limit_bytes=1_000_000)

    def test_names_twice_also_by_case_and_a_file_as_folder_are_refused(self, tmp_path: Path) -> None:
        text = self.refuse(tmp_path, archive({"A.txt": b"1", "a.TXT": b"2", "b": b"1", "b/c": b"2"}))
        assert "there twice" in text and "in what is also a file" in text

    def test_no_zip_is_said(self, tmp_path: Path) -> None:
        assert "damaged" in self.refuse(tmp_path, io.BytesIO(b"<html>sorry</html>"))

    def test_folders_are_made_and_modes_are_not_taken_over(self, tmp_path: Path) -> None:
        path = tmp_path / "x.zip"
        path.write_bytes(archive({"a/b/c.txt": b"1"}, mode=stat.S_IFREG | 0o4777).getvalue())
        sizes = unpack(path, tmp_path / "to", limit_bytes=LIMIT, advance=lambda done, total: None)
        assert sizes == {"a/b/c.txt": 1}
        assert not stat.S_IMODE((tmp_path / "to/a/b/c.txt").stat().st_mode) & 0o7111

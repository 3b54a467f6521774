"""A file is there whole or not at all, whatever happens while it is written."""

import hashlib
import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from kernel_src.runtime.files import sha256_of, write_atomically, write_json, write_text


def test_a_writer_that_fails_leaves_the_old_content_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half(draft: Path) -> None:
        draft.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_writer_that_is_killed_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def die(draft: Path) -> None:
        draft.write_text("ha")
        os.kill(os.getpid(), signal.SIGKILL)

    process = get_context("fork").Process(target=write_atomically, args=(path, die))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_the_draft_is_flushed_to_disk_before_it_takes_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("replace"), replace(*paths))[1])
    write_text(tmp_path / "a.txt", "new")
    assert done == ["fsync", "replace"]


def test_the_draft_keeps_the_suffix_and_lies_in_the_same_folder(tmp_path: Path) -> None:
    seen: list[Path] = []
    write_atomically(tmp_path / "a.npy", lambda draft: (seen.append(draft), draft.touch()))
    assert seen[0].suffix == ".npy" and seen[0].parent == tmp_path and seen[0].name.startswith(".")


def test_everybody_may_read_what_was_written(tmp_path: Path) -> None:
    def private(draft: Path) -> None:
        draft.touch(mode=0o600)

    write_atomically(tmp_path / "a", private)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_text_is_utf8_with_the_line_ends_it_has(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "R²\r\nü\n")
    assert (tmp_path / "a").read_bytes() == "R²\r\nü\n".encode()


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, "ü"]})
    before = (tmp_path / "a.json").read_text()
    assert before.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == before


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_text(tmp_path / "no" / "a", "x")


def test_sha256_is_that_of_the_whole_file_across_blocks(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()

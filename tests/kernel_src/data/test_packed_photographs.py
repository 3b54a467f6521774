"""Packed photographs come out as the bytes that went in, whoever asks first."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from kernel_src.data.packed_photographs import packs_in, unpack_photographs


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def pack(folder: Path, number: int, **photographs: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = {name.replace("__", "/"): np.frombuffer(data, np.uint8) for name, data in photographs.items()}
    save_file(tensors, folder / f"photographs-{number:03d}.safetensors")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_pack_is_written_out_under_its_names_and_nothing_twice(tmp_path: Path, scratch: Path) -> None:
    data = pack(pack(tmp_path / "data", 0, a=b"one", x__a=b"two"), 1, empty=b"")
    folder = unpack_photographs(packs_in(data))
    assert contents(folder) == {"a": b"one", "x/a": b"two", "empty": b""} and scratch in folder.parents
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert unpack_photographs(packs_in(data)) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps


def test_another_pack_of_the_same_name_is_not_taken_for_it(tmp_path: Path) -> None:
    first = unpack_photographs(packs_in(pack(tmp_path / "data", 0, a=b"one")))
    second = unpack_photographs(packs_in(pack(tmp_path / "data", 0, a=b"other bytes")))
    assert contents(first) == {"a": b"one"} and contents(second) == {"a": b"other bytes"}


@pytest.mark.full
def test_processes_that_ask_at_once_get_one_whole_folder(tmp_path: Path, scratch: Path) -> None:
    data = pack(tmp_path / "data", 0, **{f"p{number}": b"x" * 2000 for number in range(300)})
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        folders = pool.map(unpack_photographs, [packs_in(data)] * 8)
    assert len(set(folders)) == 1 and len(contents(folders[0])) == 300
    assert [path.name for path in (scratch / "external").iterdir()] == [folders[0].name], "no draft is left"


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, scratch: Path) -> None:
    data = pack(tmp_path / "data", 0, **{"..__..__escaped": b"x"})
    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack_photographs(packs_in(data))
    assert not list(tmp_path.rglob("escaped"))

"""A credential of this machine is found in what is about to leave it, by content, by name and by inode."""

import base64
import os
import zipfile
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.core.secret_scan import find_secret, is_credential_name, real_credentials
from build.kaggle.dataset_folders import stage_dataset
from build.kaggle.staging import stage
from build.notebooks.check.command import check

KEY = "9f3c71d2e8a04b56" + "c1d7e9f0a2b4c6d8"
BASIC = base64.b64encode(f"kim:{KEY}".encode()).decode()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True)
    for name in list(os.environ):
        if name.startswith("KAGGLE_"):
            monkeypatch.delenv(name)
    (folder / "kaggle.json").write_text(f'{{"username": "kim", "key": "{KEY}"}}')
    (folder / "kaggle.json").chmod(0o600)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    (made / "weights.bin").write_bytes(bytes(range(256)) * 100)
    return made


def refused(folder: Path) -> str:
    with pytest.raises(CheckFailed) as failed:
        stage_dataset("i2b-toy", folder, "kim", root=folder)
    assert KEY not in str(failed.value) and BASIC not in str(failed.value)
    assert not Path("out/push/staging/datasets/i2b-toy").exists()
    return str(failed.value)


def test_an_ordinary_folder_is_staged(folder: Path) -> None:
    assert set(stage_dataset("i2b-toy", folder, "kim", root=folder).sizes) == {"weights.bin", "kit-manifest.json"}


@pytest.mark.parametrize("target", ["home/.kaggle/kaggle.json", "folder/weights.bin", "folder", "nowhere"])
def test_no_link_is_followed_wherever_it_leads(folder: Path, tmp_path: Path, target: str) -> None:
    (folder / "notes.txt").symlink_to(tmp_path / target)
    assert "notes.txt: a link, to " in refused(folder)


def test_a_description_that_is_a_link_is_not_read(folder: Path, home: Path) -> None:
    (folder / "dataset-metadata.json").symlink_to(home / "kaggle.json")
    assert "dataset-metadata.json: a link, to" in refused(folder)


def test_a_hard_link_to_the_credentials_is_refused_whatever_its_name(folder: Path, home: Path) -> None:
    os.link(home / "kaggle.json", folder / "weights2.bin")
    assert "weights2.bin: a file of credentials" in refused(folder)


@pytest.mark.parametrize("name", ["kaggle.json", "Kaggle.JSON", "access_token", "credentials.json", "id_rsa", "a.pem"])
def test_a_file_of_credentials_is_refused_by_its_name(folder: Path, name: str) -> None:
    (folder / name).write_text("anything")
    assert f"{name}: a file of credentials" in refused(folder)
    assert is_credential_name(name) and not is_credential_name("config.json")


def test_a_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "pipe: not a regular file" in refused(folder)


@pytest.mark.parametrize(
    "content",
    [
        f"# {KEY}".encode(),
        KEY.upper().encode(),
        f"token={BASIC}".encode(),
        base64.b64encode(f'{{"key": "{KEY}"}}'.encode()),
        KEY.encode("utf-16"),
        KEY.encode().hex().encode(),
        f"a = '{KEY[:11]}'\n    '{KEY[11:]}'".encode(),
        b"\x00\xff" * 5000 + KEY.encode() + b"\x00\xff",
        b"\x00\xff" * ((1 << 21) - 8) + BASIC.encode() + b"\x00\xff" * (1 << 22),  # across two blocks
        b"x" * 9_000_000 + KEY.encode(),  # a text too large to be read as one
    ],
)
def test_a_file_that_holds_the_key_is_refused_and_the_place_named(folder: Path, content: bytes) -> None:
    (folder / "notes.dat").write_bytes(content)
    assert "notes.dat: holds a credential of this machine (" in refused(folder)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_compressed_member_that_holds_it_is_found(folder: Path, method: int) -> None:
    with zipfile.ZipFile(folder / "features.npz", "w", method) as opened:
        opened.writestr("names.npy", b"\x93NUMPY" + b"\0" * 500 + KEY.encode())
    assert "features.npz: holds a credential" in refused(folder)


def test_a_description_that_holds_it_is_refused(folder: Path) -> None:
    (folder / "dataset-metadata.json").write_text(f'{{"id": "kim/i2b-toy", "title": "{KEY}"}}')
    assert "its description holds a credential" in refused(folder)


def test_a_notebook_that_holds_it_is_not_staged(tmp_path: Path) -> None:
    notebook = tmp_path / "i2b-x.ipynb"
    notebook.write_text(f'{{"cells": [], "metadata": {{"note": "{KEY}"}}, "nbformat": 4, "nbformat_minor": 5}}')
    notebook.with_name("kernel-metadata.json").write_text('{"id": "OWNER/i2b-x"}')
    with pytest.raises(CheckFailed, match="holds a credential of this machine: it was not sent"):
        stage(notebook, "kim", {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kernel_src/data/x.py", f"# my key is {KEY}\n"),
        ("kernel_src/kernels/x.py", f'"""{BASIC}"""\n'),
        ("notebooks/i2b-x/i2b-x.ipynb", f'{{"cells": [], "metadata": {{"k": "{KEY}"}}}}'),
        ("notebooks/i2b-x/kernel-metadata.json", f'{{"title": "{KEY}"}}'),
        ("datasets_meta/x/dataset-metadata.json", f'{{"subtitle": "{KEY}"}}'),
        ("tests/test_x.py", f"KEY = '{KEY}'\n"),
        ("README.md", f"line\nline\nexport KAGGLE_KEY={KEY}\n"),
    ],
)
def test_check_finds_the_real_key_wherever_it_stands_and_says_that_first(
    tmp_path: Path, name: str, content: str
) -> None:
    root = tmp_path / "kit"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)
    first = check([], root).problems[0]
    assert first.what == "this is a credential of this machine" and first.where.startswith(f"{name} line ")
    assert KEY not in str(first) and "revoke it" in first.cure


def test_without_credentials_nothing_is_looked_for(tmp_path: Path, home: Path) -> None:
    (home / "kaggle.json").unlink()
    (tmp_path / "x.txt").write_text(KEY)
    assert find_secret(tmp_path / "x.txt") == "" and real_credentials(tmp_path, ("home",)) == []

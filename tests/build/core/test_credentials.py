"""Credentials that are there and cannot be read are named with what is wrong and the cure, and never called absent."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from build.core import credentials
from build.core.errors import CheckFailed
from build.kaggle.doctor import credential_findings
from build.kaggle.session import sign_in

FAULTS = Path(__file__).resolve().parents[4] / "shared" / "faults" / "14"
KEY, TOKEN = "9f3c71d2e8a04b56c1d7e9f0a2b4c6d8", "KGAT_5b1f0c9e7d3a4286"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("KAGGLE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "a home"
    (folder / ".kaggle").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder / ".kaggle"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def said_by_sign_in() -> str:
    with pytest.raises(CheckFailed) as failed:
        sign_in()
    text = str(failed.value)
    assert KEY not in text and TOKEN not in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "no credentials" not in text and "too old" not in text
    return text


GOOD = json.dumps({"username": "kim", "key": KEY}).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xef\xbb\xbf" + GOOD, "byte-order mark"),
        (GOOD.decode().encode("utf-16"), "UTF-16"),
        (GOOD.decode().encode("utf-16-le"), "zero bytes"),
        (GOOD[:30], "cut short"),
        (GOOD[:-1], "cut short"),
        (GOOD + b"}", "not JSON"),
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"\xff\xf0 not text", "not UTF-8"),
        (b"[" + GOOD + b"]", "a list instead of an object"),
        (b"null", "null instead of an object"),
        (b"{}", "neither username nor key"),
        (b"[" * 20_000, "JSON"),
        (b'{"username": "kim"}', "its key is missing"),
        (b'{"username": "kim", "key": 123456789012}', "its key is a number"),
        (b'{"username": "kim", "key": null}', "its key is missing"),
        (b'{"username": ["kim"], "key": "%s"}' % KEY.encode(), "its username is a list"),
        (b'{"username": "", "key": "%s"}' % KEY.encode(), "its username is empty"),
        (b'{"username": "kim\\r", "key": "%s"}' % KEY.encode(), "its username holds a carriage return"),
        (b'{"username": "kim\\n", "key": "%s"}' % KEY.encode(), "its username holds a line break"),
        (b'{"username": "\\"kim\\"", "key": "%s"}' % KEY.encode(), "its username holds a quotation mark"),
        (b'{"username": "kim\\u001b[2J", "key": "%s"}' % KEY.encode(), "its username holds the character U\\+001B"),
        (b'{"username": "kim", "key": " %s"}' % KEY.encode(), "its key holds a space"),
    ],
)
def test_a_damaged_key_file_is_named_with_its_fault(home: Path, data: bytes, said: str) -> None:
    path = write(home / "kaggle.json", data)
    text = said_by_sign_in()
    assert re.search(said, text) and str(path) in text and "download" in text
    assert credentials.find_sources() == []
    assert [finding.level for finding in credential_findings()] == ["fail"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xef\xbb\xbf" + TOKEN.encode(), "byte-order mark"),
        (TOKEN.encode("utf-16"), "UTF-16"),
        (b"\n", "is empty"),
        (TOKEN[:9].encode() + b"\r\n" + TOKEN[9:].encode(), "carriage return"),
        (b'"' + TOKEN.encode() + b'"', "quotation mark"),
        ("KGAT_\u2026".encode(), "HORIZONTAL ELLIPSIS"),
    ],
)
@pytest.mark.parametrize("name", ["access_token", "access_token.txt"])
def test_a_damaged_token_file_is_named_with_its_fault(home: Path, name: str, data: bytes, said: str) -> None:
    path = write(home / name, data)
    text = said_by_sign_in()
    assert said in text and str(path) in text


@pytest.mark.parametrize("name", ["kaggle.json", "access_token", "credentials.json"])
def test_a_folder_a_pipe_and_a_link_to_nothing_are_named(home: Path, name: str) -> None:
    (home / name).mkdir()
    assert "is a folder" in said_by_sign_in()
    (home / name).rmdir()
    os.mkfifo(home / name)
    assert "not a regular file" in said_by_sign_in()
    (home / name).unlink()
    (home / name).symlink_to("nowhere")
    assert "a link to a file that is not there" in said_by_sign_in()


def test_a_file_that_may_not_be_opened_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(home / "kaggle.json", GOOD)
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "cannot be opened (Permission denied)" in said_by_sign_in()


def test_variables_with_what_no_credential_has_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "kim")
    assert "KAGGLE_USERNAME is set and KAGGLE_KEY is not" in said_by_sign_in()
    monkeypatch.setenv("KAGGLE_KEY", f"{KEY}\r")
    assert "KAGGLE_KEY holds a carriage return" in said_by_sign_in()
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setenv("KAGGLE_USERNAME", "'kim'")
    assert "KAGGLE_USERNAME holds a quotation mark" in said_by_sign_in()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "/home/kim/token.txt")
    assert "no such file is there" in said_by_sign_in()


def test_the_first_usable_place_decides_and_a_damaged_one_after_it_is_a_warning(home: Path, monkeypatch) -> None:
    write(home / "kaggle.json", GOOD[:20])
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert credentials.blocking_problems() == []
    assert [finding.level for finding in credential_findings()] == ["warn", "ok"]
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    write(home / "credentials.json", b'{"refresh_token": "rrrrrrrrrr"}')
    assert len(credentials.blocking_problems()) == 1  # the client would pass over it without a word
    assert [finding.level for finding in credential_findings()] == ["fail", "warn"]


def test_settings_alone_are_no_damage(home: Path) -> None:
    write(home / "kaggle.json", b'{"competition": "x"}')
    assert credentials.find_sources() == [] and credentials.unreadable_problems() == []


def test_what_a_damaged_file_holds_is_a_secret_all_the_same(home: Path) -> None:
    for data in (b"\xef\xbb\xbf" + GOOD, GOOD[:-3], GOOD.decode().encode("utf-16")):
        write(home / "kaggle.json", data)
        assert any(KEY.startswith(secret) and len(secret) > 28 for secret in credentials.secrets())


def test_the_cure_for_others_who_can_read_can_be_typed(home: Path) -> None:
    write(home / "kaggle.json", GOOD).chmod(0o644)
    (problem,) = credentials.mode_problems()
    assert shlex.split(problem.cure) == ["chmod", "600", str(home / "kaggle.json")]  # the home has a space


@pytest.mark.skipif(not FAULTS.is_dir(), reason="../shared/faults/14 is not there: the planted credentials")
@pytest.mark.parametrize("name", ["kaggle.json", "access_token"])
def test_the_planted_files_are_named(home: Path, name: str) -> None:
    path = write(home / name, (FAULTS / name).read_bytes())
    text = said_by_sign_in()
    assert "byte-order mark" in text and str(path) in text

"""Names and texts from elsewhere: nothing is written outside its folder, nothing ends in a traceback.

Whatever a site or an archive calls its files, the tree around the folder is the same before and after.
"""

import hashlib
import io
import json
import os
import unicodedata
import zipfile
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.core.errors import CheckFailed
from build.kaggle import responses
from build.kaggle.archives import unpack
from build.kaggle.downloads import conflicting_names, fetch_files, safe_path
from build.kaggle.explain import Asked, BodyError, explain
from build.kaggle.journal import Journal, only_push
from build.kaggle.outputs import verify_training
from build.kaggle.runs import explain_log, log_text
from build.run.rehearse.executed_cells import Cells

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEY = "9f3c71d2e8a04b56" + "c1d7e9f0a2b4c6d8"
ODD = st.sampled_from(
    [".", "..", "", "/", "\\", "C:", "~", "-rf", ".git", "hooks", ".bashrc", "a", "A", "b", "é", "e\u0301", "ﬁ", "fi"]
    + ["\x1b[2J", "\u202e", "\n", "\0", "con", "x " * 150, KEY, "submission.csv", "SUBMISSION.csv", "link"]
)
NAMES = st.lists(ODD | st.text(max_size=6), min_size=1, max_size=5).map("/".join) | st.text(max_size=30)


def tree(root: Path) -> dict[str, str]:
    """Every path below a folder with what it is."""
    found = {}
    for path in sorted(root.rglob("*")):
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[str(path)] = repr(content)
    return found


@pytest.fixture(autouse=True, scope="module")
def key():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAGGLE_USERNAME", "kim")
        patch.setenv("KAGGLE_KEY", KEY)
        yield


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a neighbour; a link inside leads to it."""
    root = tmp_path_factory.mktemp("ground")
    (root / "neighbour").mkdir()
    (root / "neighbour" / "kept.txt").write_text("kept")
    return root


def fresh(ground: Path, data: object) -> Path:
    folder = ground / hashlib.sha256(repr(data).encode()).hexdigest()[:16] / "in"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "link").symlink_to(ground / "neighbour")
    return folder


def around(ground: Path, folder: Path) -> dict[str, str]:
    return {path: what for path, what in tree(ground).items() if not path.startswith(f"{folder}{os.sep}")}


def is_clean(text: str) -> bool:
    steers = (character for character in text if not (character.isprintable() or character in "\n\t"))
    return KEY not in text.lower() and all(unicodedata.category(character) == "Zs" for character in steers)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@QUICK
@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from([0, 0o120777, 0o010644, 0o100644]))
def test_no_archive_writes_outside_its_folder_or_ends_in_a_traceback(ground: Path, names: list[str], mode: int) -> None:
    folder = fresh(ground, names)
    archive = folder.parent / "x.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename, info.external_attr = name, mode << 16
            try:
                opened.writestr(info, name.encode(errors="replace"))
            except (UnicodeEncodeError, ValueError):
                return  # no zip holds such a name
    before = around(ground, folder)
    try:
        unpack(archive, folder, limit_bytes=10**6, advance=lambda done, total: None)
    except CheckFailed as failed:
        assert is_clean(str(failed)), str(failed)
    assert around(ground, folder) == before
    hidden = [path for path in folder.rglob("*") if path.name.startswith(".") or KEY in path.name]
    assert hidden == [], "neither hidden files nor the leftovers of a refused archive"


@QUICK
@given(st.binary(max_size=200), st.integers(0, 400))
def test_a_damaged_archive_is_one_message(tmp_path_factory, noise: bytes, cut: int) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.txt", b"some text, some more" * 9)
        opened.writestr("b.txt", b"another")
    data = content.getvalue()
    for damaged in (data[:cut], data[:cut] + noise + data[cut + len(noise) :], noise):
        (folder / "x.zip").write_bytes(damaged)
        try:
            unpack(folder / "x.zip", folder / "to", limit_bytes=10**6, advance=lambda done, total: None)
        except CheckFailed as failed:
            assert is_clean(str(failed))


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 97, 99])
def test_a_compression_that_python_does_not_know_is_one_message(tmp_path: Path, method: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.txt", b"some text" * 99)
    data = bytearray(content.getvalue())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.find(signature) + at] = method
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(CheckFailed, match="damaged, or of a kind that Python cannot unpack"):
        unpack(tmp_path / "x.zip", tmp_path / "to", limit_bytes=10**6, advance=lambda done, total: None)


@pytest.mark.parametrize("name", [".git/hooks/post-checkout", ".bashrc", "a/.ssh/x", "a/../b", "/x", KEY])
def test_names_that_programs_read_unasked_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckFailed, match="nothing of it was written") as failed:
        safe_path(tmp_path, name)
    assert KEY not in str(failed.value)


def test_names_that_are_one_file_on_some_disks_conflict() -> None:
    for pair in (("é", "e\u0301"), ("A/x", "a/X"), ("ﬁ", "fi"), ("a", "a."), ("submission.csv", "submission.csv/x")):
        assert len(conflicting_names(pair)) == 1, pair
    assert conflicting_names(["a", "b/a", "b/c"]) == []


@QUICK
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_no_output_of_a_kernel_is_written_outside_its_folder(ground: Path, names: list[str]) -> None:
    folder = fresh(ground, ("outputs", names))
    before = around(ground, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("build.kaggle.downloads.send", lambda attempt, asked: attempt())

        def download(place: Path, **limits: object):
            return lambda response: place.write_bytes(b"x")

        patch.setattr("build.kaggle.downloads.continue_download", download)
        patch.setattr("build.kaggle.downloads.open_session", Session)
        try:
            fetch_files({name: "https://x" for name in names}, folder, Asked("list", "kernel"), limit_bytes=10**6)
        except CheckFailed as failed:
            assert is_clean(str(failed)), str(failed)
    assert around(ground, folder) == before


class Session:
    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *error: object) -> None: ...

    def get(self, *arguments: object, **more: object) -> SimpleNamespace:
        return SimpleNamespace(raise_for_status=lambda: None)


def test_hidden_outputs_stay_on_the_site_and_that_is_said(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("build.kaggle.downloads.send", lambda attempt, asked: None)
    assert fetch_files({".virtual_documents/x": "https://x"}, tmp_path, Asked("l", "kernel"), limit_bytes=9) == {}
    assert "hidden files are not downloaded: '.virtual_documents/x'" in capsys.readouterr().err


SPOKEN = st.lists(
    st.sampled_from([KEY, KEY.upper(), KEY[:14], KEY[14:], "\x1b]0;t\x07", "\x1b[2J", "\r", "\u202e", "%39"])
    | st.text(max_size=8),
    max_size=6,
).map("".join)


@QUICK
@given(SPOKEN, st.sampled_from([400, 401, 403, 404, 409, 413, 429, 500]))
def test_no_answer_of_the_site_puts_a_secret_or_a_control_character_into_a_message(words: str, status: int) -> None:
    import requests

    response = requests.Response()
    response.status_code = status
    for error in (requests.HTTPError(words, response=response), BodyError(words), ValueError(words), KeyError(words)):
        assert is_clean(str(explain(error, Asked("save it", "kernel", "kim/x"))))
    file = SimpleNamespace(name=words, total_bytes=1)
    state = responses.kernel_state(SimpleNamespace(status=SimpleNamespace(name="ERROR"), failure_message=words))
    listed = responses.listed_files(SimpleNamespace(error_message="", dataset_files=[file]))
    assert is_clean(state.failure) and all(map(is_clean, listed))


@QUICK
@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), SPOKEN), max_size=5), SPOKEN)
def test_no_log_does_either(pieces: list[tuple[str, str]], message: str) -> None:
    log = json.dumps([{"stream_name": name, "time": 1.0, "data": data} for name, data in pieces])
    for text in (log, "".join(data for _, data in pieces)):
        assert is_clean(log_text(text))
        failure = explain_log(text, Cells(()), message)
        assert is_clean(failure.as_text()) and is_clean(json.dumps(asdict(failure), ensure_ascii=False))


def test_a_key_cut_in_two_by_another_stream_is_found() -> None:
    pieces = [("stdout", KEY[:14]), ("stderr", "a warning"), ("stdout", KEY[14:])]
    text = log_text(json.dumps([{"stream_name": name, "data": data} for name, data in pieces]))
    assert text == "***a warning" and KEY[:14] not in text


def test_the_journal_keeps_no_secret(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.record("outputs", {"kernel": "kim/x", "note": KEY}, files={f"{KEY}.txt": 1}, error=f"bad {KEY}")
    assert journal.done("outputs", {"kernel": "kim/x", "note": KEY}) == {"files": {"***.txt": 1}, "error": "bad ***"}
    journal.close()
    assert KEY.encode() not in (tmp_path / "journal.db").read_bytes()


def test_what_a_killed_push_had_staged_goes_with_the_next_push(tmp_path: Path) -> None:
    left = tmp_path / "staging" / "datasets" / "another" / "weights.bin"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    with only_push(tmp_path):
        assert not (tmp_path / "staging").exists()


@pytest.mark.parametrize(
    "config",
    [
        {"experiment": ["v1"], "folds": ["fold0.safetensors"]},
        {"experiment": {"name": "v1"}, "folds": ["../../secret"]},
        {"experiment": {"name": "v1"}, "folds": [1]},
        {"experiment": {"name": f"v1\x1b[2J{KEY}"}, "folds": "fold0"},
    ],
)
def test_an_odd_training_is_one_message(tmp_path: Path, config: dict) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"format": 1, **config}))
    with pytest.raises(CheckFailed) as failed:
        verify_training(tmp_path, "v1")
    assert is_clean(str(failed.value))

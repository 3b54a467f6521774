"""A file that is not a notebook of format 4 is named in one line: what it is, what was expected, what to do."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import notebook_of
from build.notebooks.notebook_file import NotANotebook, origin_of, read_bytes, read_notebook, sources_sha256, tags_of
from build.notebooks.seal import has_outputs, is_untouched
from build.notebooks.synced import SYNCED, is_synced
from build.run.rehearse.rehearsal import rehearse
from build.sync.notebook_sync import run_diff, run_sync
from tests.build.sync.conftest import Toy

CELL = {"cell_type": "code", "id": "a", "metadata": {}, "source": "print('é')", "outputs": [], "execution_count": None}
WHOLE = {"cells": [CELL] * 400, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
TEXT = json.dumps(WHOLE, ensure_ascii=False)
PAGE = "<!DOCTYPE html>\n<html><head><title>notebook | Kaggle</title></head><body>" + "x" * 9000 + "</body></html>"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 1600000\n"
FAULTS = Path(__file__).resolve().parents[3].parent / "shared" / "faults"


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("n.ipynb"), TEXT)
    return target.getvalue()


OTHERS: dict[str, tuple[bytes, str]] = {
    "UTF-16 with its mark, as PowerShell writes it": (
        TEXT.encode("utf-16"),
        "is UTF-16 text.* → save it again as UTF-8",
    ),
    "UTF-16 the other way round": (b"\xfe\xff" + TEXT.encode("utf-16-be"), "is UTF-16 text"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "is UTF-16 text"),
    "UTF-16 without a mark, big-endian": (TEXT.encode("utf-16-be"), "is UTF-16 text"),
    "UTF-32": (TEXT.encode("utf-32"), "is UTF-32 text"),
    "Latin-1": (TEXT.encode("latin-1"), "is not UTF-8 text"),
    "a web page": (PAGE.encode(), "is a web page .* → download the file itself"),
    "a web page in capitals, with a mark": (b"\xef\xbb\xbf \n" + PAGE.upper().encode(), "is a web page"),
    "a page in XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
    "a Git LFS pointer": (POINTER.encode(), "is a Git LFS pointer.* → run `git lfs pull`"),
    "a script": (b'"""Docstring."""\nimport json\nprint(json.dumps(1))\n', "is a Python script.* → edit kernel_src/"),
    "a percent script": (b"# %%\nx = 1\n", "is a Python script"),
    "prose": (b"Dear all, the notebook follows. " * 99, "is text, but not JSON"),
    "a zip": (zipped(), "is a zip archive.* → unpack it"),
    "a gzip": (gzip.compress(TEXT.encode(), mtime=0), "is a gzip archive"),
    "RTF": (b"{\\rtf1\\ansi print(1)}", "is a word processor's text"),
    "a PDF": (b"%PDF-1.7\n" + b"\x80" * 99, "is a PDF"),
    "nothing": (b"", "is empty"),
    "blanks": (b" \n\n", "is empty"),
    "half a download": (TEXT[:5000].encode(), "is JSON that ends too early"),
    "a comma too many": (TEXT.replace('"nbformat_minor"', ",", 1).encode(), "is JSON that cannot be read in line 1"),
    "conflict markers": (
        json.dumps(WHOLE, indent=1).replace("\n ],", "\n<<<<<<< HEAD\n ],", 1).encode(),
        "contains git's conflict markers",
    ),
    "an answer of a server": (b'{"code": 404, "message": "Not found"}', "is JSON, but not a notebook: it holds 'code'"),
    "an empty object": (b"{}", "is JSON, but not a notebook: it holds nothing"),
    "a list": (b"[1, 2]", "is JSON, but a list"),
    "a number": (b"7", "is JSON, but a number"),
    "format 3": (
        b'{"nbformat": 3, "worksheets": []}',
        "is of notebook format 3, not 4 → open it in Jupyter and save it",
    ),
    "format 5": (b'{"nbformat": 5, "cells": []}', "is of notebook format 5"),
    "a format in words": (b'{"nbformat": "4", "cells": []}', "is of notebook format '4'"),
    "no cells": (b'{"nbformat": 4}', "is a notebook without a list of cells"),
    "a cell that is none": (json.dumps(WHOLE | {"cells": [CELL, None]}).encode(), "cell 2 is nothing"),
    "a source that is none": (
        json.dumps(WHOLE | {"cells": [CELL | {"source": 7}]}).encode(),
        "cell 1 has a number for its text",
    ),
    "half a character": (json.dumps(WHOLE | {"cells": [CELL | {"source": "\ud800"}]}).encode(), "cell 1 contains half"),
    "metadata that are none": (
        json.dumps(WHOLE | {"metadata": "x" * 9000}).encode(),
        "the notebook has .* for its metadata",
    ),
    "outputs that are none": (
        json.dumps(WHOLE | {"cells": [CELL | {"outputs": [1]}]}).encode(),
        "cell 1 has malformed outputs",
    ),
}


@pytest.mark.parametrize("content, said", OTHERS.values(), ids=OTHERS.keys())
def test_what_is_no_notebook_is_named_in_one_line_with_what_to_do(content: bytes, said: str) -> None:
    with pytest.raises(NotANotebook, match=said) as refused:
        read_notebook(content)
    line = str(refused.value)
    assert " → " in line and "\n" not in line and len(line) < 250


@pytest.mark.parametrize("run", [run_sync, run_diff])
@pytest.mark.parametrize("content", [one for one, _ in OTHERS.values()], ids=OTHERS.keys())
def test_sync_and_diff_say_so_and_write_nothing(run: Callable[..., None], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        run(path, False, root=tmp_path)
    assert str(refused.value).startswith(f"{path} ") and "\n" not in str(refused.value)
    assert [one.name for one in tmp_path.rglob("*")] == ["n.ipynb"]


def test_the_rehearsal_says_so_before_it_lays_anything_out(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_bytes(TEXT.encode("utf-16"))
    with pytest.raises(UsageError, match="n.ipynb is UTF-16 text"):
        rehearse(path, data=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    built = tmp_path / "notebooks" / "x" / "x.ipynb"
    built.parent.mkdir(parents=True)
    built.write_bytes(TEXT.encode("utf-16"))
    with pytest.raises(UsageError, match="x.ipynb is UTF-16 text"):
        notebook_of("x", tmp_path / "notebooks")


@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs ../shared/faults, which is not at hand")
def test_the_notebook_that_printed_itself_is_refused_in_one_line() -> None:
    with pytest.raises(NotANotebook, match="is UTF-16 text"):
        read_notebook((FAULTS / "10" / "tiny-utf16.ipynb").read_bytes())


def test_a_byte_order_mark_lines_and_missing_metadata_are_as_good_as_none() -> None:
    cell = {"cell_type": "markdown", "source": ["# a\n", "b"], "metadata": None}
    notebook = read_notebook(b"\xef\xbb\xbf" + json.dumps({"nbformat": 4, "cells": [cell]}).encode())
    assert notebook["cells"][0]["source"] == "# a\nb" and notebook["cells"][0]["outputs"] == []
    assert sources_sha256(notebook) == "" and tags_of(notebook["cells"][0]) == ()


@pytest.mark.parametrize("stitch", [None, 3, "x", [], {"source": 3, "lines": "abc"}, {"lines": 7}, {"source": ["x"]}])
def test_metadata_of_wrong_types_are_as_if_they_said_nothing(stitch: object) -> None:
    assert origin_of({"metadata": {"stitch": stitch}}) == {"source": "", "lines": []}
    assert tags_of({"metadata": {"tags": stitch}}) == ()
    assert sources_sha256({"metadata": {"stitch": stitch}}) == ""


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.ipynb"):
        with pytest.raises(NotANotebook, match="is a folder|cannot be read: No such file"):
            read_bytes(path)


@pytest.mark.parametrize(
    "content",
    [one for one, _ in OTHERS.values()]
    + [b'{"cells": 3, "metadata": {"kit": {}}}', b'{"cells": [1], "metadata": []}', b"[" * 100_000],
    ids=lambda content: repr(content[:30]),
)
def test_the_seal_of_what_is_no_notebook_is_broken_and_no_traceback(content: bytes, toy: Toy) -> None:
    toy.sync()  # there are notebooks that were synced
    (toy.root / SYNCED).mkdir(parents=True, exist_ok=True)
    assert not is_untouched(content) and not is_synced(toy.root, content) and has_outputs(content) in {True, False}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_a_notebook_without_its_build_is_not_called_broken(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(TEXT)
    with pytest.raises(CheckFailed, match="does not say which build it came from"):
        run_diff(path, False, root=tmp_path)

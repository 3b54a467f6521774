"""A notebook comes from anywhere: whatever it says, nothing outside is read or written, and no traceback is shown."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from build.core.errors import CheckFailed, UsageError
from build.kaggle.pull import save_pulled, sync_pulled
from build.notebooks.base import BUILDS, find
from build.notebooks.edited_cells import parse
from build.notebooks.notebook_file import NotANotebook
from build.run.rehearse.executed_cells import read_cells
from build.sync import notebook_sync
from build.sync.notebook_sync import look, run_diff, run_sync
from tests.build.sync.conftest import MAIN, PARAMETERS, SOURCES, Toy
from tests.build.sync.hostile import nothing_outside, tree

EVIL = "../push/outputs/kernel/evil"  # from out/builds/: what a kernel left, as it was downloaded


LONGEST_LINE = 1000


def plant(toy: Toy, target: Path, payload: str = "import os  # owned\n") -> None:
    """Lay a build as a kernel's output that names `target` as one of its sources."""
    folder = toy.root / "out/push/outputs/kernel"
    folder.mkdir(parents=True)
    (folder / "payload").write_text(payload)
    sources = {str(target): "../../push/outputs/kernel/payload"}
    (folder / "evil.json").write_text(json.dumps({"main": MAIN, "parameters": "{}", "sources": sources}))


def saying(toy: Toy, sha256: object) -> bytes:
    """The toy's notebook with another hash of its sources, and without the note in its first cell."""
    toy.notebook["metadata"]["stitch"]["source_sha256"] = sha256
    first = toy.notebook["cells"][0]
    first["source"] = first["source"].partition("\n\n*Stitched from")[0]
    return json.dumps(toy.notebook).encode()


# -- the holes that were found ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["sync", "diff", "pulled"])
def test_a_hash_that_is_a_path_overwrites_no_file(verb: str, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    victim = tmp_path / "victim.py"
    victim.write_text("mine\n")
    plant(toy, victim)
    notebook = toy.root / "mailed.ipynb"
    notebook.write_bytes(saying(toy, EVIL))
    with nothing_outside(tmp_path), pytest.raises(CheckFailed, match="does not say which build it came from"):
        if verb == "pulled":
            sync_pulled(save_pulled("i2b-toy-infer", notebook.read_text(), toy.root), False, root=toy.root, yes=True)
        else:
            (run_sync if verb == "sync" else run_diff)(notebook, False, root=toy.root)
    assert victim.read_text() == "mine\n"


def test_the_notebook_itself_is_never_its_own_build(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    victim = tmp_path / "victim.py"
    victim.write_text("mine\n")
    notebook = toy.root / "out/mailed.json"
    content = json.loads(saying(toy, "../mailed")) | {
        "main": MAIN,
        "parameters": "{}",
        "sources": {str(victim): "../../x"},
    }
    notebook.write_text(json.dumps(content))
    with nothing_outside(tmp_path), pytest.raises(CheckFailed, match="does not say"):
        run_sync(notebook, False, root=toy.root)


def test_a_hash_that_begins_like_an_option_of_git_runs_nothing(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    marker = tmp_path / "ran"
    folder = toy.root / "notebooks/x"
    folder.mkdir(parents=True)
    option = f"-Otouch {marker};:"
    (folder / "x.ipynb").write_bytes(saying(toy, option))
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init"], ["add", "."], ["commit", "-m", "x"]):
        subprocess.run(["git", "-C", toy.root, *who, *words], check=True, capture_output=True)
    head = subprocess.run(["git", "-C", toy.root, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    (folder / "y.ipynb").write_text(head.stdout)  # so that the pattern, which is the commit then, is found somewhere
    subprocess.run(["git", "-C", toy.root, "add", "."], check=True, capture_output=True)
    with pytest.raises(CheckFailed, match="does not say"):
        run_diff(folder / "x.ipynb", False, root=toy.root)
    with pytest.raises(ValueError, match="is not a sha256"):
        find(toy.root, option)
    assert not marker.exists()


# -- diff ----------------------------------------------------------------------------------------------------------


def test_diff_writes_nothing_at_all_also_of_a_build_that_only_git_knows(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_sync, "guesses", lambda name: [PARAMETERS])
    folder = toy.root / "notebooks/i2b-toy-infer"
    folder.mkdir(parents=True)
    notebook = folder / "i2b-toy-infer.ipynb"
    notebook.write_text(json.dumps(toy.notebook))
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init"], ["add", "kernel_src", "notebooks"], ["commit", "-m", "built"]):
        subprocess.run(["git", "-C", toy.root, *who, *words], check=True, capture_output=True)
    shutil.rmtree(toy.root / "out")
    toy.replace("print(both(4))", "print(both(5))")
    notebook.write_text(json.dumps(toy.notebook))
    before = tree(toy.root)
    run_diff(notebook, False, root=toy.root)
    assert tree(toy.root) == before and not (toy.root / "out").exists()
    run_sync(notebook, False, root=toy.root)
    assert "print(both(5))" in toy.text("infer") and list((toy.root / BUILDS).glob("*.json"))


def test_diff_finishes_no_write_that_was_interrupted(toy: Toy) -> None:
    notebook = toy.root / "toy.ipynb"
    notebook.write_text(json.dumps(toy.notebook))
    (toy.root / "out/sync/pending").mkdir(parents=True)
    before = tree(toy.root)
    with pytest.raises(CheckFailed, match="a sync was interrupted"):
        run_diff(notebook, False, root=toy.root)
    assert tree(toy.root) == before


# -- anything ------------------------------------------------------------------------------------------------------

PATHS = st.sampled_from(
    [
        EVIL,
        "../evil",
        "../../../outer.py",
        "/etc/passwd",
        "-Otouch x",
        "--output=x",
        "kernel_src/../../x.py",
        "..",
        "~/x",
    ]
    + [
        "kernel_src/data/tool.py",
        MAIN,
        "a" * 64,
        "A" * 64,
        "a" * 64 + "\n",
        "con:x.py",
        "x\x1b[2J.py",
        "\ud800",
        "\0",
    ]
)


ODD: st.SearchStrategy[Any] = st.one_of(
    PATHS,
    st.text(max_size=20),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.just(10**4000),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    st.just(["a", 1, None, {}]),
)


DEEP = [
    "x = " + "(" * 190 + ")" * 190,
    "x = " + "-" * 90_000 + "1",
    "x = a" + ".b" * 30_000,
    "x = " + "[" * 90 + "]" * 90,
]


TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from([*range(len(DEEP)), "def f(:", "!rm -rf /", "%%bash\nrm", "\0", "\ud800", "x = 1" + "0" * 5000]),
    st.builds("# {}\nprint(1)".format, PATHS),
    st.builds("*Stitched from `{}`; sources sha256 `{}`. Edit the sources, not this notebook.*".format, PATHS, PATHS),
)


CELL = st.tuples(
    st.just("cell"), st.integers(0, 12), st.sampled_from(["cell_type", "source", "metadata", "id", "outputs"]), ODD
)


CHANGES = st.one_of(
    st.tuples(st.just("stitch"), st.sampled_from(["source_sha256", "main", "format"]), ODD),
    st.tuples(st.just("top"), st.sampled_from(["metadata", "nbformat", "cells", "nbformat_minor"]), ODD),
    CELL,
    st.tuples(st.just("kind"), st.integers(0, 12), st.sampled_from(["raw", "markdown", "code", "heading", ""])),
    st.tuples(st.just("text"), st.integers(0, 12), TEXTS),
    st.tuples(st.just("origin"), st.integers(0, 12), ODD, ODD),
    st.tuples(st.just("tags"), st.integers(0, 12), ODD),
    st.tuples(st.just("insert"), st.integers(0, 12), TEXTS, st.sampled_from(["raw", "markdown", "code"])),
    st.tuples(st.just("same ids")),
)


def change(notebook: dict[str, Any], one: tuple[Any, ...]) -> None:
    """Make one change; of what an earlier one has destroyed there is nothing left to change."""
    verb, *words = one
    if verb in {"text", "insert"} and isinstance(words[1], int):
        words[1] = DEEP[words[1]]
    cells = notebook["cells"]
    if verb == "top":
        notebook[words[0]] = words[1]
    elif not isinstance(cells, list) or not isinstance(notebook["metadata"], dict):
        return
    elif verb == "stitch":
        notebook["metadata"]["stitch"] = {**notebook["metadata"].get("stitch", {}), words[0]: words[1]}
    elif verb == "same ids":
        for cell in filter(lambda cell: isinstance(cell, dict), cells):
            cell["id"] = "same"
    elif verb == "insert":
        cells.insert(words[0], {"cell_type": words[2], "id": "new", "metadata": {}, "source": words[1]})
    else:
        cell = cells[words[0] % len(cells)] if cells else None
        if not isinstance(cell, dict):
            return
        if verb == "cell":
            cell[words[1]] = words[2]
        elif verb in {"kind", "text"}:
            cell["cell_type" if verb == "kind" else "source"] = words[1]
        elif isinstance(cell.get("metadata"), dict):
            cell["metadata"] |= (
                {"stitch": {"source": words[1], "lines": words[2]}} if verb == "origin" else {"tags": words[1]}
            )


def try_everything(outer: Path, content: bytes) -> None:
    """Give a notebook to every command that reads one; each may refuse it in short lines, and do nothing outside."""
    root = outer / "kit"
    notebook = root / "mailed.ipynb"
    notebook.write_bytes(content)
    with nothing_outside(outer):
        before = tree(root)
        refused(lambda: run_diff(notebook, False, root=root))
        refused(lambda: run_diff(notebook, True, root=root))
        refused(lambda: read_cells(notebook))
        assert tree(root) == before
        pulled = save_pulled("i2b-toy-infer", content.decode(errors="replace"), root)
        refused(lambda: sync_pulled(pulled, False, root=root))
        kept = {name: one for name, one in tree(root).items() if not name.startswith("out/")}
        assert kept == {name: one for name, one in before.items() if not name.startswith("out/")}
        refused(lambda: run_sync(notebook, False, root=root))
    changed = {name for name in tree(root).keys() | before.keys() if tree(root).get(name) != before.get(name)}
    assert all(name.startswith(("out/sync", "out/builds/", "kernel_src/")) for name in changed), changed
    assert {name for name in tree(root) if name.startswith("kernel_src/")} == {
        name for name in before if name.startswith("kernel_src/")
    }


def refused(run: Any) -> None:
    try:
        run()
    except CheckFailed as failed:
        lines = [str(problem) for problem in failed.problems]
    except (UsageError, NotANotebook) as wrong:
        lines = [str(wrong)]
    else:
        return
    assert all(len(line) < LONGEST_LINE and "\n" not in line for line in lines), lines


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Toy]:
    """A kit with an outside around it: a secret, and what a kernel left."""
    outer = tmp_path_factory.mktemp("outer")
    toy = Toy(outer / "kit")
    plant(toy, outer / "outer.py")
    (outer / "outer.py").write_text("mine\n")
    (outer / "evil.json").write_text("{}")
    return outer, toy


def try_changes(changes: list[tuple[Any, ...]], laid_out: tuple[Path, Toy]) -> None:
    outer, toy = laid_out
    notebook = json.loads(json.dumps(toy.notebook))
    for one in changes:
        change(notebook, one)
    try_everything(outer, json.dumps(notebook).encode())
    for where, text in SOURCES.items():
        (toy.root / where).write_text(text)
    shutil.rmtree(outer / "kit/out/sync", ignore_errors=True)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(CHANGES, min_size=1, max_size=4))
@example(changes=[("stitch", "source_sha256", EVIL), ("text", 4, 1)])
@example(changes=[("text", 4, 2)])
@example(changes=[("insert", 5, "# kernel_src/../../x.py\nprint(1)", "code")])
@example(changes=[("kind", 5, "raw"), ("kind", 1, "code")])
def test_whatever_a_notebook_says_nothing_outside_is_touched(
    changes: list[tuple[Any, ...]], laid_out: tuple[Path, Toy]
) -> None:
    try_changes(changes, laid_out)


@pytest.mark.full
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(CHANGES, min_size=1, max_size=6))
def test_the_same_with_many_more_notebooks(changes: list[tuple[Any, ...]], laid_out: tuple[Path, Toy]) -> None:
    try_changes(changes, laid_out)


@pytest.mark.parametrize(
    "content",
    [
        b'{"nbformat": 4, "metadata": {}, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"nbformat": 4, "metadata": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b', "cells": []}',
        b'{"nbformat": ' + b"9" * 10_000 + b', "cells": []}',
        b'{"nbformat": NaN, "cells": []}',
        b'{"nbformat": 4, "cells": {"a": 1}}',
        b'{"nbformat": 4, "cells": [null, 3, "x", []]}',
        b'{"nbformat": true, "cells": []}',
        b"[]",
        b"null",
        b"\xff\xfe{\0",
        b"\x80\x81",
        b"",
    ],
    ids=lambda content: repr(content[:40]),
)
def test_json_as_nobody_writes_it_is_refused_in_one_line(content: bytes, laid_out: tuple[Path, Toy]) -> None:
    try_everything(laid_out[0], content)


@pytest.mark.parametrize("inside", ["COUNT = 3", "print(both(4))", "LIMIT = 3"])
def test_a_number_that_python_does_not_write_is_refused(inside: str, toy: Toy) -> None:
    toy.replace(inside, f"{inside} + 0x{'f' * 5000}" if inside.startswith("COUNT") else f"{inside}; x = 0x{'f' * 5000}")
    assert "contains a number that is too long to be written" in toy.refusals()


def test_the_deepest_cell_is_named(toy: Toy) -> None:
    toy.replace("print(both(4))", "print(both(4))\n" + DEEP[2])
    with pytest.raises(CheckFailed) as failed:
        result = toy.look()
        if result.problems:
            raise CheckFailed(result.problems)
    assert "nested too deeply" in str(failed.value) and str(failed.value).startswith("cell ")


def test_what_steers_a_terminal_is_shown_as_text(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.replace("print(both(4))", 'print(both(4), "\x1b]0;owned\x07\x1b[2J")')
    toy.insert_below("print(both(4)", "x\x1b[2J", "raw")
    notebook = toy.root / "toy.ipynb"
    notebook.write_text(json.dumps(toy.notebook))
    run_diff(notebook, False, root=toy.root)
    run_sync(notebook, False, root=toy.root)
    said = capsys.readouterr().out
    assert "\\x1b]0;owned" in said and "\x1b" not in said and "\x07" not in said


def test_a_hash_in_another_spelling_is_as_if_the_notebook_said_none(toy: Toy) -> None:
    real = toy.notebook["metadata"]["stitch"]["source_sha256"]
    for odd in (real.upper(), f"{real}\n", real[:63], [real], {"a": real}, 7, None, True):
        assert parse(saying(toy, odd)).sha256 == ""
    assert parse(saying(toy, real)).sha256 == real


def test_a_file_whose_name_is_no_text_is_written_back_like_any_other(
    toy: Toy, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    toy.replace("print(both(4))", "print(both(5))")
    notebook = toy.root / os.fsdecode(b"n\xff\x1b[2J.ipynb")
    notebook.write_text(json.dumps(toy.notebook))
    run_sync(notebook, False, root=toy.root)
    run_sync(notebook, False, root=toy.root)
    said = capsysbinary.readouterr().out
    assert "print(both(5))" in toy.text("infer") and b"\x1b" not in said and b"nothing new" in said


def test_the_bytes_of_a_device_or_a_folder_are_not_awaited(toy: Toy, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ipynb")
    for path in (tmp_path, tmp_path / "pipe.ipynb", Path("/dev/zero"), Path("a\0b"), tmp_path / ("x" * 300)):
        with pytest.raises(UsageError):
            look(path, toy.root)

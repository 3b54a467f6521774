"""`sync` and `sync --dry-run` as they are typed: what is shown, what is written, and which exit code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from build import cli
from build.core.errors import CheckFailed
from build.notebooks.base import BUILDS
from build.sync import notebook_sync
from tests.build.sync.conftest import PARAMETERS, Toy

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def copy(toy: Toy, tmp_path: Path) -> Path:
    """A copy of the notebook, anywhere, with an edit."""
    toy.replace("return round(number, LIMIT)", "return round(number, LIMIT + 1)")
    path = tmp_path / "mailed.ipynb"
    path.write_text(json.dumps(toy.notebook))
    return path


@pytest.fixture
def type_(toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command in the toy's folder; return exit code, stdout and stderr."""
    for function in (notebook_sync.run_sync, notebook_sync.run_diff):
        monkeypatch.setitem(function.__kwdefaults__, "root", toy.root)

    def typed(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["build", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return typed


def test_diff_shows_each_modules_lines_and_writes_nothing(toy: Toy, copy: Path, type_: Type) -> None:
    before = toy.sources
    code, out, _ = type_("sync", "--dry-run", str(copy))
    assert code == 0 and toy.sources == before
    assert "--- kernel_src/data/tool.py" in out
    assert "-    return round(number, LIMIT)\n+    return round(number, LIMIT + 1)" in out
    assert "other.py" not in out


def test_diff_is_coloured_on_a_terminal(copy: Path, type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    _, out, _ = type_("sync", "--dry-run", str(copy))
    assert "\x1b[32m+    return round(number, LIMIT + 1)" in out
    assert "\x1b[31m-    return round(number, LIMIT)" in out


def test_sync_tells_what_changed_and_diff_has_nothing_left_to_show(toy: Toy, copy: Path, type_: Type) -> None:
    code, out, _ = type_("sync", str(copy))
    assert code == 0 and "changed     kernel_src/data/tool.py\nbackup      out/sync/backup/0001" in out
    assert "LIMIT + 1" in toy.text("tool")
    assert type_("sync", "--dry-run", str(copy))[:2] == (0, f"{copy}: nothing to sync\n")


def test_a_conflict_ends_with_1_and_says_where_its_markers_are(toy: Toy, copy: Path, type_: Type) -> None:
    toy.write("tool", toy.text("tool").replace("round(number, LIMIT)", "round(number, LIMIT - 1)"))
    before = toy.sources
    code, _, err = type_("sync", str(copy))
    assert code == 1 and toy.sources == before
    assert "resolve the <<<<<<< in out/sync/conflicts/kernel_src/data/tool.py.rej" in err
    code, _, err = type_("sync", "--dry-run", str(copy))
    assert code == 1 and "changed the same lines differently" in err
    code, _, err = type_("sync", str(copy), "--conflicts", "source")
    assert code == 1 and "<<<<<<< sources" in toy.text("tool")


def test_scripts_get_one_json_object(toy: Toy, copy: Path, type_: Type) -> None:
    code, out, _ = type_("sync", "--dry-run", str(copy), "--json")
    assert code == 0 and "+    return round(number, LIMIT + 1)" in json.loads(out)["diffs"]["kernel_src/data/tool.py"]
    code, out, _ = type_("sync", str(copy), "--json")
    assert code == 0 and json.loads(out)["changed"] == ["kernel_src/data/tool.py"]
    toy.write("tool", toy.text("tool").replace("LIMIT + 1", "LIMIT - 1"))
    code, out, _ = type_("sync", str(copy), "--json")
    assert code == 1 and json.loads(out)["ok"] is False


def test_what_is_no_notebook_ends_with_2(type_: Type, tmp_path: Path) -> None:
    code, _, err = type_("sync", str(tmp_path / "nowhere.ipynb"))
    assert code == 2 and "nowhere.ipynb" in err


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True)


def test_without_the_store_the_build_is_found_in_gits_history(toy: Toy) -> None:
    """A fresh clone, and a notebook that a colleague built two commits ago."""
    folder = toy.root / "notebooks" / "i2b-toy-infer"
    folder.mkdir(parents=True)

    def commit() -> None:
        (folder / "i2b-toy-infer.ipynb").write_text(json.dumps(toy.build()))
        git(toy.root, "add", "kernel_src", "notebooks")
        git(toy.root, "commit", "-m", "built")

    git(toy.root, "init")
    commit()
    old = json.loads(json.dumps(toy.notebook))
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
    commit()
    shutil.rmtree(toy.root / BUILDS)
    toy.notebook = old
    toy.replace("print(both(4))", "print(both(5))")
    toy.sync(guesses=[PARAMETERS])
    assert "print(both(5))" in toy.text("infer") and "LIMIT = 4" in toy.text("tool")


def test_a_build_that_nobody_knows_is_refused(toy: Toy) -> None:
    shutil.rmtree(toy.root / BUILDS)
    git(toy.root, "init")
    with pytest.raises(CheckFailed, match="neither in out/builds/ nor in git's history"):
        toy.sync()

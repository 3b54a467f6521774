"""An edit made in Kaggle's editor is written back into the sources, through the real client."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.kaggle.pull import fetch_pulled, save_pulled, sync_pulled
from build.sync.notebook_sync import run_sync
from tests.build.kaggle.desk import copy_kit
from tests.build.sync.conftest import Toy

SLUG = "i2b-toy-infer"


def as_kaggle_keeps_it(notebook: dict, old: str, new: str) -> str:
    """What the site gives back after an edit there and a run: no ids, metadata of its own, outputs, lists of lines."""
    content = json.loads(json.dumps(notebook))
    for number, cell in enumerate(content["cells"]):
        text = "".join(cell["source"])
        cell.pop("id", None)
        cell["source"] = text.replace(old, new).splitlines(keepends=True)
        cell["metadata"] = {"_uuid": f"{number:032x}", "trusted": True}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": number, "outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}]}
    content |= {"metadata": {"kaggle": {"accelerator": "nvidiaTeslaT4"}}, "nbformat_minor": 4}
    return json.dumps(content)


def put(site, slug: str, source: str) -> None:
    """Save a version on the site, as its editor does."""
    site.caller = "kim"
    site.save_kernel({"slug": f"kim/{slug}", "newTitle": slug.replace("-", " "), "text": source})


def pull(toy: Toy, *, as_json: bool = False, yes: bool = False, conflicts: str = "file") -> None:
    """Do what the verb does, in the toy's folder instead of this checkout."""
    sync_pulled(fetch_pulled("toy", "infer", toy.root), as_json, yes=yes, conflicts=conflicts, root=toy.root)


def test_an_edit_made_on_the_site_is_written_back(
    server, site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, json.dumps(toy.notebook))
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "print(both(4))", "print(both(5), both(6))"))
    before = toy.text("infer")
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))  # and one made here meanwhile
    pull(toy, yes=True)
    assert toy.text("infer") == before.replace("print(both(4))", "print(both(5), both(6))")
    assert "LIMIT = 4" in toy.text("tool")
    said = capsys.readouterr().out
    assert "changed     kernel_src/kernels/infer.py" in said
    assert said.count("what was synced is code that the next build, test or run executes") == 1
    assert (toy.root / f"out/sync/pulled/{SLUG}.ipynb").is_file()
    assert [seen.name for seen in server.log if seen.name == "GetKernel"]


def test_what_comes_from_the_site_is_shown_and_written_only_once_somebody_has_agreed(
    server, site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "print(both(4))", "print(both(5))"))
    before = toy.sources
    with pytest.raises(CheckFailed) as refused:  # nobody sits at this terminal
        pull(toy)
    assert "-print(both(4))\n+print(both(5))" in capsys.readouterr().out
    assert toy.sources == before and not (toy.root / "out/sync/backup").exists()
    pulled = f"out/sync/pulled/{SLUG}.ipynb"
    assert f"`python -m build sync {pulled}` writes what was shown" in str(refused.value)
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "print(both(4))", "import os; os.system('rm -rf ~')"))  # meanwhile
    run_sync(toy.root / pulled, False, root=toy.root)
    assert "print(both(5))" in toy.text("infer") and "rm -rf" not in toy.text("infer")


@pytest.mark.parametrize("answer, comes", [("y", True), ("YES", True), ("", False), ("n", False), (None, False)])
def test_on_a_terminal_the_question_follows_the_diff(
    server, site, answer: str | None, comes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "print(both(4))", "print(both(5))"))
    before = toy.sources

    def answered(question: str) -> str:
        assert question == "Write this to kernel_src/? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", answered)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with nullcontext() if comes else pytest.raises(CheckFailed, match="nothing was written to kernel_src"):
        pull(toy)
    assert (toy.sources != before) is comes


def test_a_script_that_asks_for_json_is_never_asked_anything(
    server, site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "print(both(4))", "print(both(5))"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(CheckFailed, match="python -m build sync --dry-run out/sync/pulled"):
        pull(toy, as_json=True)
    assert capsys.readouterr().out == ""
    pull(toy, yes=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["changed"] == ["kernel_src/kernels/infer.py"]


def test_a_kernel_that_nobody_edited_is_not_asked_about(server, site, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "nothing", "nothing"))
    pull(toy)


def test_conflict_markers_are_written_into_a_source_only_once_somebody_has_agreed(server, site, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "LIMIT = 3", "LIMIT = 5"))
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
    before = toy.sources
    with pytest.raises(CheckFailed, match="nothing was written to kernel_src"):
        pull(toy, conflicts="source")
    assert toy.sources == before


@pytest.mark.parametrize("source", ["<!DOCTYPE html><html></html>", "print(1)\n", "", "{}"])
def test_a_kernel_that_is_no_notebook_is_named_in_one_line(server, site, source: str, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    with pytest.raises(UsageError, match=f"{SLUG}.ipynb is ") as refused:
        sync_pulled(save_pulled(SLUG, source, toy.root), False, root=toy.root)
    assert "\n" not in str(refused.value)


def test_what_both_sides_changed_is_a_conflict_and_the_pulled_kernel_is_kept(server, site, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    put(site, SLUG, as_kaggle_keeps_it(toy.notebook, "LIMIT = 3", "LIMIT = 5"))
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
    with pytest.raises(CheckFailed, match="changed the same lines differently"):
        pull(toy)
    assert "LIMIT = 4" in toy.text("tool")
    assert "LIMIT = 5" in (toy.root / f"out/sync/pulled/{SLUG}.ipynb").read_text()


def test_a_kernel_that_is_not_on_the_site_is_named(server, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "kit")
    with pytest.raises(CheckFailed, match="there is no kernel kim/i2b-toy-infer on the site"):
        pull(toy)


@pytest.mark.full
def test_the_command_syncs_what_was_edited_on_the_site(server, site, tmp_path: Path) -> None:
    kit = copy_kit(tmp_path / "kit")

    def build(*arguments: str) -> str:
        command = [sys.executable, "-m", "build", *arguments]
        done = subprocess.run(command, cwd=kit, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    slug = "i2b-demo-infer"
    build("notebooks", "--experiment", "demo")
    notebook = json.loads((kit / "notebooks" / slug / f"{slug}.ipynb").read_text())
    put(site, slug, as_kaggle_keeps_it(notebook, "TREE_LINES = 60", "TREE_LINES = 61"))
    source = kit / "kernel_src/runtime/mounts.py"
    before = source.read_text()
    said = build("pull-kernel", "--experiment", "demo", "--yes")
    assert "changed     kernel_src/runtime/mounts.py" in said
    assert source.read_text() == before.replace("TREE_LINES = 60", "TREE_LINES = 61")
    assert "nothing new for the sources" in build("pull-kernel", "--experiment", "demo")

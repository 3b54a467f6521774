"""An edited file cell comes home to its file, byte for byte, and nothing else of a notebook names a file."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.core.errors import CheckFailed, UsageError
from build.notebooks.file_texts import note_texts
from build.stitch.as_files import stitch_files
from build.sync.command import sync_verb
from build.sync.file_sync import read_files_notebook, run_file_sync

MAIN = "from p import m, n\n\nprint(m.double(2), n.NAME)\n"
TEXTS = {
    "main.py": MAIN,
    "p/__init__.py": "",
    "p/m.py": "LIMIT = 3\n\n\ndef double(x):\n    y = x\n    return 2 * y\n\n\ndef other():\n    pass\n",
    "p/n.py": 'NAME = "näme"',  # no newline at its end
    "p/w.py": "A = 1\r\nB = 2\r\n",
    "p/s.py": "def f():\n    x = 1\n    \n    return x\n",
}


class Desk:
    """A foreign folder, its notebook in files mode, and a kit that has stitched it."""

    def __init__(self, tmp: Path) -> None:
        self.folder, self.kit, self.notebook = tmp / "theirs", tmp / "kit", tmp / "nb.ipynb"
        for path, text in TEXTS.items():
            self.file(path).parent.mkdir(parents=True, exist_ok=True)
            self.file(path).write_bytes(text.encode())
        self.stitch()
        note_texts(self.kit, TEXTS.values())

    def file(self, path: str) -> Path:
        return self.folder / path

    def stitch(self) -> None:
        self.notebook.write_bytes(stitch_files(self.file("main.py"), self.folder, data=["p/*"]).notebook)

    def edit(self, change: Callable[[str], str], begins: str = "") -> None:
        """Change the text of the cells of code, or of those that begin so."""
        content = json.loads(self.notebook.read_bytes())
        for cell in content["cells"]:
            if cell["cell_type"] == "code" and cell["source"].startswith(begins):
                cell["source"] = change(cell["source"])
        self.notebook.write_text(json.dumps(content))

    def replace(self, old: str, new: str) -> None:
        before = self.notebook.read_bytes()
        self.edit(lambda text: text.replace(old, new))
        assert self.notebook.read_bytes() != before, f"no cell holds {old!r}"

    def add(self, source: str) -> None:
        content = json.loads(self.notebook.read_bytes())
        content["cells"].append({"cell_type": "code", "source": source, "metadata": {}, "outputs": []})
        self.notebook.write_text(json.dumps(content))

    def sync(self, **more) -> None:
        run_file_sync(self.notebook, self.folder, False, root=self.kit, **more)

    def refusals(self, **more) -> list[str]:
        with pytest.raises(CheckFailed) as caught:
            self.sync(**more)
        return [str(problem) for problem in caught.value.problems]

    def texts(self) -> dict[str, str]:
        return {path: self.file(path).read_bytes().decode() for path in TEXTS if self.file(path).exists()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_untouched_notebook_has_nothing_to_sync(desk, capsys):
    desk.sync()
    assert desk.texts() == TEXTS and capsys.readouterr().out == f"{desk.notebook}: nothing to sync\n"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("main.py", "double(2)", "double(3)"),
        ("p/m.py", "LIMIT = 3", "LIMIT = 4  # ä"),
        ("p/m.py", "pass", "pass\n\n\nX = 1"),
        ("p/n.py", "näme", "name"),
        ("p/w.py", "B = 2", "B = 3"),
        ("p/s.py", "x = 1", "x = 2"),
    ],
)
def test_an_edit_comes_home_byte_for_byte(desk, capsys, path, old, new):
    desk.replace(old, new)
    desk.sync()
    assert desk.texts() == {**TEXTS, path: TEXTS[path].replace(old, new)}
    assert f"changed     {path}" in capsys.readouterr().out
    desk.sync()
    assert "nothing new for the sources" in capsys.readouterr().out


def test_it_is_merged_with_what_the_file_is_by_now(desk):
    desk.file("p/m.py").write_text(TEXTS["p/m.py"].replace("pass", "return 1"))
    desk.replace("LIMIT = 3", "LIMIT = 4")
    desk.sync()
    assert desk.texts()["p/m.py"] == TEXTS["p/m.py"].replace("pass", "return 1").replace("LIMIT = 3", "LIMIT = 4")


def test_both_sides_on_one_line_are_a_conflict_and_nothing_is_written(desk):
    desk.file("p/m.py").write_text(TEXTS["p/m.py"].replace("LIMIT = 3", "LIMIT = 5"))
    desk.replace("LIMIT = 3", "LIMIT = 4")
    desk.replace("double(2)", "double(3)")
    (reason,) = desk.refusals()
    assert reason.startswith(
        "p/m.py: the notebook and the file changed the same lines differently → resolve the <<<<<<<"
    )
    assert desk.texts()["main.py"] == MAIN and "LIMIT = 5" in desk.texts()["p/m.py"]
    assert "<<<<<<< sources\nLIMIT = 5\n" in (desk.kit / "out/sync/conflicts/p/m.py.rej").read_text()
    desk.refusals(conflicts="source")
    assert "<<<<<<< sources\nLIMIT = 5\n" in desk.texts()["p/m.py"] and "double(3)" in desk.texts()["main.py"]


def test_a_notebook_is_saved_and_synced_many_times(desk):
    for old, new in (("LIMIT = 3", "LIMIT = 4"), ("LIMIT = 4", "LIMIT = 5"), ("LIMIT = 5", "LIMIT = 3")):
        desk.replace(old, new)
        desk.sync()
        assert desk.texts() == {**TEXTS, "p/m.py": TEXTS["p/m.py"].replace("LIMIT = 3", new)}


def test_without_its_base_an_edit_comes_home_only_where_the_file_is_as_it_was(desk):
    for text in (desk.kit / "out/builds/files").iterdir():
        text.write_text("damaged")
    desk.file("p/m.py").write_text(TEXTS["p/m.py"].replace("pass", "return 1"))
    desk.replace("LIMIT = 3", "LIMIT = 4")
    desk.replace("double(2)", "double(3)")
    (reason,) = desk.refusals()
    assert "p/m.py was changed since the notebook was stitched, and what it was then is not known here" in reason
    desk.file("p/m.py").write_text(TEXTS["p/m.py"])
    desk.sync()
    assert "LIMIT = 4" in desk.texts()["p/m.py"] and "double(3)" in desk.texts()["main.py"]


@pytest.mark.parametrize("name", ["../out.py", "/etc/cron.d/x.py", ".git/hooks/x.py", "p/../../x.py", "link/x.py"])
def test_a_notebook_writes_nothing_outside_the_folder_whatever_it_lists(desk, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.py").write_text("mine\n")
    desk.file("link").symlink_to(tmp_path / "elsewhere")
    desk.replace("p/m.py", name)
    desk.replace("LIMIT = 3", "LIMIT = 4")
    (reason,) = desk.refusals()
    assert "cannot be synced: " in reason and desk.texts() == TEXTS
    assert (tmp_path / "elsewhere/x.py").read_text() == "mine\n" and not (tmp_path / "out.py").exists()


def test_a_file_that_is_not_listed_stays_in_the_notebook(desk, capsys):
    desk.add("%%writefile p/new.py\nX = 1")
    desk.sync()
    assert "writes 'p/new.py', which is no file of this notebook" in capsys.readouterr().out
    assert not desk.file("p/new.py").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda desk: desk.replace("LIMIT = 3", "LIMIT = ("), "p/m.py:1: syntax error → correct it"),
        (lambda desk: desk.add("%%writefile p/m.py\nX = 1"), "writes 'p/m.py', as cell 5 does, but otherwise"),
        (lambda desk: desk.file("p/m.py").unlink(), "p/m.py was deleted or moved since the notebook was stitched"),
        (lambda desk: desk.replace("    'NAME", "    f'NAME"), "does not hold the lines of one file any more"),
    ],
)
def test_what_cannot_come_home_is_refused_with_its_cell(desk, change, reason):
    desk.replace("double(2)", "double(3)")
    desk.replace("return 2 * y", "return 4 * y")
    change(desk)
    (said,) = desk.refusals()
    assert said.startswith("cell ") and reason in said, said
    assert desk.texts()["main.py"] == MAIN
    assert list((desk.kit / "out/sync/kept").iterdir())


def test_a_cell_that_was_deleted_leaves_its_file(desk, capsys):
    desk.edit(lambda _: "", "%%writefile p/m.py")
    desk.sync()
    assert "p/m.py has no cell any more: the file stays as it is" in capsys.readouterr().out and desk.texts() == TEXTS


def test_a_dry_run_shows_the_lines_and_writes_nothing(desk, capsys):
    desk.replace("LIMIT = 3", "LIMIT = 4")
    desk.sync(dry_run=True)
    assert "-LIMIT = 3\n+LIMIT = 4\n" in capsys.readouterr().out and desk.texts() == TEXTS


def test_a_script_that_may_be_executed_still_may(desk):
    os.chmod(desk.file("main.py"), 0o755)
    desk.replace("double(2)", "double(3)")
    desk.sync()
    assert desk.file("main.py").stat().st_mode & 0o777 == 0o755


def test_the_verb_asks_for_the_folder_and_an_inline_notebook_is_another_matter(desk):
    with pytest.raises(UsageError, match="name the folder where they lie: --root DIR"):
        sync_verb(desk.notebook)
    desk.notebook.write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    with pytest.raises(UsageError, match="is no notebook in files mode"):
        sync_verb(desk.notebook, root=desk.folder)


LINES = st.sampled_from(
    ["x = 1", "", "    ", "def f():", "    return 1", "# ä\u2028", "%time x", "!ls", "x?", "'''", "\tpass"]
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(LINES, min_size=1, max_size=8), st.lists(LINES, min_size=1, max_size=8), st.sampled_from(["", "\n"]))
def test_whatever_a_file_is_and_becomes_the_round_trip_is_whole(tmp_path_factory, before, after, end):
    """Stitch, edit the cell, sync, stitch again: the file has the edit, and so has the notebook."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.file("p/t.txt").write_bytes(("\n".join(before) + end).encode())
    desk.stitch()
    read = read_files_notebook(desk.notebook.read_bytes())
    assert read is not None
    if "p/t.txt" not in read.cells:  # it is empty
        return
    assert read.cells["p/t.txt"][1] == "\n".join(before) + end
    wanted = "\n".join(after) + "\n"
    (own,) = [one for one in sources(desk.notebook) if "p/t.txt" in one[:80]]
    desk.edit(lambda _: f"%%writefile p/t.txt\n{wanted}", own)
    desk.sync()
    assert desk.file("p/t.txt").read_bytes() == wanted.encode()
    desk.stitch()
    again = read_files_notebook(desk.notebook.read_bytes())
    assert again is not None and again.cells.get("p/t.txt", ("", ""))[1] == wanted


def sources(notebook: Path) -> list[str]:
    """The cells of code that write files."""
    cells = [cell["source"] for cell in json.loads(notebook.read_bytes())["cells"] if cell["cell_type"] == "code"]
    return [source for source in cells if source.startswith("%%writefile") or "write_file(\n" in source[:80]]

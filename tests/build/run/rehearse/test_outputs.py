"""What a notebook leaves for its host to trip over: links to credentials, pipes, forged notes."""

import json
from pathlib import Path

import pytest

from tests.build.run.rehearse.toys import WRITE, find_problem, rehearse_toy

SECRET = "secret-key-71c9"
TRAPS = """
import os, pathlib
secret = {secret!r}
for name in ("submission.csv", "inference_report.json", "run", "seen.json"):
    if os.path.lexists(name): os.unlink(name)
    os.symlink(secret, name)
os.symlink("submission.csv", "second")
os.symlink(os.path.dirname(secret), "folder")
os.symlink("plain.txt", "inner")
pathlib.Path("plain.txt").write_text("kept")
os.mkfifo("pipe")
os.makedirs("locked/inner"); os.symlink(secret, "locked/inner/x"); os.chmod("locked", 0)
pathlib.Path("tool").write_text("#!/bin/sh"); os.chmod("tool", 0o6755)
if {hard}: os.link(secret, "hard")
box = pathlib.Path(os.environ["HOME"]).parent
for name in ("output", "result", "events", "stacks", "progress"):
    (box / name).unlink(missing_ok=True)
    os.symlink(secret, box / name) if name != "events" else os.mkfifo(box / name)
"""
NOTES = r"""
box, inf = Path(os.environ["HOME"]).parent, float("inf")
said = {"images": 1, "predict_seconds": inf, "faults": [{"contained": inf}]}
said["device"] = {"a": -inf, "b": "\x1b[2J", "c": []}
Path("inference_report.json").write_text(json.dumps(said))
with (box / "progress").open("a") as lines:
    lines.write('[]\n{"index": "x"}\n{"state": "ended", "index": 1, "time": NaN}\n' + "[" * 100000 + "\n")
forged = {"target": "\x1b]0;x\x07", "time": 1.5, "cell": [], "line_cell": {}, "line": "x"}
with (box / "events").open("a") as lines:
    lines.write("5\n" + json.dumps(forged) + "\n")
"""


def test_links_pipes_and_second_names_are_neither_read_nor_kept(tmp_path: Path, isolation: str) -> None:
    secret = tmp_path / "home" / "kaggle.json"
    secret.parent.mkdir()
    secret.write_text(json.dumps({"key": SECRET}))
    report = rehearse_toy(
        tmp_path / "r", [TRAPS.format(secret=str(secret), hard=isolation == "guard")], isolation=isolation
    )
    assert not report.ok
    assert "is a link, not a file" in find_problem(report, "submission.csv").what
    working = tmp_path / "r/out/working"
    assert sorted(path.name for path in working.iterdir()) == ["inner", "locked", "plain.txt", "tool"]
    assert (working / "inner").read_text() == "kept" and not list((working / "locked/inner").iterdir())
    assert (working / "tool").stat().st_mode & 0o7777 == 0o755
    assert any(note.startswith("not kept of /kaggle/working:") for note in report.notes)
    printed = "\n".join(report.as_lines()) + json.dumps(report.as_json())
    assert SECRET not in printed
    for path in (tmp_path / "r/out").rglob("*"):
        assert path.is_dir() or SECRET not in path.read_text(errors="replace"), path


def test_forged_notes_are_no_traceback_and_no_control_characters(tmp_path: Path, namespaces: str) -> None:
    report = rehearse_toy(tmp_path / "r", [WRITE, NOTES], isolation=namespaces)
    json.loads((tmp_path / "r/out/report.json").read_text())
    assert report.projected_seconds_800 and report.device == {"rehearsed": "real", "b": "\\x1b[2J"}
    assert all(line.isprintable() for problem in report.problems for line in str(problem).splitlines())


@pytest.mark.parametrize(
    "left", ["5", "{}", '{"nbformat": 4, "cells": 5}', '{"nbformat": 4, "nbformat_minor": 4, "metadata": []}']
)
def test_an_executed_notebook_that_is_none_is_replaced_by_the_one_as_built(tmp_path: Path, left: str) -> None:
    from build.run.rehearse.keepsakes import keep_executed

    (tmp_path / "left").write_text(left)
    (tmp_path / "built").write_text("built")
    (note,) = keep_executed(tmp_path / "left", tmp_path / "built", tmp_path / "kept.ipynb")
    assert "as built, not as executed" in note and (tmp_path / "kept.ipynb").read_text() == "built"

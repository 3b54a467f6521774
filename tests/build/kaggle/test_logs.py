"""`make logs`: a run of before, line by line; one that goes on is followed."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.kaggle.command import logs_verb
from build.kaggle.journal import Journal
from build.kaggle.logs import newest_kernel
from build.kaggle.preparation import JOURNAL
from build.notebooks.builder import ROOT
from tests.build.kaggle.mishaps import LOG_LINES, log_of
from tests.build.kaggle.site import Stream
from tests.build.kaggle.test_pull_kernel import put
from tests.build.kaggle.test_runs import TRACEBACK

SLUG = "i2b-demo-infer"
NOTEBOOK = ROOT / "notebooks" / SLUG / f"{SLUG}.ipynb"


@pytest.fixture(autouse=True)
def two_versions(site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first failed, the second has just begun."""
    monkeypatch.chdir(tmp_path)
    for state in ("ERROR", "RUNNING"):
        site.kernel_states = [state]
        put(site, SLUG, NOTEBOOK.read_text())
    site.version_logs = {(SLUG, 1): log_of("hello", *TRACEBACK.split("\n")), (SLUG, 2): log_of(*LOG_LINES)}
    site.kernels[f"kim/{SLUG}"].states = ["RUNNING", "RUNNING", "COMPLETE"]


def test_of_a_version_of_before_every_line_is_printed_and_the_traceback_names_the_sources(capsys) -> None:
    logs_verb(experiment="demo", kernel="infer", version=1)
    lines = capsys.readouterr().out.splitlines()
    assert "      │ hello" in lines
    assert any("kernel_src/kernels/infer.py" in line and "(cell In[2], line 2)" in line for line in lines)
    assert lines[-1] == f"kim/{SLUG} version 1: ERROR: Your notebook threw an exception"


def test_the_newest_is_followed_until_it_ends_and_a_script_gets_its_lines(site, capsys) -> None:
    site.streams = [Stream(last=9, end="break")]
    logs_verb(experiment="demo", kernel="", version=None, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said.pop("lines") == list(LOG_LINES)
    assert said == {
        "ok": True,
        "kernel": f"kim/{SLUG}",
        "version": 2,
        "state": "COMPLETE",
        "failure": "",
        "remarks": [],
    }


def test_where_no_stream_is_offered_the_stored_log_is_shown(server, capsys) -> None:
    server.fault("StreamLog", status=404, times=100)
    logs_verb(experiment="demo", kernel="infer", version=1, as_json=True)
    assert json.loads(capsys.readouterr().out)["lines"][0] == "hello"


def test_it_changes_nothing_on_the_site(server, capsys) -> None:
    logs_verb(experiment="demo", kernel="infer", version=1)
    assert set(server.names()) == {"GetKernel", "GetKernelSessionStatus", "StreamLog"}
    assert not Path("out").exists()


@pytest.mark.parametrize(("version", "says"), [(7, f"no version 7 of kim/{SLUG}"), (None, "there is no kernel")])
def test_what_is_not_there_is_said(site, version: int | None, says: str) -> None:
    if version is None:
        site.kernels.clear()
    with pytest.raises(CheckFailed, match=says):
        logs_verb(experiment="demo", kernel="infer", version=version)


def test_a_kernel_that_the_experiment_has_not_is_refused_with_those_it_has(server) -> None:
    with pytest.raises(UsageError, match="infer or train|train or infer"):
        logs_verb(experiment="demo", kernel="features", version=None)
    assert server.names() == []


def test_without_a_name_it_is_the_notebook_that_was_pushed_last() -> None:
    assert newest_kernel("demo") == "infer"
    Journal(JOURNAL).record("kernel", {"kernel": "kim/i2b-demo-train"}, version=1)
    assert newest_kernel("demo") == "train"


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_come_back(site, server, mother, tmp_path: Path) -> None:
    site.kernels[f"kim/{SLUG}"].states = ["RUNNING"]
    site.streams = [Stream(hold_s=5)]
    kit = tmp_path / "kit"
    kit.mkdir()
    command = mother.start("logs", "--experiment", "demo", "--kernel", "infer", folder=kit)
    for _ in range(500):
        if (command.folder / "stderr").exists() and f"│ {LOG_LINES[-1]}" in command.output:
            break
        time.sleep(0.02)
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130
    assert "`make logs EXPERIMENT=demo KERNEL=infer` continues, and what runs on Kaggle goes on" in command.output
    assert "Traceback" not in command.output

"""The command: two processes on one storage, a killed one, another's study, and what is left in the end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import ROOT
from build.search.tuning import shared_storage
from build.search.tuning.command import tune
from build.search.tuning.study import is_dead, open_storage, open_study, release_killed, this_process
from tests.build.search.tuning.tiny_study import TINY, start, tune_command


def finish(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out)


WORKER = """
import sys, time
from pathlib import Path
from build.search.tuning.study import make_pruner, open_storage, open_study, optimize

def quadratic(trial):
    time.sleep(0.05)
    return -(trial.suggest_float("x", -1, 1) ** 2)

study = open_study("s", open_storage(sys.argv[1], Path(sys.argv[2])), {}, make_pruner("median", 4, 4))
optimize(study, quadratic, 20, print)
"""


@pytest.mark.full
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_processes_that_start_together_share_the_trials(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db" if kind == "sqlite" else ""
    command = [sys.executable, "-c", WORKER, url, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err[-2000:]
    storage = open_storage(url, tmp_path)
    trials = storage.get_all_trials(storage.get_study_id_from_name("s"))
    assert 20 <= len(trials) <= 21 and {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.number for trial in trials}) == len(trials)
    assert {trial.user_attrs["worker"]["pid"] for trial in trials} <= {process.pid for process in processes}


@pytest.mark.full
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_processes_share_one_study(kind: str, tiny_competition: Path, tmp_path: Path) -> None:
    more = ("--storage", f"sqlite:///{tmp_path}/study.db") if kind == "sqlite" else ()
    processes = [start(tune_command(tiny_competition, tmp_path, trials=6, more=more)) for _ in range(2)]
    reports = [finish(process) for process in processes]
    folder = tmp_path / "demo-fold0"
    # Each may be in a trial of its own when the sixth is finished.
    assert all(6 <= report["trials"]["complete"] <= 7 for report in reports)
    storage = open_storage(more[1] if more else "", folder)
    trials = storage.get_all_trials(storage.get_study_id_from_name("demo-fold0"))
    workers = {trial.user_attrs["worker"]["pid"] for trial in trials}
    assert workers == {process.pid for process in processes}, "both worked"
    best = json.loads((folder / "best.json").read_text())
    assert (
        best["score"] == max(trial.value for trial in trials) and best["changes"]["encoder.timm"] == "test_efficientnet"
    )
    assert {path.stem for path in folder.glob("*.png")} >= {"history", "slice", "parallel", "intermediate"}


@pytest.mark.full
def test_a_killed_search_goes_on_and_repeats_the_trial_that_was_cut_short(
    tiny_competition: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "demo-fold0" / "journal.log"
    process = start(tune_command(tiny_competition, tmp_path, trials=50))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and journal_trials(journal) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = journal_trials(journal)
    report = finish(start(tune_command(tiny_competition, tmp_path, trials=before + 1)))
    assert report["trials"].get("running", 0) == 0 and report["trials"]["complete"] == before + 1


def journal_trials(journal: Path) -> int:
    """Finished trials, read as another process would."""
    if not journal.is_file():
        return 0
    storage = open_storage(str(journal), journal.parent)
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name("demo-fold0"))
    except KeyError:
        return 0
    return sum(trial.state.name == "COMPLETE" for trial in trials)


# -- without training ----------------------------------------------------------------------------------------------


def begin(folder: Path, about: dict):
    return open_study("s", open_storage("", folder), about, None)


def test_a_dead_processes_trial_is_given_up_and_its_choices_come_first(tmp_path: Path) -> None:
    study = begin(tmp_path, {})
    for worker in (this_process(), {**this_process(), "began_s": 0.0}, {**this_process(), "host": "elsewhere"}):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr("worker", worker)
    assert release_killed(study) == 1
    assert [trial.state.name for trial in study.trials] == ["RUNNING", "FAIL", "RUNNING", "WAITING"]
    assert study.ask().suggest_float("x", 0, 1) == study.trials[1].params["x"]


def test_a_process_that_lives_is_not_dead_and_one_of_another_machine_is_not_judged() -> None:
    assert not is_dead(this_process()) and not is_dead({"host": "elsewhere", "pid": 1, "began_s": 0})
    child = subprocess.Popen(["sleep", "60"])
    worker = {**this_process(), "pid": child.pid}
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert is_dead(worker)


def test_a_study_that_measures_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    begin(tmp_path, {"outer_fold": 0, "space": {"x": "Range(0, 1)"}})
    begin(tmp_path, {"outer_fold": 0, "space": {"x": "Range(0, 1)"}})
    with pytest.raises(UsageError, match="outer_fold differ"):
        begin(tmp_path, {"outer_fold": 1, "space": {"x": "Range(0, 1)"}})


def test_a_process_that_loses_the_race_for_the_tables_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen with two processes on a new SQLite file: UNIQUE constraint failed: alembic_version.version_num."""
    from sqlalchemy.exc import IntegrityError

    tries = []

    def storage(url: str, heartbeat_s: int):
        tries.append(url)
        if len(tries) == 1:
            raise IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))
        return "opened"

    monkeypatch.setattr(shared_storage, "SharedStorage", storage)
    assert open_storage("sqlite:///x.db", tmp_path) == "opened" and len(tries) == 2


def test_a_missing_photograph_ends_the_search_in_one_line(tiny_competition: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_competition, tmp_path / "data"))
    shutil.rmtree(data / "train")
    with pytest.raises(CheckFailed) as caught:
        tune("demo", data, trials=1, set_values=TINY.split(), inner_folds=2, pruner="none", out=tmp_path / "out")
    where, what = str(caught.value).split(": ")
    assert where == str(data) and what.startswith(f"{data}/train/ID")
    assert what.endswith(".jpg does not exist → is the competition's data attached whole?")


def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_storage("sqlite:////nowhere/at/all/study.db", tmp_path)
    assert "cannot be opened" in str(caught.value)

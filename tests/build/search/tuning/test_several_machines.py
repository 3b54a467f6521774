"""Several processes on a real PostgreSQL: killed, cut off, gone on with elsewhere; no trial lost or counted twice.

Each process here could be on a machine of its own: nothing but the address of the database is common to them.
"""

import inspect
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.core.errors import UsageError
from build.notebooks.builder import ROOT
from build.search.tuning.shared_storage import SharedStorage, Unclaimed, shown, without_secrets
from build.search.tuning.study import open_storage, open_study, this_process
from tests.build.search.tuning.postgres import (
    PASSWORD,
    SAFE_PASSWORD,
    Postgres,
    Wire,
    find_programs,
    running_postgres,
    wait_until,
)
from tests.build.search.tuning.tiny_study import tune_command

PROGRAMS = find_programs()
needs_postgres = pytest.mark.skipif(PROGRAMS is None, reason="no PostgreSQL: apt-get install postgresql")

# Says each trial that it begins, and its result. The first word of a trial's line is its number.
WORKER = """
import sys, time
from pathlib import Path
from build.search.tuning.study import make_pruner, open_storage, open_study, optimize
url, trials, trial_s, folder = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])

def quadratic(trial):
    x = trial.suggest_float("x", -1, 1)
    print("begin", trial.number, flush=True)
    for step in range(10):
        time.sleep(trial_s / 10)
        trial.report(-x * x, step)
    return -x * x

study = open_study("s", open_storage(url, folder, heartbeat_s=1), {}, make_pruner("none", 4, 4))
optimize(study, quadratic, trials, lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    assert PROGRAMS is not None
    with running_postgres(PROGRAMS) as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Postgres:
    """The server without a table."""
    import psycopg

    with psycopg.connect(postgres.url()) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    return postgres


class Worker:
    """A process that tunes, and what it has said."""

    def __init__(self, folder: Path, name: str, url: str, trials: int, trial_s: float = 0.5) -> None:
        self.log = folder / f"{name}.log"
        words = [sys.executable, "-c", WORKER, url, str(trials), str(trial_s), str(folder / name)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return self.log.read_text()

    def finish(self) -> str:
        assert self.process.wait(timeout=120) == 0, self.said()[-3000:]
        return self.said()


def trials_of(url: str, folder: Path) -> list:
    storage = open_storage(url, folder)
    return storage.get_all_trials(storage.get_study_id_from_name("s"))


@needs_postgres
@pytest.mark.full
def test_three_workers_one_killed_and_one_cut_off_lose_no_trial_and_count_none_twice(
    database: Postgres, tmp_path: Path
) -> None:
    wire = Wire(database.port)
    steady = Worker(tmp_path, "steady", database.url(), 24)
    killed = Worker(tmp_path, "killed", database.url(), 24, trial_s=3)
    cut_off = Worker(tmp_path, "cut-off", database.url(wire.port), 24, trial_s=1.5)
    wait_until(lambda: "begin" in killed.said() and "begin" in cut_off.said() and "begin" in steady.said())
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    wire.cut()
    wait_until(lambda: "does not answer: waiting" in cut_off.said())
    # Its trial is given up after two heartbeats, when the steady one asks for its next.
    wait_until(lambda: sum(trial.state.name == "FAIL" for trial in trials_of(database.url(), tmp_path)) == 2)
    wire.mend()
    steady.finish()
    assert "another one repeats it" in cut_off.finish() and "answers again" in cut_off.said()
    wire.close()

    trials = trials_of(database.url(), tmp_path)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"} and 24 <= len(complete) <= 25
    # Counted once: every choice of x has one result, and every result was told by one process.
    assert len({trial.params["x"] for trial in complete}) == len(complete)
    told = [line.split()[1] for log in (steady, cut_off) for line in log.said().splitlines() if ": R² " in line]
    assert sorted(told) == sorted(f"{trial.number}:" for trial in complete)
    # Lost none: both that were given up were tried again, with the same choices.
    assert len(failed) == 2
    assert {trial.params["x"] for trial in failed} <= {trial.params["x"] for trial in complete}
    assert {trial.system_attrs.get("failed_trial") for trial in complete} - {None} == {trial.number for trial in failed}
    for log in (steady, killed, cut_off):
        assert PASSWORD not in log.said() and SAFE_PASSWORD not in log.said() and "Traceback" not in log.said()


@needs_postgres
@pytest.mark.full
def test_a_server_that_crashes_is_waited_for(database: Postgres, tmp_path: Path) -> None:
    workers = [Worker(tmp_path, name, database.url(), 12, trial_s=0.4) for name in ("one", "other")]
    wait_until(lambda: all("R²" in worker.said() for worker in workers))
    database.stop()
    wait_until(lambda: all("does not answer: waiting" in worker.said() for worker in workers))
    database.start()
    for worker in workers:
        assert "Traceback" not in worker.finish()
    trials = trials_of(database.url(), tmp_path)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert 12 <= len(complete) <= 13 and len({trial.params["x"] for trial in complete}) == len(complete)
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}


@needs_postgres
@pytest.mark.full
def test_a_study_is_gone_on_with_from_another_checkout(
    database: Postgres, tiny_competition: Path, tmp_path: Path
) -> None:
    """The command itself; the other checkout has its own copy of the code and the data, and writes its own report."""
    other = tmp_path / "other checkout"
    for name in ("build", "kernel_src", "datasets_meta"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    data = shutil.copytree(tiny_competition, other / "data")
    reports = []
    for checkout, files, trials in ((ROOT, tiny_competition, 2), (other, data, 3)):
        more = ("--storage", database.url())
        command = tune_command(files, tmp_path / f"out-{trials}", trials=trials, more=more)
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        reports.append(json.loads(done.stdout))
        for text in (done.stdout, done.stderr):
            assert PASSWORD not in text and SAFE_PASSWORD not in text and "tuner" not in text
    assert [report["trials"] for report in reports] == [{"complete": 2}, {"complete": 3}]
    assert reports[0]["storage"] == f"postgresql://127.0.0.1:{database.port}/postgres"
    assert Path(reports[1]["folder"], "best.json").is_file()


@needs_postgres
@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_lost_answer_is_not_taken_for_a_second_result(database: Postgres, tmp_path: Path) -> None:
    """The database has stored the result, and the connection breaks before it says so."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from optuna.trial import TrialState
    from sqlalchemy.exc import OperationalError

    storage = open_storage(database.url(), tmp_path)
    assert isinstance(storage, SharedStorage)
    study = open_study("s", storage, {}, None)
    trial = study.ask()
    real = RDBStorage.set_trial_state_values

    def stored_but_not_answered(*given, **named):
        real(*given, **named)
        RDBStorage.set_trial_state_values = real
        raise StorageInternalError("lost") from OperationalError("UPDATE", {}, Exception("connection lost"))

    RDBStorage.set_trial_state_values = stored_but_not_answered
    try:
        study.tell(trial, 0.5)
    finally:
        RDBStorage.set_trial_state_values = real
    assert [one.state for one in study.trials] == [TrialState.COMPLETE] and study.best_value == 0.5


@needs_postgres
def test_a_wrong_password_is_refused_at_once_and_shown_nowhere(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url().replace(SAFE_PASSWORD, "wr0ng%40secret")
    with pytest.raises(UsageError) as refused:
        open_storage(url, tmp_path)
    said = str(refused.value)
    assert said.startswith(f"--storage postgresql://127.0.0.1:{postgres.port}/postgres cannot be opened: ")
    assert "wr0ng" not in said and "secret" not in said


# -- without a server ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "may_be_shown"),
    [
        ("postgresql://me:secret@db.example:5432/tuning", "postgresql://db.example:5432/tuning"),
        ("postgresql://me:sec%40ret@db.example/tuning", "postgresql://db.example/tuning"),
        ("postgresql://me:se@cret@db.example/tuning", "postgresql://…"),
        ("postgresql://me:12/cret@db.example/tuning", "postgresql://db.example/tuning"),
        ("postgresql://db.example/tuning?user=me&password=secret", "postgresql://db.example/tuning"),
        ("postgresql+psycopg:///tuning?host=/run/pg&password=secret", "postgresql+psycopg:///tuning"),
        ("postgresql://me:secret@db.example:port/tuning", "postgresql://…"),
        ("sqlite:////data/study.db", "sqlite:////data/study.db"),
        ("out/journal.log", "out/journal.log"),
        ("", ""),
    ],
)
def test_of_an_address_neither_user_nor_password_is_shown(url: str, may_be_shown: str) -> None:
    assert shown(url) == may_be_shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sec%40ret@db.example/tuning",
        "postgresql://db.example/tuning?user=me&password=sec%40ret",
        "postgresql://me:sec%40ret@db.example:port/tuning",
    ],
)
def test_an_error_of_somebody_elses_is_shown_without_the_password(url: str) -> None:
    said = without_secrets(f"cannot use {url}: sec@ret, or sec%40ret, is wrong", url)
    assert said.startswith("cannot use postgresql://") and "is wrong" in said
    if ":port" not in url:
        assert "sec@ret" not in said
    assert "me:sec%40ret@" not in said and "password=sec" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:1/tuning",  # nobody listens there
        "postgresql://me:s3cret@127.0.0.1:port/tuning",
        "postgresql://127.0.0.1:1/tuning?password=s3cret",
        "postgresql://127.0.0.1:1/tuning?passwort=s3cret",
        "postgres://me:s3cret@127.0.0.1/tuning",
        "nosuch+driver://me:s3cret@127.0.0.1/tuning",
    ],
)
def test_an_address_is_refused_without_showing_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened") as refused:
        open_storage(url, tmp_path)
    assert "s3cret" not in str(refused.value) and "\n" not in str(refused.value)
    assert refused.value.__cause__ is None and refused.value.__suppress_context__


@pytest.mark.full
def test_the_command_refuses_an_address_without_showing_its_password(tiny_competition: Path, tmp_path: Path) -> None:
    more = ("--storage", "postgresql://me:s3cret@127.0.0.1:1/tuning")
    command = tune_command(tiny_competition, tmp_path, trials=1, more=more)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "cannot be opened" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_every_call_that_optuna_makes_of_a_database_waits_for_it() -> None:
    """Optuna keeps what is finished in memory, and asks the database through these calls alone."""
    from optuna.storages import RDBStorage, _CachedStorage

    calls = set(re.findall(r"self\._backend\.(\w+)", inspect.getsource(_CachedStorage)))
    local = {"get_heartbeat_interval", "get_heartbeat_stale_trial_callback"}
    plain = {name for name in calls - local if getattr(SharedStorage, name) is getattr(RDBStorage, name)}
    assert len(calls) > 20 and not plain


def test_a_trial_that_nobody_claims_is_given_up_and_what_it_was_to_try_is_queued(tmp_path: Path) -> None:
    study = open_study("s", open_storage("", tmp_path), {}, None)
    study.enqueue_trial({"x": 0.25})
    study.ask()  # its answer was lost: no process knows of it
    claimed = study.ask()
    claimed.set_user_attr("worker", this_process())
    now, unclaimed = [0.0], Unclaimed(grace_s=2.0)
    assert unclaimed.release(study, lambda: now[0]) == 0
    now[0] = 1.9
    assert unclaimed.release(study, lambda: now[0]) == 0
    now[0] = 2.0
    assert unclaimed.release(study, lambda: now[0]) == 1
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "WAITING"]
    assert study.ask().suggest_float("x", 0, 1) == 0.25

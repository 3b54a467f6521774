"""What was begun and what came of it survives whatever ends the process."""

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from build.core.errors import CheckFailed, Problem, UsageError
from build.kaggle.journal import Journal, only_push

INPUTS = {"kernel": "kim/i2b-demo-infer", "source_sha256": "ab"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "push" / "journal.db")


def test_a_finished_step_is_found_by_the_same_inputs_in_any_order_and_by_no_others(journal: Journal) -> None:
    with journal.attempt("kernel", INPUTS) as result:
        result["version"] = 3
    assert journal.done("kernel", dict(reversed(INPUTS.items()))) == {"version": 3}
    assert journal.done("kernel", INPUTS | {"source_sha256": "cd"}) is None
    assert journal.done("submission", INPUTS) is None
    assert journal.unanswered("kernel", INPUTS) is None


def test_a_step_that_says_what_is_wrong_has_failed_and_keeps_what_it_said(journal: Journal) -> None:
    with pytest.raises(CheckFailed), journal.attempt("kernel", INPUTS, version_before=2):
        raise CheckFailed([Problem(what="Kaggle said no", cure="ask again")])
    entry = journal.unanswered("kernel", INPUTS)
    assert entry and entry.state == "failed" and entry.ended
    assert entry.result == {
        "version_before": 2,
        "problems": [{"what": "Kaggle said no", "where": "", "cure": "ask again"}],
    }


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_a_step_that_is_ended_from_outside_stays_begun(journal: Journal, end: type[BaseException]) -> None:
    with pytest.raises(end), journal.attempt("kernel", INPUTS, version_before=2):
        raise end
    entry = journal.unanswered("kernel", INPUTS)
    assert entry and entry.state == "begun" and entry.ended is None and entry.result == {"version_before": 2}


def test_the_newest_attempt_counts(journal: Journal) -> None:
    with pytest.raises(CheckFailed), journal.attempt("kernel", INPUTS):
        raise CheckFailed([])
    with journal.attempt("kernel", INPUTS) as result:
        result["version"] = 4
    assert journal.unanswered("kernel", INPUTS) is None
    assert [entry.state for entry in journal.entries("kernel")] == ["done", "failed"]


def test_a_step_is_on_the_disk_before_it_starts(tmp_path: Path) -> None:
    """A process that is killed inside of a step leaves it begun, and what went before it done."""
    path = tmp_path / "journal.db"
    script = f"""
import os, signal
from pathlib import Path
from build.kaggle.journal import Journal
journal = Journal(Path({str(path)!r}))
with journal.attempt("weights", {{"slug": "w"}}) as result:
    result["version"] = 1
with journal.attempt("kernel", {json.dumps(INPUTS)}, version_before=0):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    after = Journal(path)
    assert after.done("weights", {"slug": "w"}) == {"version": 1}
    entry = after.unanswered("kernel", INPUTS)
    assert entry and entry.state == "begun" and entry.result == {"version_before": 0}


def test_the_journal_is_for_its_owner_only(journal: Journal) -> None:
    assert stat.S_IMODE(journal.path.stat().st_mode) & 0o077 == 0


def test_two_pushes_do_not_run_at_once_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from build.kaggle.journal import only_push
with only_push(Path({str(tmp_path)!r})):
    print(os.getpid(), flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        number = other.stdout.readline().strip()
        with pytest.raises(UsageError, match=f"another push is running here .process {number}."):
            with only_push(tmp_path):
                raise AssertionError("both run")
        other.kill()
    with only_push(tmp_path):
        pass

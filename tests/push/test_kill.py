"""SIGKILL at every request of the whole flow, then the same command again: everything is there exactly once.

Request k is either lost with the process, or has its effect while nobody is there to read the answer. Between two
requests there is no third case on the site's side: what is written down here between them is covered by the next one.
"""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.push.desk import KERNEL, WEIGHTS, Desk, set_desk, submission_csv

SHARDS = 8
MOST_REQUESTS = 80  # of one flow; were there more, the test would say so
LOST, UNANSWERED = "lost", "unanswered"
# In `make test`: the requests that must not happen twice, and the one that tells a finished run.
FEW = [
    ("CreateDataset", UNANSWERED),
    ("SaveKernel", LOST),
    ("SaveKernel", UNANSWERED),
    ("CreateCodeSubmission", LOST),
    ("CreateCodeSubmission", UNANSWERED),
]


@pytest.fixture(scope="session")
def first_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return set_desk(tmp_path_factory.mktemp("desk") / "kit")


class Executioner:
    """Kills the flow at one request: its n-th in all, or the first of a name."""

    def __init__(self, server, phase: str, number: int = -1, name: str = "") -> None:
        self.server, self.phase, self.number, self.name = server, phase, number, name
        self.process = None
        self.seen, self.struck = 0, ""
        self.started = threading.Event()

    def __call__(self, phase: str, n: int, name: str) -> None:
        self.seen += phase == "before"
        if self.struck or phase != ("before" if self.phase == LOST else "after"):
            return
        if self.seen - 1 != self.number and name != self.name:
            return
        self.started.wait(10)
        self.struck = name
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if phase == "before":
            raise ConnectionResetError("the request is lost with its sender")


def kill_and_go_on(desk: Desk, server, executioner: Executioner, *arguments: str) -> bool:
    """Run the flow into the kill and once more; return whether the kill took place."""
    server.hook = executioner
    process = desk.start(*arguments)
    executioner.process = process
    executioner.started.set()
    _, err = process.communicate(timeout=120)
    server.hook = lambda phase, n, name: None
    if not executioner.struck:
        assert process.returncode == 0, err
        return False
    assert process.returncode == -signal.SIGKILL
    where = f"{executioner.phase} {executioner.struck} ({executioner.seen})"
    again = desk.shell(*arguments)
    assert again.returncode == 0, f"after {where}: {again.stdout}{again.stderr}"
    everything_once(desk, server.site, where)
    return True


def everything_once(desk: Desk, site, where: str) -> None:
    summary = site.summary()
    assert summary["datasets"] == {WEIGHTS: 1}, where
    assert summary["kernels"] == {KERNEL: 1}, where
    assert [entry["kernel"] for entry in summary["submissions"]] == [[KERNEL, 1]], where
    (row,) = desk.scores()
    assert (row["public"], row["submission_ref"], row["kernel_version"]) == ("0.710000", "100", "1"), where


@pytest.fixture
def fresh(first_desk: Desk, server, tmp_path: Path) -> Iterator:
    """Gives a new desk and an empty site each time it is called."""
    numbers = iter(range(1000))

    def new() -> Desk:
        site = type(server.site)()
        server.site, server.log, server.faults = site, [], []
        site.outputs = {"i2b-demo-infer": {"submission.csv": submission_csv("ID7", "ID8")}}
        site.kernel_states = ["QUEUED", "RUNNING", "COMPLETE"]
        return first_desk.copy(tmp_path / f"kit{next(numbers)}")

    yield new


@pytest.mark.parametrize(("name", "phase"), FEW)
def test_killed_at_a_request_that_must_not_happen_twice(name: str, phase: str, fresh, server) -> None:
    assert kill_and_go_on(fresh(), server, Executioner(server, phase, name=name))


@pytest.mark.full
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("phase", [LOST, UNANSWERED])
def test_killed_at_any_request(phase: str, shard: int, fresh, server) -> None:
    for number in range(shard, MOST_REQUESTS, SHARDS):
        if not kill_and_go_on(fresh(), server, Executioner(server, phase, number=number)):
            return
    raise AssertionError(f"the flow has more than {MOST_REQUESTS} requests: raise MOST_REQUESTS")


@pytest.mark.full
@pytest.mark.parametrize("phase", [LOST, UNANSWERED])
def test_killed_while_submitting_once_more_there_are_two_and_not_three(phase: str, fresh, server) -> None:
    desk = fresh()
    assert desk.shell().returncode == 0
    executioner = Executioner(server, phase, name="CreateCodeSubmission")
    server.hook = executioner
    executioner.process = desk.start("--again")
    executioner.started.set()
    executioner.process.communicate(timeout=120)
    server.hook = lambda phase, n, name: None
    assert executioner.struck and desk.shell("--again").returncode == 0
    assert len(server.site.submissions) == 2
    assert [row["submission_ref"] for row in desk.scores()] == ["100", "101"]


@pytest.mark.full
@pytest.mark.parametrize("times", [3])
def test_killed_again_and_again_it_still_gets_there(times: int, fresh, server) -> None:
    desk = fresh()
    for name, phase in [("CreateDataset", UNANSWERED), ("SaveKernel", LOST), ("SaveKernel", UNANSWERED)][:times]:
        executioner = Executioner(server, phase, name=name)
        server.hook = executioner
        executioner.process = desk.start()
        executioner.started.set()
        executioner.process.communicate(timeout=120)
        assert executioner.struck == name
    assert kill_and_go_on(desk, server, Executioner(server, UNANSWERED, name="CreateCodeSubmission"))

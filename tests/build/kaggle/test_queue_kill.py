"""SIGKILL at every request of a queue, then the same command: each training ran once, and what came of it is here.

The queue in which most happens: the first experiment fails on Kaggle, then the week's hours are spent and come back,
and the second one is trained. As in test_kill.py a request is lost with the process, or has its effect unanswered.
"""

import copy
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kernel_src.runtime.manifest import MANIFEST_FILE
from tests.build.kaggle.desk import Desk, lay_desk
from tests.build.kaggle.site import Reply, Site
from tests.build.kaggle.test_kill import LOST, SAMPLED, SHARDS, UNANSWERED, Executioner
from tests.build.kaggle.weeks import furnish

NAMES = ("v1", "v2")
MOST_REQUESTS = 90


class EventfulSite(Site):
    """The first experiment fails; the hours are spent once it was pushed, for a while."""

    def __init__(self) -> None:
        super().__init__()
        furnish(self, *NAMES)
        self.spent = timedelta(seconds=0.5)  # so long the hours are spent
        self.back: datetime | None = None  # when they come back

    def is_spent(self) -> bool:
        if "kim/i2b-v1-train" not in self.kernels:
            return False
        self.back = self.back or datetime.now(UTC) + self.spent
        return datetime.now(UTC) < self.back

    def save_kernel(self, body: Reply) -> Reply:
        if self.is_spent():
            return {"error": "Kernel push error: Maximum weekly GPU quota of 30.00 hours reached."}
        return super().save_kernel(body)

    def get_kernel_session_status(self, body: Reply) -> Reply:
        reply = super().get_kernel_session_status(body)
        failed = body["kernelSlug"] == "i2b-v1-train" and reply["status"] == "COMPLETE"
        return {"status": "ERROR", "failureMessage": self.failure} if failed else reply

    def get_accelerator_quota_statistics(self, body: Reply) -> Reply:
        gpu = {"timeUsed": f"{108000 if self.is_spent() else 0}s", "totalTimeAllowed": "108000s"}
        resets = f"{self.back or datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return {"gpuQuota": gpu, "quotaRefreshTime": resets}


@pytest.fixture(scope="module")
def laid(mother, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    from build.kaggle.journal import Journal
    from build.kaggle.preparation import JOURNAL, _digest
    from build.notebooks.builder import all_cards, build, choose_cards

    for name in ("kernel_src.training.runs", "build.kaggle.queue", "build.weights.bundle"):  # torch takes seconds
        mother.order({"import": name})
    for name in NAMES:
        build(choose_cards(name, all_cards()))
    desk = lay_desk(tmp_path_factory.mktemp("desk") / "kit")
    journal = Journal(desk.folder / JOURNAL)
    for name in NAMES:
        journal.record("check", {"notebook": f"i2b-{name}-train", "sha256": _digest()})
    journal.close()
    return desk


@pytest.fixture(scope="module")
def before() -> EventfulSite:
    return EventfulSite()


class Act:
    """A desk and a site before one queue."""

    def __init__(self, desk: Desk, server: Any, mother: Any) -> None:
        self.desk, self.server, self.mother = desk, server, mother

    def start(self, *names: str) -> Any:
        return self.mother.start("queue", *names, folder=self.desk.folder)

    def kill(self, executioner: Executioner) -> bool:
        with self.server.lock:
            self.server.hook = executioner
            executioner.command = self.start(*NAMES)
        code = executioner.command.wait()
        self.server.hook = lambda phase, n, name: None
        assert code == (-signal.SIGKILL if executioner.struck else 1), executioner.command.output
        return bool(executioner.struck)

    def go_on(self, where: str, *names: str) -> None:
        command = self.start(*names)
        assert command.wait() == 1, f"after {where}: {command.output}"
        assert "v1 failed: " in command.output and "queue: v2: done" in command.output, f"{where}: {command.output}"
        kernels = self.server.site.summary()["kernels"]
        assert kernels == {"kim/i2b-v1-train": 1, "kim/i2b-v2-train": 1}, where
        assert [path.parent.name for path in self.desk.folder.glob(f"out/bundles/*/{MANIFEST_FILE}")] == ["v2"], where
        entries = json.loads((self.desk.folder / "out/push/queue.json").read_text())["entries"]
        assert [one["state"] for one in entries] == ["failed", "done"], where


@pytest.fixture
def begin(laid: Desk, before: EventfulSite, server, mother, tmp_path: Path, monkeypatch) -> Iterator[Callable[[], Act]]:
    monkeypatch.setenv("KIT_POLL_S", "0.01")
    monkeypatch.setenv("KIT_SETTLE_S", "0.2")

    def new() -> Act:
        server.site, server.log, server.faults = copy.deepcopy(before), [], []
        folder = tmp_path / "kit"
        shutil.rmtree(folder, ignore_errors=True)
        return Act(laid.copy(folder), server, mother)

    yield new


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("SaveKernel", UNANSWERED),
        pytest.param("GetAcceleratorQuotaStatistics", UNANSWERED, marks=pytest.mark.full),
        pytest.param("ListKernels", LOST, marks=pytest.mark.full),
    ],
)
def test_killed_at_a_request_it_goes_on_and_trains_nothing_twice(name: str, phase: str, begin) -> None:
    act = begin()
    assert act.kill(Executioner(phase, name=name))
    act.go_on(f"{phase} {name}", *NAMES)


@pytest.mark.full
def test_killed_while_it_waits_for_hours_it_waits_on(begin) -> None:
    act = begin()
    act.server.site.spent = timedelta(seconds=4)
    command, deadline = act.start(*NAMES), time.monotonic() + 30
    printed = command.folder / "stdout"
    while not (printed.exists() and "v2 waits: 0.0 of 30 GPU hours are left" in printed.read_text()):
        assert time.monotonic() < deadline, command.output
        time.sleep(0.02)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    act.go_on("a kill while it waited")


@pytest.mark.full
@pytest.mark.parametrize("shard", SAMPLED)
@pytest.mark.parametrize("phase", [LOST, UNANSWERED])
def test_killed_at_any_request(phase: str, shard: int, begin) -> None:
    killed = 0
    for number in range(shard, MOST_REQUESTS, SHARDS):
        act, executioner = begin(), Executioner(phase, number=number)
        if not act.kill(executioner):
            print(f"{killed} kills")
            assert killed > 5
            return
        killed += 1
        act.go_on(f"{phase} {executioner.struck} (request {number})", *(NAMES if number // SHARDS % 2 else ()))
    raise AssertionError(f"the queue has more than {MOST_REQUESTS} requests: raise MOST_REQUESTS")


@pytest.mark.full
def test_killed_while_it_tries_again_it_does_not_try_a_third_time(begin) -> None:
    """At every request of the second attempt at what failed: `AGAIN=1`, killed, and given once more."""
    for number in range(40):
        act = begin()
        act.go_on("nothing", *NAMES)
        executioner = Executioner(UNANSWERED, number=number)
        with act.server.lock:
            act.server.hook = executioner
            executioner.command = act.start("v1", "--again")
        code = executioner.command.wait()
        act.server.hook = lambda phase, n, name: None
        if not executioner.struck:
            assert code == 1 and number > 5
            return
        assert act.start("v1").wait() == 1
        assert act.server.site.summary()["kernels"]["kim/i2b-v1-train"] == 2, (number, executioner.struck)
    raise AssertionError("more requests than expected")

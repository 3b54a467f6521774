"""SIGKILL at requests of each stage of the preflight, then the same command: nothing on the site is made twice.

Of each stage every fourth request, or all with EVERY_KILL=1 (test_kill.py).
"""

import copy
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from build.kaggle.preflight_stages import ASK
from tests.build.kaggle.desk import Desk, lay_desk, submission_csv
from tests.build.kaggle.preflight_report import AS_ASSUMED
from tests.build.kaggle.site import Site
from tests.build.kaggle.test_kill import LOST, SAMPLED, SHARDS, UNANSWERED, Executioner
from tests.build.kaggle.test_preflight_stages import SLUG, TIMED, log_of

MOST_REQUESTS = 60  # of one stage; were there more, the test would say so


def furnished() -> Site:
    """A site on which the notebooks of all stages leave what they should."""
    site = Site()
    site.outputs[SLUG] = {"preflight.json": json.dumps(AS_ASSUMED | {"speed": [TIMED]}).encode()}
    site.outputs["i2b-demo-infer"] = {"submission.csv": submission_csv("ID7", "ID8")}
    site.competitions["csiro-biomass"] = {"train.csv": b"a,b\n", "test.csv": b"a\n"}
    site.kernel_states = ["QUEUED", "RUNNING", "COMPLETE"]
    site.logs[SLUG] = log_of("Executing Cell 1---------------", "second 0 of 180", "second 5 of 180")
    return site


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return lay_desk(tmp_path_factory.mktemp("desk") / "kit")


@pytest.mark.full
@pytest.mark.parametrize("phase", [LOST, UNANSWERED])
@pytest.mark.parametrize("stage", ASK)
def test_killed_at_any_request(
    stage: str, phase: str, laid: Desk, server: Any, mother: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIT_POLL_S", "0.01")
    monkeypatch.setenv("KIT_SETTLE_S", "0.2")
    before = furnished()

    def begin() -> Path:
        server.site, server.log, server.faults = copy.deepcopy(before), [], []
        shutil.rmtree(tmp_path / "kit", ignore_errors=True)
        return laid.copy(tmp_path / "kit").folder

    def run(folder: Path) -> Any:
        return mother.start("preflight", "--stage", stage, folder=folder)

    undisturbed = run(begin())
    assert undisturbed.wait() == 0, undisturbed.output
    expected = server.site.summary()
    for number in range(0, MOST_REQUESTS, SHARDS // len(SAMPLED)):
        folder, executioner = begin(), Executioner(phase, number=number)
        with server.lock:
            server.hook = executioner
            executioner.command = run(folder)
        code = executioner.command.wait()
        server.hook = lambda phase, n, name: None
        if not executioner.struck:
            assert code == 0 and number > 5, executioner.command.output
            return
        assert code == -signal.SIGKILL
        again = run(folder)
        assert again.wait() == 0, f"{executioner.struck} (request {number}): {again.output}"
        assert server.site.summary() == expected, f"{executioner.struck} (request {number}): {again.output}"
    raise AssertionError(f"the stage has more than {MOST_REQUESTS} requests: raise MOST_REQUESTS")

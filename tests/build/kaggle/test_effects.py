"""What changes something on Kaggle happens once: lost answers, late effects, kills, and what the next run does.

Here a request that shows nothing after half a second has not arrived; by default it is ten minutes.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed, UsageError
from build.kaggle import effects
from build.kaggle.datasets import push_dataset
from build.kaggle.explain import ResponseLost
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, push
from build.kaggle.staging import Staged, stage
from build.kaggle.submissions import submit_once
from tests.build.kaggle.desk import write_bundle

KERNEL, REF = "kim/i2b-demo-infer", "kim/i2b-demo-weights"


class Killed(BaseException):
    """The process is killed at this point: nothing that comes after it is written."""


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def hush(state: str) -> None:
    pass


class Act:
    """One state-changing step of the kit as a command of its own does it, the journal opened anew; and its count."""

    def __init__(self, name: str, site: Any, kaggle: Any, folder: Path) -> None:
        self.name, self.site, self.kaggle, self.folder = name, site, kaggle, folder

    def __call__(self) -> Any:
        journal = Journal(self.folder / "journal.db")
        try:
            return self.act(journal)
        finally:
            journal.close()

    def act(self, journal: Journal) -> Any:
        if self.name == "SaveKernel":
            staged = stage_notebook(self.folder)
            remote = self.kaggle.pull_kernel(staged.owner, staged.slug)
            return push(staged, remote, self.kaggle, journal, hush)
        if self.name == "CreateCodeSubmission":
            version = Version(kernel=KERNEL, number=1, url="")
            return submit_once("csiro-biomass", version, "m", self.kaggle, journal, hush, again=False)
        from build.kaggle.dataset_folders import stage_dataset

        return push_dataset(stage_dataset("i2b-demo-weights", self.folder / "bundle", "kim"), self.kaggle, journal)

    def count(self) -> int:
        if self.name == "SaveKernel":
            return self.site.summary()["kernels"].get(KERNEL, 0)
        if self.name == "CreateCodeSubmission":
            return len(self.site.submissions)
        return self.site.summary()["datasets"].get(REF, 0)


def stage_notebook(folder: Path) -> Staged:
    """A small notebook in the place of the inference."""
    place = folder / "built" / "i2b-demo-infer"
    place.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "source": ["a = 1\n", "a"], "outputs": [], "metadata": {}, "execution_count": None}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (place / "i2b-demo-infer.ipynb").write_text(json.dumps(notebook))
    metadata = {
        "id": "OWNER/i2b-demo-infer",
        "title": "i2b demo infer",
        "code_file": "i2b-demo-infer.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": False,
        "enable_internet": False,
        "machine_shape": "",
        "dataset_sources": [],
        "competition_sources": ["csiro-biomass"],
    }
    (place / "kernel-metadata.json").write_text(json.dumps(metadata))
    return stage(place / "i2b-demo-infer.ipynb", "kim", {})


WRITES = ["SaveKernel", "CreateDataset", "CreateDatasetVersion", "CreateCodeSubmission"]


@pytest.fixture
def act_of(kaggle, site, server, tmp_path: Path) -> Callable[[str], Act]:
    def make(name: str) -> Act:
        write_bundle(tmp_path / "bundle")
        act = Act(name, site, kaggle, tmp_path)
        if name == "CreateDatasetVersion":
            act()
            write_bundle(tmp_path / "bundle", weights=b"other weights")
        if name == "CreateCodeSubmission":
            Act("SaveKernel", site, kaggle, tmp_path)()
            site.outputs["i2b-demo-infer"] = {"submission.csv": b"a,b"}
        server.log.clear()
        return act

    return make


def wanted(name: str) -> int:
    return 2 if name == "CreateDatasetVersion" else 1


@pytest.mark.parametrize("name", WRITES)
def test_an_effect_that_comes_long_after_the_answer_was_given_up_is_found_and_not_repeated(
    act_of, server, name: str, monkeypatch
) -> None:
    """The draft looked three times at once and sent SaveKernel again: three versions of one notebook."""
    act = act_of(name)
    monkeypatch.setenv("KIT_TIMEOUT_S", "0.15")
    monkeypatch.setenv("KIT_SETTLE_S", "5")  # in time also on a loaded machine
    server.fault(name, delay_s=0.7)
    act()
    assert (act.count(), server.names().count(name)) == (wanted(name), 1)


@pytest.mark.parametrize("name", WRITES)
def test_a_lost_request_ends_the_run_and_only_the_next_one_sends_again(act_of, server, name: str) -> None:
    act = act_of(name)
    server.fault(name, drop="before")
    with pytest.raises(ResponseLost, match="nothing was sent twice.*run the same command"):
        act()
    assert server.names().count(name) == 1, "sent once, whatever the looks show"
    act()
    assert (act.count(), server.names().count(name)) == (wanted(name), 2)


@pytest.mark.parametrize("name", WRITES)
def test_an_effect_that_comes_after_the_run_was_killed_is_waited_for_by_the_next(
    act_of, server, site, name: str, monkeypatch
) -> None:
    act = act_of(name)
    monkeypatch.setenv("KIT_SETTLE_S", "5")

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setenv("KIT_TIMEOUT_S", "0.15")
        server.fault(name, delay_s=0.8)
        patch.setattr(effects, "look_until", kill)  # the process is killed while nobody knows
        with pytest.raises(Killed):
            act()
    assert act.count() == wanted(name) - 1, "the effect is still to come"
    act()
    assert (act.count(), server.names().count(name)) == (wanted(name), 1)


@pytest.mark.parametrize("name", WRITES)
def test_a_refused_connection_is_knocked_at_again(act_of, server, name: str, monkeypatch) -> None:
    """Nothing has left, so nothing can be twice."""
    from urllib3.exceptions import NewConnectionError

    from build.kaggle import wire

    act = act_of(name)
    true_send, refused = wire.HTTPAdapter.send, []

    def refuse_once(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.url.endswith(name) and not refused:
            from requests.exceptions import ConnectionError
            from urllib3.exceptions import MaxRetryError

            refused.append(request.url)
            raise ConnectionError(MaxRetryError(None, request.url, NewConnectionError(None, "refused")))
        return true_send(adapter, request, *args, **kwargs)

    monkeypatch.setattr(wire.HTTPAdapter, "send", refuse_once)
    act()
    assert refused and (act.count(), server.names().count(name)) == (wanted(name), 1)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("status", [429, 503])
def test_what_the_site_has_not_taken_is_sent_again(act_of, server, name: str, status: int) -> None:
    act = act_of(name)
    server.fault(name, status=status)
    if (name, status) == ("CreateCodeSubmission", 503):  # nobody knows of a 503, and there are five a day
        with pytest.raises(ResponseLost):
            act()
    act()
    assert (act.count(), server.names().count(name)) == (wanted(name), 2)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("status", [500, 504])
def test_an_error_after_the_effect_is_no_second_effect(act_of, server, name: str, status: int) -> None:
    act = act_of(name)
    server.fault(name, status=status, after=True)
    act()
    assert (act.count(), server.names().count(name)) == (wanted(name), 1)


@pytest.mark.parametrize("name", WRITES)
def test_a_site_that_cannot_even_be_asked_leaves_it_open(act_of, server, name: str) -> None:
    act = act_of(name)
    server.fault(name, drop="after")
    looks = {"SaveKernel": "GetKernel", "CreateCodeSubmission": "ListSubmissions"}.get(name, "GetDatasetStatus")
    before = {"SaveKernel": 2, "CreateCodeSubmission": 1}.get(name, 1)
    server.fault(looks, nth=before + 1, status=400, body={"code": 400, "message": "out of order"})
    with pytest.raises(ResponseLost, match="out of order"):
        act()
    act()
    assert (act.count(), server.names().count(name)) == (wanted(name), 1)


@pytest.mark.parametrize("stale", [0, 5])
@pytest.mark.parametrize("when", ["killed", "lost"])
def test_a_new_dataset_version_that_shows_only_after_minutes_is_not_made_twice(
    act_of, server, site, when: str, stale: int, monkeypatch
) -> None:
    """Five polls are two and a half minutes by default; the site says READY and shows the version before."""
    act = act_of("CreateDatasetVersion")
    monkeypatch.setenv("KIT_SETTLE_S", "5")
    site.dataset_states = ["STALE"] * stale + ["READY"]
    if when == "lost":
        server.fault("CreateDatasetVersion", drop="after")
    else:

        def kill(phase: str, n: int, name: str) -> None:
            if (phase, name) == ("after", "CreateDatasetVersion"):
                raise ConnectionResetError

        server.hook = kill
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(effects, "look_until", lambda *_, **__: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                act()
        server.hook = lambda phase, n, name: None
    assert act().version == 2
    assert (act.count(), server.names().count("CreateDatasetVersion")) == (2, 1)
    assert not list(Path("out/push/uploads").iterdir()), "nothing is left of uploads that are part of a version"


def test_a_submission_that_kaggle_took_and_never_lists_is_not_made_again_by_itself(act_of, server, site) -> None:
    act = act_of("CreateCodeSubmission")
    server.fault("ListSubmissions", body={"submissions": []}, times=99)
    for _ in range(2):
        with pytest.raises(CheckFailed, match="accepted the submission 100 but does not list"):
            act()
    assert server.names().count("CreateCodeSubmission") == 1
    server.faults.clear()
    assert act().ref == 100 and act.count() == 1


def test_a_version_that_kaggle_took_and_does_not_show_is_not_pushed_again(act_of, server, site) -> None:
    act = act_of("SaveKernel")
    server.fault("GetKernel", nth=3, status=403, body={"code": 403, "message": "denied"}, times=99)
    for _ in range(2):
        with pytest.raises(CheckFailed, match="accepted it, but does not show it"):
            act()
    server.faults.clear()
    assert act().number == 1 and server.names().count("SaveKernel") == 1


def test_a_refusal_after_a_request_that_may_have_arrived_proves_nothing(act_of, server, site) -> None:
    """The first CreateDataset had its effect but hid it; the second hears that the title is in use: by ourselves."""
    act = act_of("CreateDataset")
    site.dataset_states = ["403"] * 4 + ["READY"]
    server.fault("CreateDataset", status=503, after=True)
    assert act().version == 1
    assert act.count() == 1


def test_killed_while_waiting_for_a_gpu_session_the_next_run_does_not_wait_for_an_effect(
    act_of, server, monkeypatch
) -> None:
    """Kaggle has said that it did not take it, so nothing can be on its way."""
    act = act_of("SaveKernel")
    monkeypatch.setenv("KIT_SETTLE_S", "60")
    server.fault("SaveKernel", body={"error": "Maximum batch GPU session count of 2 reached."})
    with monkeypatch.context() as patch:
        patch.setattr("build.kaggle.kernels.pause", lambda: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            act()
    start = time.monotonic()
    assert act().number == 1 and act.count() == 1
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("text", ["soon", "0", "-5", "inf"])
def test_a_settling_time_that_is_none_is_wrong_use(text: str, monkeypatch) -> None:
    monkeypatch.setenv("KIT_SETTLE_S", text)
    with pytest.raises(UsageError, match="KIT_SETTLE_S"):
        effects.settle_s()

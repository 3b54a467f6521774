"""Staging, pushing, reading back and following one notebook, with the real client against the stand-in."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.core.image import SOURCE_LIMIT_BYTES
from build.kaggle import drift
from build.kaggle.explain import QuotaSpent
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, current_attempt, look_for_drift, push, pushed_before
from build.kaggle.runs import EmptyInput, RunFailed, Superseded, download, run_with_input, wait_for_run
from build.kaggle.staging import Staged, stage
from kernel_src.runtime.mounts import NOTHING_MOUNTED

SESSIONS = "Maximum batch GPU session count of 2 reached"
METADATA = {
    "id": "OWNER/i2b-toy-infer",
    "title": "i2b toy infer",
    "code_file": "i2b-toy-infer.ipynb",
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_internet": False,
    "machine_shape": "NvidiaTeslaT4",
    "dataset_sources": [],
    "competition_sources": ["csiro-biomass"],
    "kernel_sources": [],
    "model_sources": [],
    "keywords": [],
}


def write_notebook(folder: Path, text: str = "x = 1", **metadata: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stitch = {"source": "kernel_src/kernels/infer.py", "lines": [10]}
    cell = {"cell_type": "code", "source": text, "outputs": [], "execution_count": None, "metadata": {"stitch": stitch}}
    content = {
        "cells": [cell],
        "metadata": {"stitch": {"source_sha256": text[:20]}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = folder / "i2b-toy-infer.ipynb"
    path.write_text(json.dumps(content))
    path.with_name("kernel-metadata.json").write_text(json.dumps(METADATA | metadata))
    return path


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.chdir(tmp_path)
    return Journal(tmp_path / "journal.db")


@pytest.fixture
def staged(journal: Journal, tmp_path: Path) -> Staged:
    return stage(write_notebook(tmp_path / "toy"), "kim", {"w": "aa"})


def restaged(tmp_path: Path, text: str, **metadata: object) -> Staged:
    return stage(write_notebook(tmp_path / "toy", text, **metadata), "kim", {"w": "aa"})


def pushed(staged: Staged, kaggle, journal: Journal, show_state=lambda state: None) -> Version:
    return push(staged, kaggle.pull_kernel("kim", staged.slug), kaggle, journal, show_state)


def test_the_owner_is_filled_in_at_staging_and_nowhere_else(staged: Staged, tmp_path: Path) -> None:
    assert json.loads((staged.folder / "kernel-metadata.json").read_text())["id"] == "kim/i2b-toy-infer"
    assert "OWNER/i2b-toy-infer" in (tmp_path / "toy" / "kernel-metadata.json").read_text()


@pytest.mark.parametrize("megabytes", [0.99, 1.01])
def test_a_notebook_is_refused_at_one_megabyte_before_any_request(
    megabytes: float, journal: Journal, tmp_path: Path, kaggle, server
) -> None:
    notebook = write_notebook(tmp_path / "toy")
    empty = len(json.dumps(json.loads(notebook.read_text())))
    write_notebook(tmp_path / "toy", "#" + "x" * (int(megabytes * 1e6) - empty + len("x = 1") - 1))
    requests = len(server.log)
    if megabytes < 1:
        version = pushed(stage(notebook, "kim", {}), kaggle, journal)
        assert version.number == 1
        text = server.bodies("SaveKernel")[0]["text"]
        assert abs(len(text) - megabytes * 1e6) < 50 and len(text) < SOURCE_LIMIT_BYTES
    else:
        with pytest.raises(CheckFailed, match="1,01.,... bytes; Kaggle takes less than 1,000,000"):
            stage(notebook, "kim", {})
        assert len(server.log) == requests


def test_what_is_sent_is_private_offline_and_on_the_named_gpu(staged: Staged, kaggle, journal, server) -> None:
    pushed(staged, kaggle, journal)
    (sent,) = server.bodies("SaveKernel")
    assert sent["isPrivate"] is True and sent["enableInternet"] is False and sent["machineShape"] == "NvidiaTeslaT4"


@pytest.mark.parametrize(
    ("readback", "said"),
    [
        ({"enableInternet": True}, "enable_internet is True"),
        ({"isPrivate": False}, "is_private is False"),
        ({"machineShape": "NvidiaTeslaP100"}, "accelerator is NvidiaTeslaP100"),
        ({"competitionDataSources": []}, "dropped csiro-biomass from competition_sources"),
        ({"datasetDataSources": ["someone/else"]}, "someone/else in dataset_sources, which was not sent"),
    ],
)
def test_what_the_site_then_has_is_compared_with_what_was_sent(staged, kaggle, journal, site, readback, said) -> None:
    site.readback = readback
    with pytest.raises(CheckFailed, match=said):
        pushed(staged, kaggle, journal)
    assert pushed_before(staged, journal) is None


def test_another_text_on_the_site_is_noticed(staged: Staged, kaggle, journal, server, site) -> None:
    other = json.dumps({"cells": [], "metadata": {}})
    server.hook = lambda phase, n, name: (
        site.kernels["kim/i2b-toy-infer"].versions[0].update(text=other)
        if (phase, name) == ("after", "SaveKernel")
        else None
    )
    with pytest.raises(CheckFailed, match="the site's source is not what was sent"):
        pushed(staged, kaggle, journal)


def test_the_same_source_is_pushed_once(staged: Staged, kaggle, journal: Journal, site) -> None:
    first = pushed(staged, kaggle, journal)
    assert pushed_before(current_attempt(staged, journal, again=False), journal) == first
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 1


def test_new_weights_under_the_same_source_are_another_push(staged: Staged, kaggle, journal, tmp_path: Path) -> None:
    pushed(staged, kaggle, journal)
    other = stage(tmp_path / "toy" / "i2b-toy-infer.ipynb", "kim", {"w": "bb"})
    assert pushed_before(other, journal) is None
    assert pushed(other, kaggle, journal).number == 2


def test_a_push_whose_answer_never_reached_the_journal_is_found_on_the_site(staged, kaggle, journal, site) -> None:
    kaggle.push_kernel(staged.folder)
    journal._begin("kernel", staged.inputs, {"version_before": 0})
    assert pushed(staged, kaggle, journal).number == 1
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 1
    assert journal.done("kernel", staged.inputs)["recovered"]


def test_a_push_that_never_arrived_is_sent_again(staged: Staged, kaggle, journal: Journal, site) -> None:
    kaggle.push_kernel(staged.folder)  # an older version of the same text
    journal._begin("kernel", staged.inputs, {"version_before": 1})
    assert pushed(staged, kaggle, journal).number == 2
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 2


def test_a_push_that_lost_its_sources_is_not_taken_for_good_later(staged, kaggle, journal: Journal, site) -> None:
    site.readback = {"competitionDataSources": []}
    with pytest.raises(CheckFailed):
        pushed(staged, kaggle, journal)
    site.readback = {}
    site.kernels["kim/i2b-toy-infer"].versions[0]["competitionDataSources"] = []
    assert pushed(staged, kaggle, journal).number == 2


def test_both_gpu_sessions_busy_is_waited_for(staged: Staged, kaggle, journal: Journal, server) -> None:
    server.fault("SaveKernel", body={"error": SESSIONS}, times=3)
    states: list[str] = []
    assert pushed(staged, kaggle, journal, states.append).number == 1
    assert states[:3] == ["waiting: this account already runs as many GPU sessions as Kaggle allows"] * 3
    assert server.names().count("SaveKernel") == 4


def test_a_spent_quota_stops_at_once_and_says_when_it_resets(staged: Staged, kaggle, journal: Journal, server) -> None:
    server.fault("SaveKernel", body={"error": "Maximum weekly GPU quota of 30.00 hours reached."}, times=9)
    with pytest.raises(QuotaSpent, match="Saturday 00:00 UTC"):
        pushed(staged, kaggle, journal)
    assert server.names().count("SaveKernel") == 1


def test_an_edit_on_the_site_stops_the_push_and_is_shown(staged, kaggle, journal, site, tmp_path: Path) -> None:
    pushed(staged, kaggle, journal)
    edited = staged.source.replace("x = 1", "x = 2  # in the browser")
    site.edit_kernel("kim/i2b-toy-infer", edited)
    newer = restaged(tmp_path, "x = 3")
    remote = kaggle.pull_kernel("kim", newer.slug)
    with pytest.raises(CheckFailed) as caught:
        look_for_drift(newer, remote, journal, overwrite=False)
    said = str(caught.value)
    assert "+x = 2  # in the browser" in said and "-x = 1" in said
    assert "make pull-kernel" in said and "--overwrite" in said
    word = look_for_drift(newer, remote, journal, overwrite=True)
    (saved,) = (tmp_path / drift.OVERWRITTEN / "i2b-toy-infer").glob("*.ipynb")
    assert saved.read_text() == edited and str(saved.relative_to(tmp_path)) in word


def follow(staged: Staged, version: Version, kaggle, journal: Journal) -> list[str]:
    states: list[str] = []
    wait_for_run(staged, version, kaggle, journal, states.append)
    return states


def test_a_run_is_followed_to_its_end_once(staged: Staged, kaggle, journal: Journal, server) -> None:
    version = pushed(staged, kaggle, journal)
    assert follow(staged, version, kaggle, journal) == ["QUEUED", "RUNNING", "COMPLETE"]
    requests = len(server.log)
    assert follow(staged, version, kaggle, journal) == [] and len(server.log) == requests


def test_the_last_versions_end_is_not_taken_for_this_ones(staged: Staged, kaggle, journal: Journal, site) -> None:
    site.kernel_states = ["COMPLETE", "QUEUED", "RUNNING", "QUEUED", "COMPLETE"]
    version = pushed(staged, kaggle, journal)
    assert follow(staged, version, kaggle, journal) == ["COMPLETE", "QUEUED", "RUNNING", "QUEUED", "COMPLETE"]


def test_a_run_that_never_appears_is_not_waited_for_for_ever(staged: Staged, kaggle, journal: Journal, server) -> None:
    version = pushed(staged, kaggle, journal)
    server.fault("GetKernelSessionStatus", status=403, body={"message": "no"}, times=99)
    with pytest.raises(RunFailed, match="never appeared"):
        follow(staged, version, kaggle, journal)


def meanwhile(site, staged: Staged, *states: str) -> None:
    """A newer version, saved on the site or by a second terminal, with a run and outputs of its own."""
    site.version_outputs["i2b-toy-infer", 1] = site.outputs.get("i2b-toy-infer", {})
    site.version_logs["i2b-toy-infer", 1] = site.logs.get("i2b-toy-infer", "")
    site.outputs["i2b-toy-infer"], site.logs["i2b-toy-infer"] = {"submission.csv": b"of version 2"}, "log of version 2"
    site.edit_kernel("kim/i2b-toy-infer", staged.source + " ")
    site.kernels["kim/i2b-toy-infer"].states = list(states)


def test_a_newer_version_answers_neither_for_our_run_nor_for_its_outputs(staged, kaggle, journal, site, server) -> None:
    site.kernel_states = ["RUNNING", "RUNNING", "COMPLETE"]
    site.outputs["i2b-toy-infer"], site.logs["i2b-toy-infer"] = {"submission.csv": b"of version 1"}, "log of version 1"
    version = pushed(staged, kaggle, journal)
    meanwhile(site, staged, "ERROR")
    assert follow(staged, version, kaggle, journal) == ["RUNNING", "RUNNING", "COMPLETE"]
    folder = download(staged, version, kaggle, journal, lambda folder: None)
    assert (folder / "submission.csv").read_bytes() == b"of version 1"
    assert (folder / "i2b-toy-infer.log").read_text() == "log of version 1"
    asked = [seen.body for seen in server.log if seen.name in ("GetKernelSessionStatus", "ListKernelSessionOutput")]
    assert {body["versionLabel"] for body in asked} == {"v1"}


def test_our_failure_is_told_although_a_newer_version_is_complete(staged, kaggle, journal, site) -> None:
    site.kernel_states = ["ERROR"]
    site.logs["i2b-toy-infer"] = "log of version 1"
    version = pushed(staged, kaggle, journal)
    meanwhile(site, staged, "COMPLETE")
    with pytest.raises(RunFailed, match="log of version 1"):
        follow(staged, version, kaggle, journal)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_site_that_knows_no_labels_is_asked_for_the_newest_while_that_is_ours(
    staged, kaggle, journal, site, status: int
) -> None:
    site.label_status = status
    version = pushed(staged, kaggle, journal)
    said = follow(staged, version, kaggle, journal)
    assert said[-4:] == ["Kaggle shows no version 1: asking for the newest", "QUEUED", "RUNNING", "COMPLETE"]
    download(staged, version, kaggle, journal, lambda folder: None)


def test_without_labels_a_version_saved_in_the_browser_is_not_taken_for_ours(staged, kaggle, journal, site) -> None:
    site.label_status = 404
    version = pushed(staged, kaggle, journal)
    site.edit_kernel("kim/i2b-toy-infer", staged.source)
    with pytest.raises(Superseded, match="newest version is 2"):
        follow(staged, version, kaggle, journal)
    following = current_attempt(staged, journal, again=False)
    assert following.attempt == 1 and pushed(following, kaggle, journal).number == 3


def test_without_labels_outputs_of_a_newer_version_are_not_taken_for_ours(staged, kaggle, journal, site) -> None:
    site.label_status = 404
    version = pushed(staged, kaggle, journal)
    follow(staged, version, kaggle, journal)
    meanwhile(site, staged, "COMPLETE")
    with pytest.raises(Superseded):
        download(staged, version, kaggle, journal, lambda folder: None)
    assert journal.done("outputs", version.inputs) is None
    assert current_attempt(staged, journal, again=False).attempt == 1, "the next run pushes anew"


def test_ours_is_read_back_and_found_again_behind_a_newer_version(staged, kaggle, journal, server, site) -> None:
    saved = site.save_kernel

    def save(body: dict) -> dict:
        reply = saved(body)
        site.edit_kernel("kim/i2b-toy-infer", body["text"].replace("x = 1", "x = 2"))
        return reply

    site.save_kernel = save
    assert pushed(staged, kaggle, journal).number == 1
    following = replace(staged, attempt=1)
    server.fault("SaveKernel", drop="after")
    assert pushed(following, kaggle, journal).number == 3, "not pushed once more"
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 4


NOT_MOUNTED = f"FileNotFoundError: the competition csiro-biomass is not mounted below /kaggle/input: {NOTHING_MOUNTED}."


def unmounted(site, *numbers: int) -> None:
    """The runs of these versions find an empty /kaggle/input."""
    for number in numbers:
        site.version_states[number] = ["RUNNING", "ERROR"]
        site.version_logs["i2b-toy-infer", number] = NOT_MOUNTED


def silent(line: str) -> None:
    pass


def test_a_run_that_found_nothing_mounted_is_pushed_once_more(staged, kaggle, journal, site) -> None:
    unmounted(site, 1)
    said: list[str] = []
    end, version, word = run_with_input(staged, pushed(staged, kaggle, journal), kaggle, journal, said.append)
    assert (end.attempt, version.number, word) == (1, 2, "COMPLETE, version 2: version 1 had found nothing mounted")
    assert "version 1 found nothing mounted: pushing the same notebook once more" in said
    first, second = site.kernels["kim/i2b-toy-infer"].versions
    assert first == second
    assert current_attempt(staged, journal, again=False) == end and pushed_before(end, journal) == version


def test_it_is_never_pushed_a_third_time_unless_it_is_asked_for(staged, kaggle, journal, site) -> None:
    unmounted(site, 1, 2)
    version = pushed(staged, kaggle, journal)
    for _ in range(3):  # the same command, again and again
        now = current_attempt(staged, journal, again=False)
        with pytest.raises(EmptyInput, match="of version 2 failed"):
            run_with_input(now, pushed_before(now, journal) or version, kaggle, journal, silent)
        assert len(site.kernels["kim/i2b-toy-infer"].versions) == 2
    once_more = current_attempt(staged, journal, again=True)
    assert once_more.attempt == 2 and pushed(once_more, kaggle, journal).number == 3


def test_a_kill_between_the_two_pushes_is_gone_on_from(staged, kaggle, journal, site) -> None:
    unmounted(site, 1)
    version = pushed(staged, kaggle, journal)
    with pytest.raises(EmptyInput):  # killed here, before the second push was begun
        wait_for_run(staged, version, kaggle, journal, silent)
    following = current_attempt(staged, journal, again=False)
    assert following.attempt == 1 and pushed_before(following, journal) is None

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):  # or after the request was taken
        patch.setattr("build.kaggle.kernels._read_back", killed)
        pushed(following, kaggle, journal)
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 2
    following = current_attempt(staged, journal, again=False)
    assert following.attempt == 1 and pushed(following, kaggle, journal).number == 2
    assert run_with_input(following, pushed_before(following, journal), kaggle, journal, silent)[2] == "COMPLETE"
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 2


def test_an_edit_made_meanwhile_is_not_pushed_over(staged, kaggle, journal, site) -> None:
    unmounted(site, 1)
    version = pushed(staged, kaggle, journal)
    site.edit_kernel("kim/i2b-toy-infer", staged.source.replace("x = 1", "x = 2"))
    with pytest.raises(CheckFailed, match="edited on the site"):
        run_with_input(staged, version, kaggle, journal, silent)
    assert len(site.kernels["kim/i2b-toy-infer"].versions) == 2


def test_a_failing_run_shows_its_traceback_in_kernel_src(staged, kaggle, journal, site, tmp_path: Path) -> None:
    from tests.build.kaggle.test_runs import as_kaggle_logs_it

    site.kernel_states = ["RUNNING", "ERROR"]
    rule = "-" * 75
    text = f'{rule}\nException encountered at "In [1]":\n{rule}\nValueError  Traceback (most recent call last)\n'
    text += "Cell In[1], line 1\n----> 1 x = 1\n\nValueError: boom\n"
    site.logs["i2b-toy-infer"] = as_kaggle_logs_it(("stdout", "starting\n"), ("stderr", text))
    version = pushed(staged, kaggle, journal)
    with pytest.raises(RunFailed) as caught:
        follow(staged, version, kaggle, journal)
    (problem,) = caught.value.problems
    assert problem.where == "kernel_src/kernels/infer.py:10" and "ValueError: boom" in problem.what
    assert "starting" in problem.what and "--again" in problem.cure
    assert "ValueError: boom" in (tmp_path / "out/push/outputs/i2b-toy-infer/v1/i2b-toy-infer.log").read_text()


def test_a_failed_run_is_repeated_only_when_it_is_asked_for(staged: Staged, kaggle, journal: Journal, site) -> None:
    site.kernel_states = ["ERROR"]
    version = pushed(staged, kaggle, journal)
    with pytest.raises(RunFailed):
        follow(staged, version, kaggle, journal)
    assert pushed_before(current_attempt(staged, journal, again=False), journal) == version
    site.kernel_states = ["COMPLETE"]
    once_more = current_attempt(staged, journal, again=True)
    second = pushed(once_more, kaggle, journal)
    assert second.number == 2 and follow(once_more, second, kaggle, journal)
    # From now on the second one is this notebook's push, whether asked for or not.
    assert pushed_before(current_attempt(staged, journal, again=False), journal) == second
    assert pushed_before(current_attempt(staged, journal, again=True), journal) == second


def test_a_cancelled_run_is_said_to_be_cancelled(staged: Staged, kaggle, journal: Journal, site) -> None:
    site.kernel_states = ["RUNNING", "CANCEL_ACKNOWLEDGED"]
    version = pushed(staged, kaggle, journal)
    with pytest.raises(RunFailed, match="version 1 was cancelled"):
        follow(staged, version, kaggle, journal)


def test_the_site_is_asked_no_more_often_than_set(staged, kaggle, journal, server, monkeypatch) -> None:
    version = pushed(staged, kaggle, journal)
    monkeypatch.setenv("KIT_POLL_S", "0.2")
    start = time.monotonic()
    follow(staged, version, kaggle, journal)
    assert time.monotonic() - start >= 0.6
    assert server.names().count("GetKernelSessionStatus") == 4

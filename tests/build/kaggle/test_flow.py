"""`push-inference` as a user starts it: a process of its own, the real client, the stand-in of the site."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.build.kaggle.desk import KERNEL, WEIGHTS, Desk, lay_desk, set_desk, submission_csv, write_bundle

CHANGING = ("SaveKernel", "CreateDataset", "CreateDatasetVersion", "StartBlobUpload", "PUT", "CreateCodeSubmission")


@pytest.fixture(scope="session")
def first_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return lay_desk(tmp_path_factory.mktemp("desk") / "kit")


@pytest.fixture(scope="session")
def first_copy(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A copy of the whole kit, for those who change its sources."""
    return set_desk(tmp_path_factory.mktemp("desk") / "kit")


@pytest.fixture
def desk(request: pytest.FixtureRequest, first_desk: Desk, mother, server, site, tmp_path: Path) -> Desk:
    site.outputs = {"i2b-demo-infer": {"submission.csv": submission_csv("ID7", "ID8")}}
    if request.node.get_closest_marker("full"):
        return request.getfixturevalue("first_copy").copy(tmp_path / "kit")
    return first_desk.copy(tmp_path / "kit", mother)


def changes(server) -> list[str]:
    return [name for name in server.names() if name in CHANGING]


def once(site) -> None:
    """One dataset version, one kernel version, one submission."""
    summary = site.summary()
    assert summary["datasets"] == {WEIGHTS: 1}
    assert summary["kernels"] == {KERNEL: 1}
    assert len(summary["submissions"]) == 1


def test_from_sources_to_a_scored_submission_and_then_nothing_is_left_to_do(desk: Desk, server, site) -> None:
    start = time.monotonic()
    done = desk.shell("--message", "the first one")
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    once(site)
    (made,) = site.submissions
    assert made["kernel"] == [KERNEL, 1] and re.fullmatch(r"\[i2b-[0-9a-f]{8}\] the first one", made["description"])
    (row,) = desk.scores()
    assert row["public"] == "0.710000" and row["submission_ref"] == "100" and row["kernel_version"] == "1"
    assert row["cv"] == "0.683100" and "R2" in row["cv_formula"] and "3 folds by GroupSplit" in row["cv_folds"]
    assert row["source_sha256"] == desk.source_sha256() and row["note"] == "the first one"
    for number in range(1, 13):
        assert f"[{number}/12]" in done.stdout, "each step says when it starts"
    assert done.stdout.count("done in") == 12
    assert "yes, unchanged since the last check" in done.stdout, "nothing has changed since"
    for link in (f"/datasets/{WEIGHTS}", f"/code/{KERNEL}", "/competitions/csiro-biomass/submissions"):
        assert f"https://www.kaggle.com{link}" in done.stdout
    assert seconds < 20, f"{seconds:.1f} s besides rehearsal and polling"

    requests = changes(server)
    again = desk.shell()
    assert again.returncode == 0 and "nothing left to do" in again.stdout, again.stderr
    assert changes(server) == requests
    assert desk.scores() == [row]


def test_a_script_gets_one_json_object(desk: Desk) -> None:
    done = desk.shell("--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] and said["kernel"] == KERNEL and said["submission"] == 100 and said["public"] == 0.71


def test_submit_0_stops_with_verified_outputs_and_the_next_run_only_submits(desk: Desk, server, site) -> None:
    done = desk.shell("--no-submit")
    assert done.returncode == 0 and "not submitted, as requested" in done.stdout, done.stderr
    assert not site.submissions and (desk.folder / "out/push/outputs/i2b-demo-infer/v1/submission.csv").is_file()
    before = len(server.log)
    assert desk.shell().returncode == 0
    assert "SaveKernel" not in server.names()[before:] and "GetKernelSessionStatus" not in server.names()[before:]
    once(site)


@pytest.mark.full
def test_wait_0_leaves_a_pending_row_and_the_next_run_fills_it(desk: Desk, site) -> None:
    done = desk.shell("--no-wait")
    assert done.returncode == 0, done.stderr
    (row,) = desk.scores()
    assert row["status"] == "pending" and row["public"] == "" and row["submission_ref"] == "100"
    assert desk.shell().returncode == 0
    (row,) = desk.scores()
    assert row["status"] == "complete" and row["public"] == "0.710000"
    once(site)


@pytest.mark.full
def test_neither_submit_nor_wait_pushes_and_goes(desk: Desk, server, site) -> None:
    done = desk.shell("--no-wait", "--no-submit")
    assert done.returncode == 0 and "GetKernelSessionStatus" not in server.names()
    assert site.summary()["kernels"] == {KERNEL: 1}
    assert desk.shell().returncode == 0
    once(site)


def test_an_invalid_output_is_not_submitted(desk: Desk, site) -> None:
    site.outputs["i2b-demo-infer"]["submission.csv"] = submission_csv("ID7", Dry_Total_g=9.0)
    done = desk.shell()
    assert done.returncode == 1 and "break Dry_Total_g" in done.stderr
    assert not site.submissions and not desk.scores()


@pytest.mark.full
def test_a_second_submission_is_made_with_again_only(desk: Desk, site) -> None:
    for arguments, submissions in (((), 1), (("--again",), 2), ((), 2), (("--again",), 3)):
        done = desk.shell(*arguments)
        assert done.returncode == 0, done.stderr
        assert len(site.submissions) == submissions, arguments
    assert site.summary()["kernels"] == {KERNEL: 1}
    assert len({entry["description"] for entry in site.submissions}) == 3
    assert [row["submission_ref"] for row in desk.scores()] == ["100", "101", "102"]


@pytest.mark.full
def test_without_its_journal_the_kit_finds_on_the_site_what_it_did(desk: Desk, site) -> None:
    assert desk.shell().returncode == 0
    desk.forget()
    done = desk.shell()
    assert done.returncode == 0, done.stderr
    assert site.summary()["datasets"] == {WEIGHTS: 1}
    # With which weights the version there ran, only the journal knew: so there is a second, submitted once.
    assert site.summary()["kernels"] == {KERNEL: 2}


@pytest.mark.full
def test_the_submission_of_a_version_is_found_without_a_journal(desk: Desk, kaggle, site, monkeypatch) -> None:
    from build.kaggle.journal import Journal
    from build.kaggle.kernels import Version
    from build.kaggle.submissions import submit_once

    assert desk.shell().returncode == 0
    version = Version(kernel=KERNEL, number=1, url="")
    empty = Journal(desk.folder / "empty.db")
    made = submit_once("csiro-biomass", version, "m", kaggle, empty, lambda state: None, again=False)
    assert made.ref == 100 and len(site.submissions) == 1


@pytest.mark.full
def test_new_sources_make_a_new_version_over_the_one_pushed_before(desk: Desk, site) -> None:
    assert desk.shell().returncode == 0
    desk.change_sources()
    done = desk.shell()
    assert done.returncode == 0, done.stderr
    assert site.summary()["kernels"] == {KERNEL: 2} and site.summary()["datasets"] == {WEIGHTS: 1}
    assert [entry["kernel"] for entry in site.submissions] == [[KERNEL, 1], [KERNEL, 2]]


@pytest.mark.full
def test_new_weights_make_a_new_dataset_version_and_a_new_run(desk: Desk, site) -> None:
    assert desk.shell().returncode == 0
    write_bundle(desk.folder / "out" / "demo" / "bundle", weights=b"other weights")
    desk.rehearsed()
    assert desk.shell().returncode == 0
    assert site.summary()["datasets"] == {WEIGHTS: 2} and site.summary()["kernels"] == {KERNEL: 2}


@pytest.mark.full
def test_an_edit_in_the_browser_stops_everything_until_overwrite(desk: Desk, site) -> None:
    assert desk.shell().returncode == 0
    edited = site.kernels[KERNEL].versions[-1]["text"].replace("SHOW_IMAGES = 6", "SHOW_IMAGES = 9")
    site.edit_kernel(KERNEL, edited)
    desk.change_sources()
    done = desk.shell()
    assert done.returncode == 1 and site.summary()["kernels"] == {KERNEL: 2}
    assert "-SHOW_IMAGES = 6" in done.stderr and "+SHOW_IMAGES = 9" in done.stderr and "--overwrite" in done.stderr
    assert "\x1b[" not in done.stderr, "colours are for a terminal"
    done = desk.shell("--overwrite")
    assert done.returncode == 0, done.stderr
    (saved,) = (desk.folder / "out/push/overwritten/i2b-demo-infer").glob("*.ipynb")
    assert saved.read_text() == edited and saved.name in done.stdout
    assert site.summary()["kernels"] == {KERNEL: 3} and len(site.submissions) == 2


@pytest.mark.full
def test_a_submission_that_ends_in_an_error_is_recorded_and_fails_every_time(desk: Desk, site) -> None:
    site.polls_until_scored = 99
    process = desk.start()
    deadline = time.monotonic() + 30
    while not site.submissions and time.monotonic() < deadline:
        time.sleep(0.05)
    site.submissions[0] |= {"status": "ERROR", "errorDescription": "Notebook Timeout"}
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "ended in an error" in err and "Notebook Timeout" in err, err
    (row,) = desk.scores()
    assert row["status"] == "error"
    again = desk.shell()
    assert again.returncode == 1 and len(site.submissions) == 1 and desk.scores() == [row]


@pytest.mark.full
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(desk: Desk, server, site) -> None:
    site.kernel_states = ["QUEUED", *["RUNNING"] * 500, "COMPLETE"]
    process = desk.start("--message", "it's mine", "--overwrite")
    deadline = time.monotonic() + 30
    while server.names().count("GetKernelSessionStatus") < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    goes_on = """`make push-inference EXPERIMENT=demo MESSAGE='it'"'"'s mine' OVERWRITE=1` continues"""
    assert process.returncode == 130 and goes_on in err, err
    assert "Traceback" not in err
    site.kernels[KERNEL].states = ["COMPLETE"]
    done = desk.shell()
    assert done.returncode == 0, done.stderr
    once(site)


@pytest.mark.full
def test_a_second_push_at_the_same_time_is_refused(desk: Desk, server, site) -> None:
    site.kernel_states = ["RUNNING"] * 500
    first = desk.start()
    deadline = time.monotonic() + 30
    while "GetKernelSessionStatus" not in server.names() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = desk.shell()
    first.kill()
    first.communicate()
    assert second.returncode == 2 and f"another push is running here (process {first.pid})" in second.stderr


def test_without_weights_the_way_to_them_is_named(desk: Desk, server) -> None:
    shutil.rmtree(desk.folder / "out" / "demo" / "bundle")
    done = desk.shell()
    assert done.returncode == 2 and "make demo" in done.stderr
    done = desk.shell(experiment="v1")
    assert done.returncode == 2 and "make push-training EXPERIMENT=v1" in done.stderr
    assert not server.log


def test_an_unknown_experiment_is_wrong_use(desk: Desk, server) -> None:
    done = desk.shell(experiment="dmeo")
    assert done.returncode == 2 and "Did you mean demo?" in done.stderr and not server.log


@pytest.mark.full
def test_without_a_rehearsal_it_rehearses_first_and_what_that_finds_stops_it(desk: Desk, server) -> None:
    """The toy weights are none: the rerun itself would live through that, and submit the training means."""
    from tests.conftest import write_competition

    shutil.rmtree(desk.folder / "out" / "demo" / "rehearsal")
    done = desk.shell()
    assert done.returncode == 2 and "run `make demo`" in done.stderr
    write_competition(desk.folder / "out" / "demo" / "competition")
    write_competition(desk.folder / "out" / "demo" / "hidden")
    done = desk.shell()
    assert done.returncode == 1 and "the rerun contained a fault of bundle" in done.stderr, done.stderr
    assert not changes(server)


@pytest.mark.full
def test_a_notebook_of_more_than_a_megabyte_is_refused_before_any_request(desk: Desk, server) -> None:
    with (desk.folder / "kernel_src/competitions/biomass/constants.py").open("a") as handle:
        handle.writelines(f"# {'x' * 100}\n" for _ in range(10_000))
    done = desk.shell()
    assert done.returncode == 1 and "Kaggle takes less than 1,000,000" in done.stderr, done.stderr
    assert not server.log

"""`make status`: where every experiment stands."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.kaggle.command import status_verb
from build.kaggle.journal import Journal
from build.kaggle.preparation import JOURNAL
from build.kaggle.status import pushable
from build.scores.ledger import Score, append_score
from tests.build.kaggle.site import Dataset, Kernel

Ask = Callable[[], dict]


@pytest.fixture
def ask(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Ask:
    monkeypatch.chdir(tmp_path)

    def run() -> dict:
        status_verb(as_json=True)
        return json.loads(capsys.readouterr().out)

    return run


def fill(server) -> None:
    body = {"slug": "kim/i2b-demo-infer", "text": "{}", "kernelType": "notebook", "language": "python"}
    body |= {"enableGpu": True}
    kernel = Kernel("kim", "i2b-demo-infer", [body, body], ["RUNNING"])
    server.site.kernels["kim/i2b-demo-infer"] = kernel
    dataset = Dataset("kim", "i2b-demo-weights", "w", "other", True, [{"a": b"1"}], states=["READY"])
    server.site.datasets["kim/i2b-demo-weights"] = dataset
    server.site.submissions.append(
        {"ref": 100, "date": "2026-11-24T11:00:00Z", "status": "COMPLETE", "publicScore": "0.71", "polls": 0}
    )
    append_score(Score(time="2026-11-24", experiment="demo", source_sha256="", bundle_sha256="", submission_ref=100))


def test_every_experiment_has_a_row_of_what_the_site_has(ask: Ask, server) -> None:
    fill(server)
    rows = {row["experiment"]: row for row in ask()["experiments"]}
    assert rows["demo"] == {
        "experiment": "demo",
        "training": "-",
        "weights": "v1 READY",
        "inference": "v2 RUNNING",
        "submission": "ref 100 complete, public 0.7100",
    }
    assert set(rows["v1"].values()) == {"v1", "-"}
    assert set(rows["v6"].values()) == {"v6", "-"}  # a blend: an inference without a training of its own


def test_the_table_is_all_that_is_printed(ask: Ask, server, capsys: pytest.CaptureFixture) -> None:
    fill(server)
    status_verb()
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "account kim" and lines[1].split()[:2] == ["experiment", "training"]
    assert lines[2].split() == ["demo", "-", "v1", "READY", "v2", "RUNNING", *"ref 100 complete, public 0.7100".split()]
    assert lines[2 + len(pushable()) :] == [
        "running: kim/i2b-demo-infer v2, pushed elsewhere, of 540 allowed",
        "GPU sessions: 1 of 2 taken by this kit's notebooks; 1 more can run",
        "GPU: 29.0 of 30 h left this week, until 2026-11-28 00:00 UTC",
        "submissions: 1 made today, 4 left",
    ]


def test_a_script_gets_what_runs_and_what_is_left(ask: Ask, server, site) -> None:
    fill(server)
    site.kernels["kim/i2b-v1-train"] = replace(site.kernels["kim/i2b-demo-infer"], slug="i2b-v1-train")
    journal = Journal(JOURNAL)
    journal.record("kernel", {"kernel": "kim/i2b-v1-train"}, version=2)
    journal.close()
    said = ask()
    one = {"version": 2, "state": "RUNNING", "gpu": True}
    assert said["running"] == [
        {"kernel": "kim/i2b-demo-infer", "minutes": None, "limit_minutes": 540, **one},
        {"kernel": "kim/i2b-v1-train", "minutes": 0, "limit_minutes": 720, **one},
    ]
    assert said["left"]["gpu_left_h"] == 29.0 and said["left"]["submissions_left"] == 4


def test_the_limit_of_two_sessions_is_said_before_it_is_met(ask: Ask, server, site, capsys) -> None:
    fill(server)
    site.kernels["kim/i2b-v1-train"] = replace(site.kernels["kim/i2b-demo-infer"], slug="i2b-v1-train")
    status_verb()
    assert "GPU sessions: 2 of 2 taken by this kit's notebooks; the next push waits until" in capsys.readouterr().out


def test_where_kaggle_does_not_say_what_is_left_that_is_said_and_the_rest_shown(ask: Ask, server, capsys) -> None:
    for request in ("GetAcceleratorQuotaStatistics", "GetSubmissionLimits"):
        server.fault(request, status=404, times=9)
    status_verb()
    shown = capsys.readouterr().out
    assert "left this week" not in shown and "account kim" in shown
    assert "GPU hours left: Kaggle did not say (" in shown
    assert "submissions left for csiro-biomass: Kaggle does not say" in shown


def test_what_was_interrupted_or_failed_is_named_with_what_to_do(
    ask: Ask, server, capsys: pytest.CaptureFixture
) -> None:
    journal = Journal(JOURNAL)
    with pytest.raises(KeyboardInterrupt), journal.attempt("run", {"kernel": "kim/i2b-demo-infer", "version": 1}):
        raise KeyboardInterrupt
    with pytest.raises(CheckFailed), journal.attempt("kernel", {"kernel": "kim/i2b-v1-infer"}):
        raise CheckFailed([])
    journal.record("kernel", {"kernel": "kim/i2b-demo-infer"}, version=1)
    journal.close()
    assert [(one["step"], one["state"]) for one in ask()["open"]] == [("kernel", "failed"), ("run", "begun")]
    status_verb()
    printed = capsys.readouterr().out
    assert "open: run of kim/i2b-demo-infer" in printed and "it resumes" in printed


def test_a_step_that_succeeded_later_is_not_open(ask: Ask) -> None:
    journal = Journal(JOURNAL)
    with pytest.raises(CheckFailed), journal.attempt("kernel", {"kernel": "kim/x"}):
        raise CheckFailed([])
    journal.record("kernel", {"kernel": "kim/x"}, version=1)
    journal.close()
    assert ask()["open"] == []


def test_without_the_site_what_is_known_here_is_shown_and_the_exit_is_not_zero(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal(JOURNAL)
    journal.record("kernel", {"kernel": "kim/i2b-demo-infer"}, version=7)
    journal.close()
    server.site.keys = {"kim": "changed"}
    with pytest.raises(CheckFailed, match="401"):
        status_verb()
    printed = capsys.readouterr().out
    assert "v7 pushed" in printed and "could not be reached" in printed


def test_asking_for_the_status_begins_no_journal_and_changes_nothing(ask: Ask, server) -> None:
    ask()
    assert not JOURNAL.exists()
    assert [name for name in server.names() if not name.startswith(("Get", "List", "Introspect"))] == []


def test_of_one_competition_only_its_experiments_are_shown(ask: Ask, server, capsys: pytest.CaptureFixture) -> None:
    server.site.competitions["leaf-classification"] = {}
    everything = {row["experiment"] for row in ask()["experiments"]}
    status_verb(competition="leaf", as_json=True)
    own = {row["experiment"] for row in json.loads(capsys.readouterr().out)["experiments"]}
    assert "leaf" in own and "demo" not in own and own < everything

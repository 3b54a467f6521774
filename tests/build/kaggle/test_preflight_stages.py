"""The preflight's stages through the real client: what each asks, keeps, and does not do twice."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed, UsageError
from build.kaggle import answers, log_stage, preflight
from build.kaggle.answers import LATEST_ANSWERS, AnswerStore
from build.kaggle.command import preflight_verb
from build.kaggle.pushed_values import parameters_in
from build.kaggle.speed_stage import read_speed
from build.kaggle.unknowns import STAGES, stage_named, unknowns_of
from tests.build.kaggle.desk import lay_desk, submission_csv
from tests.build.kaggle.preflight_report import AS_ASSUMED
from tests.build.kaggle.site import Stream
from tests.build.kaggle.test_kill import LOST, UNANSWERED, Executioner

SLUG, FILES = "i2b-preflight", "kim/i2b-preflight-files"


@pytest.fixture
def kit(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and a site on which the preflight's notebook leaves its report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIT_POLL_S", "0.01")
    accepted = tmp_path / "accepted.json"
    monkeypatch.setattr(answers, "ACCEPTED", accepted)
    monkeypatch.setattr(preflight, "ACCEPTED", accepted)
    server.site.outputs[SLUG] = {"preflight.json": json.dumps(AS_ASSUMED).encode()}
    server.site.competitions["csiro-biomass"] = {"train.csv": b"a,b\n", "test.csv": b"a\n"}
    return tmp_path


def kept() -> dict[str, Any]:
    return {name: one["value"] for name, one in json.loads(LATEST_ANSWERS.read_text())["answers"].items()}


def asked_by(stage: str, server, **options: Any) -> list[str]:
    """Run a stage; return the names of the requests that it sent."""
    before = len(server.log)
    preflight_verb(stage=stage, as_json=options.pop("as_json", True), **options)
    return server.names()[before:]


CHANGING = {"SaveKernel", "CreateDataset", "CreateDatasetVersion", "CreateCodeSubmission", "StartBlobUpload", "PUT"}


def test_the_account_is_asked_about_and_nothing_is_changed(kit: Path, server) -> None:
    names = asked_by("account", server)
    assert not CHANGING & set(names)
    assert kept() == {
        "rules": {"files": 2, "bytes": 6},
        "gpu_quota": {"used_h": 1.0, "allowed_h": 30.0, "resets": "2026-11-28T00:00:00Z"},
        "submissions_left": {"left": 5, "today": 0, "in_all": 0},
        "submission_list": {"listed": 0, "states": []},
        "absent_kernel": {"source": 403, "state": 403},
        "absent_dataset": {"state": 404, "dataset": 404},
    }
    assert [name for name in names if name != "IntrospectToken"] == [
        "ListDataFiles",
        "GetAcceleratorQuotaStatistics",
        "GetSubmissionLimits",
        "ListSubmissions",
        "GetKernel",
        "GetKernelSessionStatus",
        "GetDatasetStatus",
        "GetDataset",
    ]  # the eight questions of which the table of stages speaks


def test_the_cost_is_said_first_and_the_last_line_says_what_is_kept_and_what_is_next(kit: Path, server, capsys) -> None:
    preflight_verb(stage="account")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == (
        "stage account: asks the site eight questions and changes nothing; "
        "about 20 s, no GPU time, no submission (estimates)"
    )
    assert last == (
        "stage account: 6 of 6 settled, kept in out/push/answers.json; "
        "next: make preflight STAGE=upload (about 5 minutes, no GPU time, no submission, 8 MB sent)"
    )


def test_a_question_that_is_refused_does_not_stop_the_others(kit: Path, server, capsys) -> None:
    server.site.rules_accepted = False
    with pytest.raises(CheckFailed, match="rules") as failed:
        preflight_verb(stage="account")
    assert len(failed.value.problems) == 2  # the files, and the list of submissions
    assert {"gpu_quota", "absent_dataset"} <= set(kept()) and "rules" not in kept()
    assert "4 of 6 settled (open: rules, submission_list; AGAIN=1 " in capsys.readouterr().out
    server.site.rules_accepted = True
    preflight_verb(stage="account")
    assert "6 of 6 settled" in capsys.readouterr().out


@pytest.mark.parametrize("body", ["<html>a proxy</html>", {"gpuQuota": {"timeUsed": "a lot"}}])
def test_a_broken_answer_is_a_problem_and_keeps_nothing(kit: Path, server, capsys, monkeypatch, body: object) -> None:
    monkeypatch.setattr("build.kaggle.retry.ATTEMPTS", 1)
    server.fault("GetAcceleratorQuotaStatistics", body=body, times=99)
    with pytest.raises(SystemExit, match="1"):
        preflight_verb(stage="account", as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["ok"], printed["open"], len(printed["problems"])) == (False, ["gpu_quota"], 1)
    assert "gpu_quota" not in kept()


def test_what_the_site_says_is_cut_and_cleaned_before_it_is_kept(kit: Path, server) -> None:
    said = f"\x1b[2J{server.site.keys['kim']} " + "x" * 999
    AnswerStore().keep(stage_named("upload"), "upload_left_out", {"said": [said] * 99}, "a test")
    (text, *others) = kept()["upload_left_out"]["said"]
    assert len(text) <= 300 and "\x1b" not in text and server.site.keys["kim"] not in LATEST_ANSWERS.read_text()
    assert len(others) < 50


def test_an_upload_is_broken_off_resumed_versioned_and_looked_at(kit: Path, server) -> None:
    server.site.dataset_states = ["BLOBS_RECEIVED", "READY"]
    names = asked_by("upload", server)
    found = kept()
    resumed = found["upload_resume"]
    assert 0 < resumed["bytes_there"] <= resumed["bytes_sent"] <= 2_000_000 and resumed["rest_taken"] is True
    assert [state.partition(" ")[0] for state in found["upload_ready"]["states"]] == ["BLOBS_RECEIVED", "READY"]
    # The stand-in takes each token once, and keeps nothing that a version does not name.
    assert found["upload_token_twice"]["taken"] is False and "used" in found["upload_token_twice"]["said"]
    assert found["upload_left_out"] == {"file": "gone"}
    dataset = server.site.datasets[FILES]
    assert dataset.private
    assert [sorted(files) for files in dataset.versions] == [
        ["changes.bin", "kit-manifest.json", "stays.bin"],
        ["changes.bin", "kit-manifest.json"],
    ]
    assert names.count("CreateDataset") == 1 and "SaveKernel" not in names
    sent_mb = sum(blob.length for blob in server.site.blobs.values()) / 1e6
    assert round(sent_mb) == stage_named("upload").upload_mb


def test_a_site_that_takes_tokens_twice_and_keeps_what_is_left_out_is_seen_to_do_so(kit, server, monkeypatch) -> None:
    monkeypatch.setattr("build.kaggle.datasets.PATIENT_LOOKS", 2)
    site = server.site
    take = type(site).take_blobs

    def generous(files: list[dict[str, Any]]) -> dict[str, bytes]:
        for file in files:
            site.blobs[file["token"]].used = False
        before = site.datasets[FILES].versions[-1] if FILES in site.datasets else {}
        return before | take(site, files)

    monkeypatch.setattr(site, "take_blobs", generous)
    preflight_verb(stage="upload", as_json=True)
    assert kept()["upload_token_twice"] == {"taken": True, "whole": True}
    assert kept()["upload_left_out"] == {"file": "kept"}


def test_a_settled_upload_sends_nothing_until_it_is_asked_again(kit: Path, server, capsys) -> None:
    preflight_verb(stage="upload", as_json=True)
    assert asked_by("upload", server, as_json=False) == []
    assert "nothing to do: settled on" in capsys.readouterr().out
    names = asked_by("upload", server, again=True)
    assert names.count("CreateDatasetVersion") == 3 and "CreateDataset" not in names  # a first, a refused, a last one
    assert len(server.site.datasets[FILES].versions) == 4


@pytest.mark.parametrize(
    ("name", "phase", "versions"),
    [
        ("CreateDataset", UNANSWERED, 2),
        pytest.param("CreateDataset", LOST, 2, marks=pytest.mark.full),
        pytest.param("CreateDatasetVersion", UNANSWERED, 2, marks=pytest.mark.full),
        pytest.param("CreateDatasetVersion", LOST, 2, marks=pytest.mark.full),
        pytest.param("PUT", UNANSWERED, 2, marks=pytest.mark.full),
    ],
)
def test_a_killed_upload_goes_on_and_no_version_is_made_twice(
    kit: Path, server, mother, monkeypatch, name: str, phase: str, versions: int
) -> None:
    monkeypatch.setenv("KIT_SETTLE_S", "0.2")
    executioner = Executioner(phase, name=name)
    with server.lock:
        server.hook = executioner
        executioner.command = mother.start("preflight", "--stage", "upload", folder=kit)
    assert executioner.command.wait() == -signal.SIGKILL and executioner.struck == name
    server.hook = lambda phase, n, name: None
    again = mother.start("preflight", "--stage", "upload", folder=kit)
    assert again.wait() == 0, again.output
    assert len(server.site.datasets[FILES].versions) == versions
    assert server.site.datasets[FILES].versions[0] != server.site.datasets[FILES].versions[1]
    unseen = ["upload_ready"] if (name, phase) == ("CreateDataset", UNANSWERED) else []  # it was made unobserved
    assert AnswerStore(kit / LATEST_ANSWERS).missing(stage_named("upload")) == unseen


def log_of(*lines: str) -> str:
    return json.dumps(
        [{"stream_name": "stdout", "time": float(n), "data": f"{line}\n"} for n, line in enumerate(lines)]
    )


def test_the_log_is_read_while_a_notebook_without_a_gpu_runs(kit: Path, server) -> None:
    site = server.site
    site.kernel_states = ["QUEUED", *["RUNNING"] * 3, "COMPLETE"]
    site.logs[SLUG] = log_of("Executing Cell 1---------------", "second 0 of 180", "second 5 of 180")
    site.streams, site.waits_for_streams = [Stream(last=2, end="break"), Stream()], True
    preflight_verb(stage="log", as_json=True)
    (body,) = server.bodies("SaveKernel")
    assert "PRINT_S = 180" in body["text"] and body["enableGpu"] is False and not body.get("machineShape")
    found = kept()
    assert found["log_labels"] == {"http": 404}
    assert found["log_papermill"] == {"lines": 3, "cells_named": 1}
    assert found["cpu_image"] == {
        "python": AS_ASSUMED["python"],
        "torch": AS_ASSUMED["versions"]["torch"]["torch"],
        "layout": "new",
    }
    live = found["log_live"]
    assert (live["http"], live["lines"]) == ([200], 3)
    assert "text/event-stream" in live["kind"] and live["connections"] >= 2
    assert live["next_begins"] == ["with lines that were there"] and live["end_of_log"] is True
    assert live["only_stored"] == 0


def test_a_site_without_a_live_log_is_an_answer_too(kit: Path, server) -> None:
    server.fault("StreamLog", status=404, times=999)
    server.site.kernel_states = ["RUNNING", "RUNNING", "COMPLETE"]
    preflight_verb(stage="log", as_json=True)
    assert (kept()["log_live"]["http"], kept()["log_live"]["lines"]) == ([404], 0)


def test_a_log_that_was_missed_stays_open_and_the_notebook_is_not_pushed_twice(kit: Path, server, capsys) -> None:
    server.site.kernel_states = ["COMPLETE"]
    for _ in range(2):
        preflight_verb(stage="log")
        assert "(open: log_live; AGAIN=1 " in capsys.readouterr().out
    assert server.names().count("SaveKernel") == 1
    server.site.kernel_states = ["RUNNING", "RUNNING", "COMPLETE"]
    preflight_verb(stage="log", again=True)
    assert server.names().count("SaveKernel") == 2 and "4 of 4 settled" in capsys.readouterr().out


def test_the_image_says_what_was_read_back_and_what_the_run_was_charged(kit: Path, server, monkeypatch) -> None:
    site, wait = server.site, preflight.wait_for_run

    def charging(*arguments: Any) -> str:
        site.gpu_used_s += 600
        return wait(*arguments)

    monkeypatch.setattr(preflight, "wait_for_run", charging)
    preflight_verb(as_json=True)
    found = kept()
    assert found["gpu_charge"]["charged_min"] == 10.0
    assert found["image"] == {
        "python": AS_ASSUMED["python"],
        "layout": "new",
        "gpus": ["Tesla T4 sm_75"] * 2,
        "differ": 0,
    }
    there = found["read_back"]
    assert (there["machine_shape"], there["enable_gpu"], there["is_private"]) == ("NvidiaTeslaT4", True, True)
    preflight_verb(as_json=True)  # shows it again, and asks the quota no second time
    assert kept()["gpu_charge"] == found["gpu_charge"]


def test_the_stages_are_listed_with_their_cost_and_the_day_they_were_settled(kit: Path, server, capsys) -> None:
    preflight_verb(stage="account", as_json=True)
    capsys.readouterr()
    asked = len(server.log)
    preflight_verb(stage="list", as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert len(server.log) == asked
    assert [one["stage"] for one in listed["stages"]] == ["account", "upload", "log", "image", "gpus", "submission"]
    assert [bool(one["settled"]) for one in listed["stages"]] == [True] + [False] * 5
    assert listed["next"] == "upload"
    preflight_verb(stage="list")
    printed = capsys.readouterr().out
    assert "next: make preflight STAGE=upload" in printed and "settling" in printed


def test_next_is_the_cheapest_open_stage_and_never_one_that_submits(kit: Path, server) -> None:
    store = AnswerStore()
    for stage in STAGES[1:5]:
        for unknown in unknowns_of(stage):
            store.keep(stage, unknown.name, True, "a test")
    assert "ListDataFiles" in asked_by("next", server)
    with pytest.raises(UsageError, match="STAGE=submission is left: it submits"):
        preflight_verb(stage="next")
    with pytest.raises(UsageError, match="no stage 'gpu'; there are account, upload"):
        preflight_verb(stage="gpu")


def test_accepted_answers_are_data_with_their_time_stage_and_request(kit: Path, server, capsys) -> None:
    preflight_verb(stage="account", as_json=True)
    capsys.readouterr()
    preflight_verb(accept=True, as_json=True)
    assert '+    "rules"' in json.loads(capsys.readouterr().out)["answers"]
    accepted = json.loads(answers.ACCEPTED.read_text())["answers"]
    assert (accepted["rules"]["stage"], accepted["rules"]["asked"]) == ("account", "ListDataFiles")
    LATEST_ANSWERS.unlink()
    preflight_verb(stage="list", as_json=True)
    assert json.loads(capsys.readouterr().out)["stages"][0]["settled"] == accepted["rules"]["time"][:10]
    with pytest.raises(UsageError, match="does not exist"):
        preflight_verb(accept=True)


@pytest.mark.parametrize("text", ["{", '{"answers": 3}', '{"answers": {"rules": {"value": 1, "time": 2}}}', "[]"])
def test_a_damaged_file_of_answers_is_named_and_left_alone(kit: Path, server, text: str) -> None:
    LATEST_ANSWERS.parent.mkdir(parents=True)
    LATEST_ANSWERS.write_text(text)
    with pytest.raises(CheckFailed, match="cannot be read"):
        preflight_verb(stage="account", as_json=True)
    assert LATEST_ANSWERS.read_text() == text and server.log == []


def test_the_lines_are_printed_longer_than_a_connection_is_said_to_last() -> None:
    assert log_stage.PRINT_S > 120


@pytest.fixture
def desk(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `make demo` leaves, and a site on which its inference leaves a submission."""
    server.site.outputs = {"i2b-demo-infer": {"submission.csv": submission_csv("ID7", "ID8")}}
    monkeypatch.setenv("KIT_POLL_S", "0.01")
    return lay_desk(tmp_path / "kit").folder


def test_a_submission_is_made_once_and_what_it_took_is_kept(desk: Path, server, monkeypatch) -> None:
    monkeypatch.chdir(desk)
    assert asked_by("submission", server).count("CreateCodeSubmission") == 1
    value = kept()["submission_cost"]
    assert (value["status"], value["public"]) == ("COMPLETE", 0.71)
    assert (value["before"]["submissions_left"], value["after"]["submissions_left"]) == (5, 4)
    assert asked_by("submission", server) == []


@pytest.mark.full
def test_a_stage_that_was_killed_as_it_submitted_does_not_submit_twice(desk: Path, server, mother) -> None:
    executioner = Executioner(UNANSWERED, name="CreateCodeSubmission")
    with server.lock:
        server.hook = executioner
        executioner.command = mother.start("preflight", "--stage", "submission", folder=desk)
    assert executioner.command.wait() == -signal.SIGKILL
    server.hook = lambda phase, n, name: None
    command = mother.start("preflight", "--stage", "submission", "--json", folder=desk)
    assert command.wait() == 0, command.output
    assert len(server.site.submissions) == 1
    value = json.loads((command.folder / "stdout").read_text())["answers"]["submission_cost"]["value"]
    assert (value["before"]["submissions_left"], value["after"]["submissions_left"]) == (5, 4)


def test_without_the_demo_the_submission_stage_says_what_to_make_first(kit: Path, server) -> None:
    with pytest.raises(UsageError, match="make demo"):
        preflight_verb(stage="submission", as_json=True)
    assert server.log == []


TIMED = {
    "network": "resnet34",
    "size_px": [512, 512],
    "batch": 16,
    "flops": 4 * 10**10,
    "forward_per_s": 250.0,
    "train_per_s": 80.0,
    "train_gb": 5.5,
    "together_per_s": 490.0,
}


def test_the_networks_of_three_experiments_are_timed_beside_what_is_assumed(kit: Path, server) -> None:
    too_large = {"network": "a", "size_px": [8, 8], "batch": 1, "fault": "CUDA out of memory", "together_per_s": 0.0}
    server.site.outputs[SLUG] = {"preflight.json": json.dumps(AS_ASSUMED | {"speed": [TIMED, too_large]}).encode()}
    preflight_verb(stage="gpus", as_json=True)
    (body,) = server.bodies("SaveKernel")
    (kit / "pushed.ipynb").write_text(body["text"])
    networks = parameters_in(kit / "pushed.ipynb")["NETWORKS"]
    assert networks[0] == ["resnet34", 512, 512, 16] and networks[2][0] == "vit_base_patch14_dinov2"
    assert body["machineShape"] == "NvidiaTeslaT4"
    assert kept()["t4_speed"] == {
        "resnet34 512x512, batch 16": {
            "forward_per_s": 250.0,
            "flop_per_s": 10**13,
            "of_assumed": 0.5,  # of 2e13
            "train_per_s": 80.0,
            "train_gb": 5.5,
            "all_gpus_times": 1.96,
        },
        "a 8x8, batch 1": {"fault": "CUDA out of memory"},
    }


@pytest.mark.parametrize("speed", [None, [], [3], [TIMED | {"flops": "many"}], [TIMED | {"forward_per_s": 0}]])
def test_figures_that_are_none_are_refused_and_not_kept(kit: Path, speed: object) -> None:
    (kit / "preflight.json").write_text(json.dumps(AS_ASSUMED | {"speed": speed}))
    with pytest.raises(CheckFailed, match="not of the form"):
        read_speed(kit)

"""The faults that strike at one place: the ten of the facts page, and more; each with what cures it."""

from typing import Any

from tests.build.kaggle.bench import (
    INFERENCE,
    PREFLIGHT,
    TRAINING,
    Case,
    preflight_report,
)
from tests.build.kaggle.desk import WEIGHTS, submission_csv
from tests.build.kaggle.mishaps import (
    ELSEWHERE,
    FOREVER,
    LOG_LINES,
    QUOTA,
    SESSIONS,
    TRACEBACK,
    a_folder_in_it,
    an_archive_in_it,
    another_log,
    archive_with_link,
    bigger_notebook,
    bomb,
    change,
    clear_listings,
    damaged_weights,
    edited_between_sessions,
    edited_on_site,
    evil_archive,
    fails_in_the_rerun,
    fault,
    first_session,
    half_a_training,
    hidden_list,
    leaves,
    log_of,
    nan_in_training,
    never_checked,
    newest_log,
    no_hours_until_saturday,
    no_progress,
    no_starting_weights,
    no_weights,
    not_ready,
    nothing_mounted,
    offers_no_log,
    outputs,
    private_key,
    put_archive,
    readable_key,
    real_archive,
    saved_meanwhile,
    short_archive,
    stale_token,
    stream_of,
    two_sessions,
    waits_pass_at_once,
    whole_training,
    without_token,
)
from tests.build.kaggle.session_runs import CRASH
from tests.build.kaggle.site import Stream


def special_cases() -> list[Case]:
    """The facts page's ten failures and more; `step` says where they strike."""
    return [
        *push_cases(),
        *weight_cases(),
        *run_cases(),
        *log_cases(),
        *submission_cases(),
        *session_cases(),
        *other_verbs(),
        *queue_cases(),
    ]


def push_cases() -> list[Case]:
    """Before and while the notebook is saved."""
    save, read_back = "push: save the notebook", "push: read it back"
    cases = [
        Case("1. “Kernel push error” in a 200", save, fault("SaveKernel", body={"error": "Kernel push error: no"})),
        Case("1. a 200 without a version", save, fault("SaveKernel", body={"url": "https://www.kaggle.com/x"})),
        Case("2. a dataset source dropped", save, change(drops_sources=[WEIGHTS]), change(drops_sources=[])),
        *(
            Case(f"2. a {kind} source reported as invalid", save, fault("SaveKernel", edit={field: [name]}), says=name)
            for kind, field, name in (
                ("competition", "invalidCompetitionSources", "csiro-biomass"),
                ("notebook", "invalidKernelSources", "kim/another"),
                ("model", "invalidModelSources", "google/a-model"),
            )
        ),
        Case(
            "2. a source gone when read back",
            read_back,
            change(readback={"datasetDataSources": []}),
            change(readback={}),
        ),
        Case(
            "3. the title is in use (409)",
            save,
            fault("SaveKernel", status=409, body={"code": 409, "message": "The title is already in use"}),
        ),
        Case("4. another accelerator", read_back, change(readback={"machineShape": "NvidiaL4"}), change(readback={})),
        Case("public instead of private", read_back, change(readback={"isPrivate": False}), change(readback={})),
        Case("internet switched on", read_back, change(readback={"enableInternet": True}), change(readback={})),
        Case("7. SaveKernel answers 429 five times", save, fault("SaveKernel", status=429, times=5)),
        Case("8. two GPU sessions already", save, fault("SaveKernel", body={"error": SESSIONS}, times=3)),
        Case(
            "8. the week's quota is spent",
            save,
            fault("SaveKernel", body={"error": QUOTA}, times=FOREVER),
            says="Saturday",
        ),
        Case(
            "9. edited in the browser",
            "drift: read the notebook",
            lambda server: None,
            lambda server: None,
            arguments=("--overwrite",),
            prepare=edited_on_site,
            submitted=2,
            says=r"\+print\(.edited in the browser.\)",
        ),
        Case("the notebook is not there yet: 403", "drift: read the notebook", change(absent_status=403)),
        Case("the notebook is not there yet: 404", "drift: read the notebook", change(absent_status=404)),
        Case(
            "a notebook over 1 MB",
            "push: stage",
            lambda server: None,
            prepare=bigger_notebook,
            dead_end=True,
            submitted=0,
        ),
        Case(
            "`make check` finds something",
            "check",
            lambda server: None,
            prepare=never_checked,
            dead_end=True,
            submitted=0,
            asks_nothing=True,
            slow=True,
        ),
        Case("a stale token hides good keys", "account", stale_token, without_token, says="takes precedence"),
        Case("keys that others can read", "account", readable_key, private_key, says="chmod 600", asks_nothing=True),
        Case(
            "a redirect would carry the notebook elsewhere",
            save,
            fault("SaveKernel", status=307, headers={"Location": ELSEWHERE}, body={}),
            says="nothing was sent",
        ),
        Case(
            "a redirect to an address that is not encrypted",
            "run: ask for its state",
            fault("GetKernelSessionStatus", status=302, headers={"Location": "http://198.51.100.1/x"}, body={}),
            says="nothing was sent",
        ),
    ]
    return cases


def weight_cases() -> list[Case]:
    """While the weights are pushed."""
    make, upload, listing = "weights: make the dataset", "weights: upload", "weights: list the files"
    taken = {"status": "error", "error": 'The requested title "x" is already in use by a dataset.'}
    return [
        Case("5. ready, and no file listed for a while", listing, change(empty_listings=3)),
        Case("5. ready, and no file ever listed", listing, change(empty_listings=FOREVER), clear_listings),
        Case(
            "5. 403 while the first version is processed",
            "weights: is it there?",
            change(dataset_states=["403", "403", "READY"]),
        ),
        Case(
            "5. other states before READY",
            "weights: is it there?",
            change(dataset_states=["BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"]),
        ),
        Case("5. processing fails", make, change(dataset_states=["FAILED"]), change(dataset_states=["READY"])),
        Case("6. a file lost on the way", listing, change(loses_files=["fold0.safetensors"]), change(loses_files=[])),
        Case("6. an upload breaks in the middle", upload, fault("PUT", nth=2, keep_bytes=5)),
        Case("6. an upload is refused", upload, fault("PUT", nth=2, status=403, times=FOREVER)),
        Case("an upload answers 503, the rest follows", upload, fault("PUT", nth=2, keep_bytes=5, status=503)),
        Case("an error in the body of a 200", make, fault("CreateDataset", body={"status": "error", "error": "no"})),
        Case("3. the dataset's title is in use", make, fault("CreateDataset", body=taken)),
        Case(
            "no weights on this machine",
            "weights",
            lambda server: None,
            prepare=no_weights,
            dead_end=True,
            submitted=0,
            asks_nothing=True,
        ),
        Case(
            "6. weights that differ from their manifest",
            "weights",
            lambda server: None,
            prepare=damaged_weights,
            dead_end=True,
            submitted=0,
            asks_nothing=True,
        ),
    ]


def run_cases() -> list[Case]:
    """While the notebook runs, and what it leaves."""
    run, download = "run: ask for its state", "outputs: download"
    of_one = submission_csv("ID1")
    rows = of_one.decode().splitlines()
    spoilt = {
        "NaN in submission.csv": submission_csv("ID1", GDM_g=float("nan")),
        "an infinite number in submission.csv": submission_csv("ID1", Dry_Total_g=float("inf")),
        "negative grams in submission.csv": submission_csv("ID1", Dry_Dead_g=-1.0),
        "a target missing in submission.csv": "\n".join(rows[:-1]).encode() + b"\n",
        "identities broken in submission.csv": submission_csv("ID1", Dry_Total_g=9.0),
        "an empty submission.csv": b"",
        "a page instead of submission.csv": b"<html>not found</html>",
    }
    refused = {"dead_end": True, "submitted": 0}
    return [
        Case(
            "the run ends in an error",
            run,
            change(kernel_states=["RUNNING", "ERROR"], logs={INFERENCE: TRACEBACK}),
            change(kernel_states=["QUEUED", "COMPLETE"], logs={}),
            arguments=("--again",),
            says=r"kernel_src/\S+\.py:\d+",
        ),
        Case(
            "the run ends in an error, without a log",
            run,
            change(kernel_states=["RUNNING", "ERROR"]),
            change(kernel_states=["QUEUED", "COMPLETE"]),
            arguments=("--again",),
            says="Your notebook threw an exception",
        ),
        Case(
            "the run is cancelled in the browser",
            run,
            change(kernel_states=["RUNNING", "CANCEL_ACKNOWLEDGED"]),
            change(kernel_states=["COMPLETE"]),
            arguments=("--again",),
        ),
        Case(
            "states out of order", run, change(kernel_states=["RUNNING", "QUEUED", "COMPLETE", "RUNNING", "COMPLETE"])
        ),
        Case("a newer version meanwhile", run, saved_meanwhile, newer=1),
        Case("the label is refused: 400", run, change(label_status=400), says="asking for the newest"),
        Case("the label is refused: 404", run, change(label_status=404), says="asking for the newest"),
        Case("nothing is mounted in the first run", run, nothing_mounted(1), repushed=1, says="once more"),
        Case(
            "nothing is mounted, twice",
            run,
            nothing_mounted(1, 2),
            arguments=("--again",),
            repushed=1,
            says="of version 2 failed",
        ),
        Case("no submission.csv", download, change(outputs=outputs(other__txt=b"")), **refused),
        *(
            Case(name, download, change(outputs=outputs(submission__csv=content)), **refused)
            for name, content in spoilt.items()
        ),
        Case(
            "an output named ../../evil",
            "outputs: list",
            change(outputs={INFERENCE: {"../../evil.txt": b"evil", "submission.csv": of_one}}),
            **refused,
        ),
        Case("a download breaks in the middle", download, fault("/submission-csv", cut_bytes=40)),
    ]


def log_cases() -> list[Case]:
    """While the log is read as the run goes on: each line is shown once, and none of another version."""
    read = "run: read its log"
    page = Stream(raw="<html>log in</html>", kind="text/html")
    before = Stream(raw=log_of("a run before"), kind="application/json")
    streams: dict[str, list[Stream]] = {
        "the log breaks off, and begins anew": [Stream(last=9, end="break"), Stream(last=21, end="break"), Stream()],
        "the log comes again from somewhere": [Stream(last=9, end="break"), Stream(first=4, last=30, end="close")],
        "the log goes on where it broke off": [Stream(last=9, end="break"), Stream(first=9)],
        "END_OF_LOG too early": [Stream(last=9), Stream(last=9), Stream(last=30)],
        "the log is garbage": [Stream(raw="\0{]\n\n", end="close"), page, Stream(last=9, end="break")],
        "a stored log while the run goes on": [before, Stream(last=9, end="break"), before],
    }
    return [
        *(
            Case(name, read, change(**stream_of(LOG_LINES), streams=scripted, waits_for_streams=True), log=LOG_LINES)
            for name, scripted in streams.items()
        ),
        Case("the log answers for another version", read, another_log, log=LOG_LINES, says="is another log"),
        Case(
            "labels of the log mean nothing", read, newest_log, newer=1, says="does not tell the logs of versions apart"
        ),
        Case(
            "no log is offered (404)",
            read,
            offers_no_log,
            says="offers no live log",
        ),
    ]


def submission_cases() -> list[Case]:
    """While it is submitted and scored."""
    submit = "submission: submit"
    return [
        Case("10. an empty 200 to the submission", submit, fault("CreateCodeSubmission", body={})),
        Case("10. submitted, and not listed for a while", "submission: look for it", hidden_list),
        Case("rules not accepted", submit, change(rules_accepted=False), change(rules_accepted=True), says="/rules"),
        Case("no submission left today", submit, change(submissions_a_day=0), change(submissions_a_day=5)),
        Case("scored with an error", "score: wait", fails_in_the_rerun, dead_end=True),
    ]


def session_cases() -> list[Case]:
    """Between two sessions of a training."""
    train: dict[str, Any] = {"verb": "push-training", "slow": True, "prepare": two_sessions}
    checkpoints, push, outputs = "training: checkpoints", "training: next session", "training: outputs"
    crash = CRASH + "NOT FINISHED: folds 1."
    return [
        Case(
            "5. other states before READY",
            checkpoints,
            not_ready("BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"),
            **train,
        ),
        Case("5. processing fails", checkpoints, not_ready("FAILED"), change(dataset_states=["READY"]), **train),
        Case("6. an upload breaks in the middle", checkpoints, fault("PUT", nth=6, keep_bytes=3), **train),
        Case(
            "the connection breaks after the effect", checkpoints, fault("CreateDataset", nth=2, drop="after"), **train
        ),
        Case("the connection breaks after the effect", push, fault("SaveKernel", nth=2, drop="after"), **train),
        Case("8. two GPU sessions already", push, fault("SaveKernel", nth=2, body={"error": SESSIONS}), **train),
        Case(
            "8. the week's quota is spent",
            push,
            fault("SaveKernel", nth=2, body={"error": QUOTA}, times=FOREVER),
            says="`make push-training EXPERIMENT=demo` goes on then",
            **train,
        ),
        Case(
            "9. edited in the browser",
            push,
            edited_between_sessions,
            arguments=("--overwrite",),
            says=r"\+print\(.edited in the browser.\)",
            **train,
        ),
        Case(
            "a session without progress",
            outputs,
            no_progress,
            lambda server: server.site.version_outputs.pop((TRAINING, 2)) and None,
            arguments=("--again",),
            says="would cost GPU hours for nothing",
            **train,
        ),
        Case(
            "an error ends a session, not its clock",
            outputs,
            change(version_logs={(TRAINING, 1): crash}),
            arguments=("--again",),
            says="RuntimeError: no luck",
            **train,
        ),
        Case(
            "an unfinished run of another experiment",
            outputs,
            first_session(steps={0: 3}, name="v1"),
            first_session(folds=1, steps={1: 12}),
            **train,
        ),
    ]


def other_verbs() -> list[Case]:
    """`make data`, `push-training`, `push-data` and `preflight`; what they share with the others is asked above."""
    failing = {"kernel_states": ["RUNNING", "ERROR"]}
    train: dict[str, Any] = {"verb": "push-training", "slow": True}
    data: dict[str, Any] = {"verb": "data"}
    external: dict[str, Any] = {"verb": "push-data"}
    preflight: dict[str, Any] = {"verb": "preflight"}
    again = ("--again",)
    return [
        Case("the archive is cut off", "data: download", fault("/csiro-biomass-zip", cut_bytes=40), **data),
        Case("a damaged archive", "data: download", put_archive(b"PK not a zip"), real_archive, **data),
        Case("a file named ../evil in the archive", "data: download", evil_archive, real_archive, **data),
        Case("a link in the archive", "data: download", archive_with_link, real_archive, says="a link", **data),
        Case("an archive that unpacks to 300 GB", "data: download", bomb, real_archive, says="would unpack", **data),
        Case("a file missing in the archive", "data: download", short_archive, real_archive, **data),
        Case(
            "rules not accepted",
            "data: list",
            change(rules_accepted=False),
            change(rules_accepted=True),
            says="/rules",
            **data,
        ),
        Case(
            "a redirect to an address that is not encrypted",
            "data: find the archive",
            fault("DownloadDataFiles", status=302, headers={"Location": "http://198.51.100.1/x"}, body={}),
            says="nothing was sent",
            **data,
        ),
        Case(
            "the run ends in an error",
            "training: run",
            change(**failing, logs={TRAINING: TRACEBACK}),
            change(kernel_states=["QUEUED", "COMPLETE"], logs={}),
            arguments=again,
            says=r"kernel_src/\S+\.py:\d+",
            **train,
        ),
        Case(
            "a training without its weights",
            "training: outputs",
            half_a_training,
            whole_training,
            says="look at its log",
            **train,
        ),
        Case("NaN in a training's predictions", "training: outputs", nan_in_training, whole_training, **train),
        Case("8. two GPU sessions already", "training: push", fault("SaveKernel", body={"error": SESSIONS}), **train),
        Case("the connection breaks after the effect", "training: push", fault("SaveKernel", drop="after"), **train),
        Case(
            "starting weights that are not there",
            "training: datasets",
            lambda server: None,
            prepare=no_starting_weights,
            dead_end=True,
            says="push-data",
            **train,
        ),
        Case("6. an upload breaks in the middle", "external: upload", fault("PUT", nth=1, keep_bytes=3), **external),
        Case(
            "6. a file lost on the way",
            "external: list the files",
            change(loses_files=["wheels.bin"]),
            change(loses_files=[]),
            **external,
        ),
        Case(
            "the connection breaks after the effect",
            "external: make the dataset",
            fault("CreateDataset", drop="after"),
            **external,
        ),
        Case(
            "an archive in the folder",
            "external: look through",
            lambda server: None,
            prepare=an_archive_in_it,
            dead_end=True,
            says="unpacks it",
            **external,
        ),
        Case(
            "a folder in the folder",
            "external: look through",
            lambda server: None,
            prepare=a_folder_in_it,
            dead_end=True,
            says="leaves folders out",
            **external,
        ),
        Case(
            "the run ends in an error",
            "preflight: run",
            change(**failing, logs={PREFLIGHT: TRACEBACK}),
            change(kernel_states=["COMPLETE"], logs={}),
            arguments=again,
            **preflight,
        ),
        Case(
            "a preflight without a report",
            "preflight: report",
            leaves(PREFLIGHT, other__txt=b""),
            leaves(PREFLIGHT, preflight__json=preflight_report()),
            **preflight,
        ),
        Case(
            "a report with Python in it",
            "preflight: report",
            leaves(PREFLIGHT, preflight__json=preflight_report(python='3.13"; import os')),
            leaves(PREFLIGHT, preflight__json=preflight_report()),
            **preflight,
        ),
        Case(
            "8. the week's quota is spent",
            "preflight: push",
            fault("SaveKernel", body={"error": QUOTA}, times=FOREVER),
            **preflight,
        ),
    ]


def queue_cases() -> list[Case]:
    """`make queue`: what its own steps can meet, and what it makes of a training that fails."""
    queue: dict[str, Any] = {"verb": "queue", "slow": True}
    hours, others, push = "queue: ask for the hours", "queue: ask what else runs", "queue: push"
    failing = {"kernel_states": ["RUNNING", "ERROR"], "logs": {TRAINING: TRACEBACK}}
    weeks: dict[str, Any] = queue | {"prepare": waits_pass_at_once}
    return [
        Case("no hours until Saturday", hours, no_hours_until_saturday, says="goes on Sat 05 Dec 00:00 UTC", **weeks),
        Case("404", hours, fault("GetAcceleratorQuotaStatistics", status=404, times=FOREVER), **queue),
        Case("503 once", hours, fault("GetAcceleratorQuotaStatistics", status=503), **queue),
        Case(
            "403", others, fault("ListKernels", status=403, times=FOREVER), says="did not say what else runs", **queue
        ),
        Case("a proxy's page instead of JSON", others, fault("ListKernels", body="<html>log in</html>"), **queue),
        Case(
            "8. the week's quota is spent",
            push,
            fault("SaveKernel", body={"error": QUOTA}),
            says="goes on Sat 05 Dec 00:00 UTC",
            **weeks,
        ),
        Case("8. two GPU sessions already", push, fault("SaveKernel", body={"error": SESSIONS}, times=3), **queue),
        Case("the connection breaks for an hour", push, fault("SaveKernel", drop="before", times=20), **weeks),
        Case("the connection breaks after the effect", push, fault("SaveKernel", drop="after"), **queue),
        Case("401", push, fault("SaveKernel", status=401, times=FOREVER), **queue),
        Case(
            "the run ends in an error",
            "queue: run",
            change(**failing),
            change(kernel_states=["QUEUED", "COMPLETE"], logs={}),
            arguments=("--again",),
            says="EXPERIMENTS=demo AGAIN=1",
            **queue,
        ),
        Case("a training without its weights", "queue: outputs", half_a_training, whole_training, **queue),
    ]

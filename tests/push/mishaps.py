"""The faults that strike at one place: the ten of the facts page, and more; each with what cures it."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.push.bench import DATA, SLUG, Bench, Case
from tests.push.desk import KERNEL, WEIGHTS, submission_csv, write_bundle

FOREVER = 10**6


def fault(request: str, **what: Any) -> Callable[[Any], None]:
    return lambda server: server.fault(request, **what) and None


def change(**values: Any) -> Callable[[Any], None]:
    def apply(server: Any) -> None:
        for name, value in values.items():
            setattr(server.site, name, value)

    return apply


def edited_on_site(bench: Bench) -> None:
    """Push once, then edit in the browser; the sources change, so that there is something to push."""
    assert bench.run()[0] == 0
    notebook = json.loads(bench.server.site.kernels[KERNEL].versions[-1]["text"])
    notebook["cells"][-1]["source"] = "print('edited in the browser')"
    bench.server.site.edit_kernel(KERNEL, json.dumps(notebook))
    write_bundle(bench.folder / "out" / "demo" / "bundle", weights=b"other weights")
    bench.rehearsed()


def bigger_notebook(bench: Bench) -> None:
    bench.patch.setattr("build.check.command.SOURCE_LIMIT_BYTES", 1000)


def save_token(token: str) -> Path:
    path = Path(os.environ["HOME"]) / ".kaggle" / "access_token"
    path.parent.mkdir(exist_ok=True)
    path.write_text(token)
    path.chmod(0o600)
    return path


def stale_token(server: Any) -> None:
    save_token("stale-token")


def without_token(server: Any) -> None:
    (Path(os.environ["HOME"]) / ".kaggle" / "access_token").unlink()


def readable_key(server: Any) -> None:
    folder = Path(os.environ["HOME"]) / ".kaggle"
    folder.mkdir(exist_ok=True)
    (folder / "kaggle.json").write_text('{"username": "kim", "key": "key-of-kim"}')
    (folder / "kaggle.json").chmod(0o644)


def private_key(server: Any) -> None:
    (Path(os.environ["HOME"]) / ".kaggle" / "kaggle.json").chmod(0o600)


def outputs(**files: bytes) -> dict[str, dict[str, bytes]]:
    return {SLUG: {name.replace("__", "."): data for name, data in files.items()}}


TRACEBACK = json.dumps(
    [
        {
            "stream_name": "stderr",
            "time": 1.0,
            "data": "Traceback (most recent call last):\npapermill.exceptions.PapermillExecutionError: \n"
            f'{"-" * 75}\nException encountered at "In [3]":\n{"-" * 75}\n'
            "ValueError                                Traceback (most recent call last)\n"
            "Cell In[3], line 2\n      1 x = 1\n----> 2 raise ValueError('no weights')\n\nValueError: no weights\n",
        }
    ]
)
SESSIONS = "Kernel push error: Maximum batch GPU session count of 2 reached."
QUOTA = "Kernel push error: Maximum weekly GPU quota of 30.00 hours reached."


def clear_listings(server: Any) -> None:
    server.site.empty_listings = 0
    for dataset in server.site.datasets.values():
        dataset.empty_listings = 0


def put_archive(data: bytes) -> Callable[[Any], None]:
    return lambda server: server.site.archives.update({"csiro-biomass": data})


def real_archive(server: Any) -> None:
    server.site.archives.clear()


def evil_archive(server: Any) -> None:
    put_archive(_zipped(DATA | {"../evil.txt": b"evil"}))(server)


def short_archive(server: Any) -> None:
    put_archive(_zipped({"train.csv": DATA["train.csv"]}))(server)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    import io
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def fails_in_the_rerun(server: Any) -> None:
    """Kaggle's rerun on the hidden test ends in an error."""
    server.site.polls_until_scored = FOREVER
    listing = server.site.list_submissions

    def failed(body: dict[str, Any]) -> dict[str, Any]:
        for entry in server.site.submissions:
            if entry["polls"] >= 2:
                entry |= {"status": "ERROR", "errorDescription": "Notebook Threw Exception"}
        return listing(body)

    server.site.list_submissions = failed


def special_cases() -> list[Case]:
    """The facts page's ten failures and more; `step` says where they strike."""
    save, read_back = "push: save the notebook", "push: read it back"
    make, upload, listing = "weights: make the dataset", "weights: upload", "weights: list the files"
    run, download, submit = "run: ask for its state", "outputs: download", "submission: submit"
    cases = [
        Case("1. “Kernel push error” in a 200", save, fault("SaveKernel", body={"error": "Kernel push error: no"})),
        Case("1. a 200 without a version", save, fault("SaveKernel", body={"url": "https://www.kaggle.com/x"})),
        Case("2. a dataset source dropped", save, change(drops_sources=[WEIGHTS]), change(drops_sources=[])),
        Case(
            "2. a competition source dropped",
            save,
            fault("SaveKernel", edit={"invalidCompetitionSources": ["csiro-biomass"]}),
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
        Case("5. ready, and no file listed for a while", listing, change(empty_listings=3)),
        Case("5. ready, and no file ever listed", listing, change(empty_listings=FOREVER), clear_listings),
        Case(
            "5. 403 while the first version is processed",
            "weights: is it there?",
            change(dataset_states=["BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"]),
        ),
        Case("5. processing fails", make, change(dataset_states=["FAILED"]), change(dataset_states=["READY"])),
        Case("6. a file lost on the way", listing, change(loses_files=["fold0.safetensors"]), change(loses_files=[])),
        Case("6. an upload breaks in the middle", upload, fault("PUT", nth=2, keep_bytes=5)),
        Case("6. an upload is refused", upload, fault("PUT", nth=2, status=403, times=FOREVER)),
        Case("an upload answers 503, the rest follows", upload, fault("PUT", nth=2, keep_bytes=5, status=503)),
        Case("an error in the body of a 200", make, fault("CreateDataset", body={"status": "error", "error": "no"})),
        Case("7. SaveKernel answers 429 five times", save, fault("SaveKernel", status=429, times=5)),
        Case("8. two GPU sessions already", save, fault("SaveKernel", body={"error": SESSIONS}, times=3)),
        Case("8. the week's quota is spent", save, fault("SaveKernel", body={"error": QUOTA}, times=FOREVER)),
        Case(
            "9. edited in the browser",
            "drift: read the notebook",
            lambda server: None,
            arguments=("--overwrite",),
            prepare=edited_on_site,
            submitted=2,
        ),
        Case("10. an empty 200 to the submission", submit, fault("CreateCodeSubmission", body={})),
        Case("10. submitted, and not listed", submit, fault("CreateCodeSubmission", body={"message": "ok", "ref": 7})),
        Case("a notebook over 1 MB", save, lambda server: None, prepare=bigger_notebook, dead_end=True, submitted=0),
        Case("a stale token hides good keys", "account", stale_token, without_token),
        Case("keys that others can read", "account", readable_key, private_key),
        Case(
            "the run ends in an error",
            run,
            change(kernel_states=["RUNNING", "ERROR"], logs={SLUG: TRACEBACK}),
            change(kernel_states=["QUEUED", "COMPLETE"], logs={}),
            arguments=("--again",),
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
        Case("an absent notebook is 404", "drift: read the notebook", change(absent_status=404)),
        Case("no submission.csv", download, change(outputs=outputs(other__txt=b"")), dead_end=True, submitted=0),
        Case(
            "NaN in submission.csv",
            download,
            change(outputs=outputs(submission__csv=submission_csv("ID1", GDM_g=float("nan")))),
            dead_end=True,
            submitted=0,
        ),
        Case(
            "negative grams in submission.csv",
            download,
            change(outputs=outputs(submission__csv=submission_csv("ID1", Dry_Dead_g=-1.0))),
            dead_end=True,
            submitted=0,
        ),
        Case(
            "an output named ../../evil",
            "outputs: list",
            change(outputs={SLUG: {"../../evil.txt": b"evil", "submission.csv": submission_csv("ID1")}}),
            dead_end=True,
            submitted=0,
        ),
        Case("a download breaks in the middle", download, fault("/submission-csv", cut_bytes=40)),
        Case("rules not accepted", submit, change(rules_accepted=False), change(rules_accepted=True)),
        Case("no submission left today", submit, change(submissions_a_day=0), change(submissions_a_day=5)),
        Case("the archive is cut off", "data: download", fault("/csiro-biomass-zip", cut_bytes=40), verb="data"),
        Case("a damaged archive", "data: download", put_archive(b"PK not a zip"), real_archive, verb="data"),
        Case("a file named ../evil in the archive", "data: download", evil_archive, real_archive, verb="data"),
        Case("a file missing in the archive", "data: download", short_archive, real_archive, verb="data"),
        Case(
            "rules not accepted", "data: list", change(rules_accepted=False), change(rules_accepted=True), verb="data"
        ),
        Case("scored with an error", "score: wait", fails_in_the_rerun, dead_end=True),
    ]
    return cases

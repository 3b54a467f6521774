"""The faults that strike at one place: the ten of the facts page, and more; each with what cures it."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.push.bench import (
    DATA,
    INFERENCE,
    PREFLIGHT,
    PRETRAINED,
    TRAINING,
    Bench,
    Case,
    preflight_report,
    training_outputs,
)
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
    """The notebooks were checked; then Kaggle's limit is another."""
    bench.patch.setattr("build.check.command.SOURCE_LIMIT_BYTES", 1000)


def never_checked(bench: Bench) -> None:
    """`make check` has not seen these files, and finds something."""
    bigger_notebook(bench)
    bench.patch.setattr("build.push.preparation._digest", lambda: "of other files")


def no_weights(bench: Bench) -> None:
    (bench.folder / "out" / "demo" / "bundle" / "manifest.json").unlink()


def damaged_weights(bench: Bench) -> None:
    (bench.folder / "out" / "demo" / "bundle" / "fold0.safetensors").write_bytes(b"some weight\0")


def no_starting_weights(bench: Bench) -> None:
    import shutil

    shutil.rmtree(bench.folder / "out" / "demo" / "pretrained")


def restore_starting_weights(server: Any) -> None:
    """Somebody pushes them from another machine."""
    from tests.push.site import Dataset

    files = {"manifest.json": b"{}"}
    dataset = Dataset("kim", PRETRAINED, "lite0", "other", True, [files], states=["READY"])
    server.site.datasets[f"kim/{PRETRAINED}"] = dataset


def an_archive_in_it(bench: Bench) -> None:
    (bench.folder / "external" / "more.zip").write_bytes(b"PK")


def a_folder_in_it(bench: Bench) -> None:
    (bench.folder / "external" / "images").mkdir()


def leaves(slug: str, **files: bytes) -> Callable[[Any], None]:
    """The next run of a notebook leaves these files; `__` stands for the dot."""
    content = {name.replace("__", "."): data for name, data in files.items()}
    return lambda server: server.site.outputs.update({slug: content})


def nan_in_training(server: Any) -> None:
    server.site.outputs[TRAINING] = training_outputs(Path(), first="nan")


def half_a_training(server: Any) -> None:
    server.site.outputs[TRAINING] = {"run/log.csv": b"epoch\n1\n"}


def whole_training(server: Any) -> None:
    server.site.outputs[TRAINING] = training_outputs(Path())
    server.site.kernel_states = ["COMPLETE"]


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
    return {INFERENCE: {name.replace("__", "."): data for name, data in files.items()}}


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
ELSEWHERE = "http://elsewhere.localhost/api/v1/kernels.KernelsApiService/SaveKernel"
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


def archive_with_link(server: Any) -> None:
    """One member is a symbolic link to the password file."""
    import io
    import zipfile

    target = io.BytesIO(_zipped(DATA))
    with zipfile.ZipFile(target, "a") as archive:
        link = zipfile.ZipInfo("train/link.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    put_archive(target.getvalue())(server)


def bomb(server: Any) -> None:
    """A few bytes that call themselves 300 GB: sixty-four members that claim to be as large as a zip may say."""
    import io
    import struct
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(72):
            archive.writestr(f"bomb{number}.csv", b"0" * 1000)
    data = bytearray(target.getvalue())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)  # uncompressed size, in the central directory
        at = data.find(b"PK\x01\x02", at + 4)
    put_archive(bytes(data))(server)


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
    return [*push_cases(), *weight_cases(), *run_cases(), *submission_cases(), *other_verbs()]


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


def hidden_list(server: Any) -> None:
    """The list lags behind: the first looks after the submission do not show it."""
    server.fault("ListSubmissions", nth=2, times=2, body={"submissions": []})


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

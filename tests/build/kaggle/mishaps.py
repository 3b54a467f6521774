"""What can befall a push: each of these makes it happen to the stand-in, or to the files on the desk."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from build.kaggle.retry import pause
from kernel_src.runtime.mounts import NOTHING_MOUNTED
from tests.build.kaggle.bench import (
    DATA,
    INFERENCE,
    PRETRAINED,
    TRAINING,
    Bench,
    training_outputs,
)
from tests.build.kaggle.desk import KERNEL, write_bundle
from tests.build.kaggle.session_runs import unfinished
from tests.build.kaggle.site import Stream

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


def saved_meanwhile(server: Any) -> None:
    """While our version runs, another is saved in the browser, and its run fails at once."""
    site = server.site

    def hook(phase: str, n: int, name: str) -> None:
        if (phase, name) == ("before", "GetKernelSessionStatus") and len(site.kernels[KERNEL].versions) == 1:
            notebook = json.loads(site.kernels[KERNEL].versions[0]["text"])
            notebook["cells"][-1]["source"] = "print('edited in the browser')"
            site.version_outputs[INFERENCE, 1] = site.outputs[INFERENCE]
            site.outputs[INFERENCE] = {"submission.csv": b"of another version"}
            site.edit_kernel(KERNEL, json.dumps(notebook))
            site.kernels[KERNEL].states = ["ERROR"]

    server.hook = hook


def nothing_mounted(*versions: int) -> Callable[[Any], None]:
    """The runs of these versions find an empty /kaggle/input."""
    said = f"FileNotFoundError: the competition is not mounted below /kaggle/input: {NOTHING_MOUNTED}."

    def apply(server: Any) -> None:
        for version in versions:
            server.site.version_states[version] = ["RUNNING", "ERROR"]
            server.site.version_logs[INFERENCE, version] = said

    return apply


def bigger_notebook(bench: Bench) -> None:
    """The notebooks were checked; then Kaggle's limit is another."""
    bench.patch.setattr("build.notebooks.check.command.SOURCE_LIMIT_BYTES", 1000)


def never_checked(bench: Bench) -> None:
    """`make check` has not seen these files, and finds something."""
    bigger_notebook(bench)
    bench.patch.setattr("build.kaggle.preparation._digest", lambda: "of other files")


def no_weights(bench: Bench) -> None:
    (bench.folder / "out" / "demo" / "bundle" / "manifest.json").unlink()


def damaged_weights(bench: Bench) -> None:
    (bench.folder / "out" / "demo" / "bundle" / "fold0.safetensors").write_bytes(b"some weight\0")


def no_starting_weights(bench: Bench) -> None:
    import shutil

    shutil.rmtree(bench.folder / "out" / "demo" / "pretrained")


def restore_starting_weights(server: Any) -> None:
    """Somebody pushes them from another machine."""
    from tests.build.kaggle.site import Dataset

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


def two_sessions(bench: Bench) -> None:
    """The first session of the training does not finish, the second does."""
    bench.server.site.version_outputs[TRAINING, 1] = unfinished(folds=1, steps={1: 12})


def first_session(**what: Any) -> Callable[[Any], None]:
    """The first session leaves this."""
    return lambda server: server.site.version_outputs.update({(TRAINING, 1): unfinished(**what)})


def no_progress(server: Any) -> None:
    """The second session leaves what the first has left."""
    server.site.version_outputs[TRAINING, 2] = server.site.version_outputs[TRAINING, 1]


def not_ready(*states: str) -> Callable[[Any], None]:
    """The dataset of the checkpoints, and no other, is processed so."""

    def apply(server: Any) -> None:
        def hook(phase: str, n: int, name: str) -> None:
            if (phase, name) == ("before", "ListKernelSessionOutput"):
                server.site.dataset_states = list(states)

        server.hook = hook

    return apply


def edited_between_sessions(server: Any) -> None:
    """While the first session runs, the notebook is saved in the browser; the kit's next version is the third."""
    site, ref = server.site, f"kim/{TRAINING}"

    def hook(phase: str, n: int, name: str) -> None:
        if (phase, name) == ("before", "GetKernelSessionStatus") and len(site.kernels[ref].versions) == 1:
            notebook = json.loads(site.kernels[ref].versions[0]["text"])
            notebook["cells"][-1]["source"] = "print('edited in the browser')"
            site.version_outputs[TRAINING, 2] = unfinished(folds=1, steps={1: 99}, name="v1")
            site.edit_kernel(ref, json.dumps(notebook))
            site.kernels[ref].states = ["ERROR"]

    server.hook = hook


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


LOG_LINES = tuple(f"line {number}" for number in range(40))


def log_of(*lines: str, first_s: float = 0.0) -> str:
    """A log as Kaggle keeps it, a line a second."""
    entries = [{"stream_name": "stdout", "time": first_s + n, "data": f"{line}\n"} for n, line in enumerate(lines)]
    return json.dumps(entries)


def stream_of(lines: Sequence[str]) -> dict[str, Any]:
    """What the site is to know of a run that prints these lines."""
    return {"logs": {INFERENCE: log_of(*lines)}, "kernel_states": ["QUEUED", *["RUNNING"] * 9, "COMPLETE"]}


def another_log(server: Any) -> None:
    """The second connection brings what another version printed."""
    streams = [Stream(last=9, end="break"), Stream(of_version=2)]
    logs = {(INFERENCE, 2): log_of("of version 2", first_s=1.5)}
    change(**stream_of(LOG_LINES), streams=streams, waits_for_streams=True, version_logs=logs)(server)


def newest_log(server: Any) -> None:
    """Somebody saves another version while ours runs, and whatever version is asked for, the log is the newest's."""
    saved_meanwhile(server)
    change(**stream_of(LOG_LINES), stream_knows_labels=False, version_logs={(INFERENCE, 2): log_of("of version 2")})(
        server
    )


def offers_no_log(server: Any) -> None:
    server.fault("StreamLog", status=404, times=FOREVER)
    change(kernel_states=["QUEUED", *["RUNNING"] * 30, "COMPLETE"])(server)


def waits_pass_at_once(bench: Bench) -> None:
    """It is Friday evening, and every wait of ours takes no time."""
    clock = SimpleNamespace(now=datetime(2026, 12, 4, 20, tzinfo=UTC))

    def sleep(seconds: float) -> None:
        clock.now += timedelta(seconds=seconds)

    bench.patch.setenv("KIT_POLL_S", "600")
    bench.patch.setattr("build.kaggle.retry.time", SimpleNamespace(sleep=sleep))
    bench.patch.setattr("build.kaggle.run_log.RunLog.pause", lambda log: pause())
    bench.patch.setattr("build.kaggle.quota.utc_now", lambda: clock.now)


def no_hours_until_saturday(server: Any) -> None:
    """Kaggle says that none are left, until it is Saturday on our clock."""
    from build.kaggle import quota

    said = server.site.get_accelerator_quota_statistics

    def hours(body: dict[str, Any]) -> dict[str, Any]:
        server.site.gpu_used_s = 30 * 3600 if quota.utc_now().isoformat() < "2026-12-05" else 0
        return said(body)

    server.site.get_accelerator_quota_statistics = hours


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


def hidden_list(server: Any) -> None:
    """The list lags behind: the first looks after the submission do not show it."""
    server.fault("ListSubmissions", nth=2, times=2, body={"submissions": []})

"""A run on Kaggle: waited for, explained by its log when it fails, its outputs fetched and checked.

Kaggle hands the log out as JSON, a list of `{"stream_name", "time", "data"}`; papermill's last words in it are the
traceback of the failing cell. The notebook that was pushed says which file and line each of its frames is.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.foreign_text import hide_in_pieces, hide_secrets, shown
from build.core.progress import ShowState
from build.kaggle.client import Kaggle
from build.kaggle.journal import Journal
from build.kaggle.kernels import (
    EMPTY_INPUT,
    LOOKS,
    SUPERSEDED,
    Version,
    current_attempt,
    look_for_drift,
    push,
    pushed_before,
)
from build.kaggle.outputs import output_folder
from build.kaggle.responses import ABSENT
from build.kaggle.run_log import following
from build.kaggle.staging import Staged
from build.run.rehearse.cures import cure_of_error
from build.run.rehearse.executed_cells import Cells, read_cells
from build.run.rehearse.failure import ANSI, Failure, last_lines, map_traceback
from kernel_src.runtime.files import write_text
from kernel_src.runtime.mounts import NOTHING_MOUNTED


class RunFailed(CheckFailed):
    """The notebook ran on Kaggle and did not come to a good end."""


class EmptyInput(RunFailed):
    """The notebook ran on Kaggle before anything that is attached to it was mounted."""


class Superseded(CheckFailed):
    """The site's newest version is not the one that was pushed."""


def wait_for_run(staged: Staged, version: Version, client: Kaggle, journal: Journal, show_state: ShowState) -> str:
    """Wait until the run of this version has ended well; return a status line.

    The version is asked for by its label. Where Kaggle shows nothing under it, the newest version is asked for, and an
    end counts only while that is still ours. Right after a push the state may be that of the last version: an end
    counts when two looks in a row say so. Where `show_state` is a view of runs, the log is shown meanwhile.

    Raises:
        EmptyInput: it found nothing mounted.
        RunFailed: it ended in an error (with the traceback in kernel_src) or was cancelled.
        Superseded: the version has no label on the site, and there is a newer one by now.
    """
    if journal.done("run", version.inputs):
        return "it has already run"
    with (
        journal.attempt("run", version.inputs) as result,
        following(client, staged.owner, staged.slug, version.number, staged.notebook.read_bytes, show_state) as log,
    ):
        last, absent, by_label = "", 0, True
        while True:
            now = client.kernel_state(staged.owner, staged.slug, version.number if by_label else None)
            absent = absent + 1 if now.state == ABSENT else 0
            if (now.is_final and now.state == last) or (absent > LOOKS and not by_label):
                break
            if absent > LOOKS:
                by_label, absent = False, 0
                show_state(f"Kaggle shows no version {version.number}: asking for the newest")
                continue
            show_state(now.state if now.state != ABSENT else "not started yet")
            last = now.state
            log.note_state(now.state)
            log.pause()
        log.finish(now.state)
        if not by_label:
            try:
                _refuse_superseded(staged, version, client)
            except Superseded:
                result["ended"] = SUPERSEDED
                raise
        result["ended"] = now.state
        if now.state != "COMPLETE":
            failed = _failure(staged, version, client, now.state, now.failure)
            if NOTHING_MOUNTED in failed.what:
                result["ended"] = EMPTY_INPUT
                raise EmptyInput([failed])
            raise RunFailed([failed])
    return "COMPLETE"


def run_with_input(
    staged: Staged, version: Version, client: Kaggle, journal: Journal, show_state: ShowState
) -> tuple[Staged, Version, str]:
    """Wait for a run; where it found nothing mounted, push the same bytes once more, once, and wait for that run.

    Kaggle's first run after something was attached sometimes begins before it is mounted. What was pushed in the end,
    its version, and a status line are returned. Whether it was pushed once more stands in the journal before it is done
    (`current_attempt`), so a command that is killed goes on with it and never pushes a third time.

    Raises:
        RunFailed, Superseded: see `wait_for_run`; EmptyInput: for the second time.
        CheckFailed: the notebook was edited on the site meanwhile, or Kaggle refuses the second push.
    """
    try:
        return staged, version, wait_for_run(staged, version, client, journal, show_state)
    except EmptyInput:
        following = current_attempt(replace(staged, attempt=0), journal, again=False)
        if following.attempt == staged.attempt:
            raise
    show_state(f"version {version.number} found nothing mounted: pushing the same notebook once more")
    second = pushed_before(following, journal)
    if second is None:
        remote = client.pull_kernel(staged.owner, staged.slug)
        look_for_drift(following, remote, journal, overwrite=False)
        second = push(following, remote, client, journal, show_state)
    status = wait_for_run(following, second, client, journal, show_state)
    return following, second, f"{status}, version {second.number}: version {version.number} had found nothing mounted"


def _refuse_superseded(staged: Staged, version: Version, client: Kaggle) -> None:
    """Raise where state and outputs on the site are those of another version by now."""
    remote = client.pull_kernel(staged.owner, staged.slug)
    newest = remote.version if remote else None
    if newest and newest != version.number:
        what = f"the site's newest version is {newest}, so the run of version {version.number} cannot be followed"
        cure = "run the same command again: it compares, and pushes again"
        raise Superseded([Problem(what=what, where=version.url, cure=cure)])


def _failure(staged: Staged, version: Version, client: Kaggle, state: str, message: str) -> Problem:
    """Say why a run failed, as far as its log shows it."""
    again = "to run it once more: --again (make: AGAIN=1)"
    if state == ABSENT:
        return Problem(what="the run never appeared on the site", where=version.url, cure=again)
    if state.startswith("CANCEL"):
        what = f"the run of version {version.number} was cancelled{f': {message}' if message else ''}"
        return Problem(what=what, where=version.url, cure=again)
    folder = output_folder(staged.slug, version.number)
    try:
        log = client.kernel_output(staged.owner, staged.slug, folder, version.number).log
    except CheckFailed as failed:
        log = f"(the log could not be fetched: {failed})"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{staged.slug}.log"
    write_text(kept, log_text(log))
    failure = explain_log(log, read_cells(staged.notebook), message)
    what = f"the run of version {version.number} failed on Kaggle\n{failure.as_text()}\n(whole log: {kept})\n"
    cure = cure_of_error("\n".join([failure.error, *failure.traceback[-1:]]))
    return Problem(what=what, where=failure.source or version.url, cure=f"{cure}; {again}")


def download(staged: Staged, version: Version, client: Kaggle, journal: Journal, verify: Callable[[Path], Any]) -> Path:
    """Download what a finished run left into a folder of its own, checked by `verify`; return the folder.

    Raises:
        CheckFailed: what `verify` finds.
        Superseded: the outputs on the site are of a newer version.
    """
    folder = output_folder(staged.slug, version.number)
    seen = journal.done("outputs", version.inputs) is not None
    if seen:
        try:
            verify(folder)
            return folder
        except CheckFailed:
            pass  # somebody has tidied up: fetched again
    with journal.attempt("outputs", version.inputs) as result:
        output = client.kernel_output(staged.owner, staged.slug, folder, version.number)
        try:
            if output.of_newest:
                _refuse_superseded(staged, version, client)
        except Superseded:
            if not seen:  # what nobody has looked at cannot be had any more: given up, so that the next run pushes anew
                with journal.attempt("run", version.inputs, ended=SUPERSEDED):
                    raise
            raise
        result |= {"folder": str(folder), "files": output.files}
        write_text(folder / f"{staged.slug}.log", log_text(output.log))
        verify(folder)
    return folder


# papermill: `Exception encountered at "In [5]":`, above it and below it a rule.
_FAILING_CELL = re.compile(r'Exception encountered at "In \[(\d+)\]"')
_TRACEBACK = re.compile(r"^-{20,}$", re.MULTILINE)
# Kaggle converts whatever came of the notebook to HTML afterwards; its log goes on after the traceback.
_AFTERWARDS = re.compile(r"^(?:\[NbConvertApp\]|.*jupyter nbconvert|.*/nbconvert/|.*traitlets)", re.MULTILINE)


def log_text(log: str) -> str:
    """Return the log as it may be kept and shown, line by line; one that is not JSON is taken as text."""
    return shown(_joined(log).replace("\r\n", "\n").replace("\r", "\n"))


def _joined(log: str) -> str:
    """Put the pieces of a log together, without colours and without credentials, which a cut may run through."""
    try:
        entries = json.loads(log)
    except (ValueError, RecursionError):
        return hide_secrets(ANSI.sub("", log))
    if not isinstance(entries, list):
        return hide_secrets(ANSI.sub("", log))
    streams = [str(entry.get("stream_name", "")) for entry in entries if isinstance(entry, dict)]
    pieces = [str(entry.get("data", "")) for entry in entries if isinstance(entry, dict)]
    for stream in sorted(set(streams)):  # the pieces of another may lie between those of one
        numbers = [number for number, name in enumerate(streams) if name == stream]
        for number, piece in zip(numbers, hide_in_pieces([pieces[number] for number in numbers]), strict=True):
            pieces[number] = piece
    return ANSI.sub("", "".join(hide_in_pieces(pieces)))


def explain_log(log: str, cells: Cells, failure_message: str) -> Failure:
    """Find the failing cell and its traceback in the log; without one, keep the last lines.

    `cells` are those of the notebook as it was pushed, none of which has a number of its own yet: the n-th code cell is
    In[n], since Kaggle runs them in order. `failure_message` is what Kaggle itself says.
    """
    text = _joined(log)
    encountered = list(_FAILING_CELL.finditer(text))
    if not encountered:
        error = failure_message or "Kaggle says ERROR and nothing else"
        return Failure(kind="killed", error=error, last_lines=last_lines(text))
    start = encountered[-1]
    report = text[start.end() :].lstrip(":\r\n")
    if rule := _TRACEBACK.match(report):
        report = report[rule.end() :].lstrip()
    if afterwards := _AFTERWARDS.search(report):
        report = report[: afterwards.start()]
    traceback, places = map_traceback(report.strip(), cells)
    lines = tuple(line for line in traceback.splitlines() if line.strip())
    number = int(start[1])
    cell = cells.numbered(number)
    before = text[: start.start()].rpartition("Traceback (most recent call last)")[0] or text[: start.start()]
    return Failure(
        kind="error",
        error=lines[-1] if lines else failure_message or "Kaggle says ERROR and nothing else",
        cell=number,
        title=cell.title if cell else "",
        source=places[-1] if places else cell.place() if cell else "",
        traceback=lines,
        last_lines=last_lines(before),
    )

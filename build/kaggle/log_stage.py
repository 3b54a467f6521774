"""Stage `log`: does the log come while a run goes on, and what is in it?

The preflight notebook runs without a GPU and prints a line every few seconds for longer than a connection is said to
last. Its log is read here as it comes, without the patience of log_stream.py: each connection is timed, and where the
next one begins is noted. What the stored log has afterwards, and what the notebook found there, are answers, too.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from build.core.progress import ShowState
from build.kaggle.asking import Asking
from build.kaggle.client import Kaggle
from build.kaggle.kernels import Version
from build.kaggle.live_view import watching_run
from build.kaggle.log_events import AnotherLog, Piece, Pieces, pieces_in, stored_pieces
from build.kaggle.log_stream import NO_SUCH_VERSION, READ_BYTES, is_stream, no_answer
from build.kaggle.preflight import push_notebook, read_report
from build.kaggle.pushed_values import Given
from build.kaggle.retry import pause
from build.kaggle.running_cell import RunningCell
from build.kaggle.runs import download, wait_for_run
from build.kaggle.staging import Staged
from build.notebooks.builder import preflight_card
from build.run.rehearse.executed_cells import Cells

PRINT_S = 180  # a connection is said to be cut after about two minutes
STEPS = 7
SILENT_S = 60.0
MOST_REFUSALS = 10  # in a row


@dataclass
class Heard:
    """What the connections to a live log brought."""

    codes: list[int] = field(default_factory=list)  # HTTP, of each connection
    kinds: list[str] = field(default_factory=list)  # content types
    lasted_s: list[float] = field(default_factory=list)  # each stream of events
    first_s: float | None = None  # from the first connection to the first piece
    pieces: Pieces = field(default_factory=Pieces)
    new: int = 0
    again: int = 0  # pieces that were there before
    begins: list[str] = field(default_factory=list)  # of each later connection: "at the first line", …
    ended: bool = False  # END_OF_LOG came


def ask_log(asking: Asking) -> dict[str, Any]:
    """Push the notebook, read its log while it runs, and keep what there was to see.

    Raises:
        CheckFailed: it could not be pushed, or its run failed.
    """
    steps, journal = asking.steps(STEPS), asking.journal
    card = replace(preflight_card(), machine_shape="", enable_gpu=False)
    client, staged, version = push_notebook(asking, steps, card, Given(parameters=(f"PRINT_S={PRINT_S}",)))
    asking.ask("log_labels", "GET kernels/logs/stream", lambda: {"http": _code_of_no_version(client, staged)})
    with steps.step("run", f"its log, while {version.url} runs") as note, watching_run("here", asking.quiet) as view:
        heard = Heard() if journal.done("run", version.inputs) else listen(client, staged, version, view)
        note(wait_for_run(staged, version, client, journal, lambda state: None))
    with steps.step("answers", "of what came, of what is stored, of what the notebook found") as note:
        stored = stored_pieces(client.stored_log(staged.owner, staged.slug, version.number))
        if heard.codes:
            asking.keep("log_live", _as_answer(heard, stored), "GET kernels/logs/stream")
        asking.keep("log_papermill", _papermill(stored), "ListKernelSessionOutput")
        report = read_report(download(staged, version, client, journal, read_report))
        torch = ", ".join(map(str, report["versions"].get("torch", {}).values())) or None
        found = {"python": report["python"], "torch": torch, "layout": report["mounts"]["layout"]}
        asking.keep("cpu_image", found, "the notebook")
        note("kept" if heard.codes else "the run was over before its log could be read: AGAIN=1 runs it once more")
    return {"kernel": staged.kernel, "version": version.number, "url": version.url}


def listen(client: Kaggle, staged: Staged, version: Version, show_state: ShowState) -> Heard:
    """Read the log of a run until the run has ended."""
    heard, refusals, start = Heard(), 0, time.monotonic()
    while True:
        now = client.kernel_state(staged.owner, staged.slug, version.number)
        show_state(now.state)
        if now.is_final or refusals >= MOST_REFUSALS:
            return heard
        if now.state == "RUNNING":
            refusals = 0 if _listen_once(client, staged, version, heard, start) else refusals + 1
        pause()


def _listen_once(client: Kaggle, staged: Staged, version: Version, heard: Heard, start: float) -> bool:
    """Read one connection to its end; return whether it was a stream of events."""
    try:
        with contextlib.closing(
            client.open_log(staged.owner, staged.slug, version.number, silent_s=SILENT_S)
        ) as response:
            heard.codes.append(response.status_code)
            heard.kinds.append(str(response.headers.get("Content-Type", "")).partition(";")[0])
            if response.status_code != 200 or not is_stream(response):
                return False
            opened, number = time.monotonic(), 0
            heard.pieces.connect()
            try:
                for number, piece in enumerate(pieces_in(_chunks(response))):
                    _take(piece, number, heard, start)
            finally:
                heard.lasted_s.append(round(time.monotonic() - opened, 1))
            return True
    except AnotherLog:
        heard.begins.append("in another log")
    except no_answer():
        return True  # it broke off, which is an answer
    return False


def _chunks(response: Any) -> Iterator[bytes]:
    while chunk := response.raw.read1(READ_BYTES, decode_content=True):
        yield chunk


def _take(piece: Piece | None, number: int, heard: Heard, start: float) -> None:
    """Count a piece; the first of a later connection says where that begins."""
    if piece is None:
        heard.ended = True
        return
    if heard.first_s is None:
        heard.first_s = round(time.monotonic() - start, 1)
    is_new = heard.pieces.is_new(piece)
    if number == 0 and len(heard.lasted_s):
        heard.begins.append("where the last one ended" if is_new else "with lines that were there")
    heard.new += is_new
    heard.again += not is_new


def _as_answer(heard: Heard, stored: list[Piece]) -> dict[str, Any]:
    try:
        missed: int | str = len(heard.pieces.rest_of(stored))
    except AnotherLog:
        missed = "the stored log is another one"
    return {
        "http": sorted(set(heard.codes)),
        "kind": sorted(set(heard.kinds)),
        "lines": heard.new,
        "first_line_after_s": heard.first_s,
        "connections": len(heard.lasted_s),
        "longest_s": max(heard.lasted_s, default=None),
        "next_begins": sorted(set(heard.begins)),
        "end_of_log": heard.ended,
        "only_stored": missed,
    }


def _papermill(stored: list[Piece]) -> dict[str, Any]:
    """Say whether the log names the cells that run."""
    running, cells = RunningCell(Cells(())), 0
    for line in "".join(piece.text for piece in stored).splitlines():
        running.certain = False
        running.read(line)
        cells += running.certain
    return {"lines": sum(piece.text.count("\n") for piece in stored), "cells_named": cells}


def _code_of_no_version(client: Kaggle, staged: Staged) -> int | None:
    """Return with which code the log of a version is refused that cannot exist; None: no response."""
    try:
        with contextlib.closing(client.open_log(staged.owner, staged.slug, NO_SUCH_VERSION)) as response:
            return int(response.status_code)
    except no_answer():
        return None

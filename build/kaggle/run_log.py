"""The log of a run beside the wait for its end: what comes is shown, and the states are asked for as without it.

The run's end is decided by its states alone (runs.py); the log decides nothing and is written down nowhere. What was
not sent while the run went on is shown at the end, from the stored log, which is also fetched with the outputs.
"""

import contextlib
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from build.core.errors import CheckFailed
from build.core.progress import ShowState
from build.kaggle.live_view import RunView
from build.kaggle.log_events import AnotherLog, NoLog, Piece, pieces_in, stored_pieces
from build.kaggle.log_lines import LogReader
from build.kaggle.log_stream import READ_BYTES, Ended, LogStream, Read, Remark, is_stream, no_answer
from build.kaggle.responses import FINAL_STATES
from build.kaggle.retry import pause, poll_s
from build.notebooks.notebook_file import NotANotebook
from build.run.rehearse.executed_cells import Cells, cells_in

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle

LARGEST_LOG = 1 << 28  # bytes
SILENT_S = 20.0  # so long the end of a log is waited for


class RunLog:
    """One version's log; without a view that wants it nothing is asked for."""

    def __init__(
        self, client: "Kaggle", owner: str, slug: str, version: int, cells: Cells, view: RunView | None
    ) -> None:
        """Read nothing yet."""
        self._client, self._owner, self._slug, self._version = client, owner, slug, version
        self._view = view
        self._reader = LogReader(cells)
        self._stream = LogStream(client, owner, slug, version)
        self._confirmed: set[int] = set()  # connections that brought this version's log
        self.is_refused = False  # what the site shows is not, or not surely, this version's log

    def note_state(self, state: str) -> None:
        """Begin to read once the run goes on."""
        if self._view is not None and state == "RUNNING":
            self._stream.start()

    def pause(self) -> None:
        """Wait until the next look at the state, and show what comes meanwhile."""
        if self._view is None:
            pause()
            return
        end = time.monotonic() + poll_s()
        while (left := end - time.monotonic()) > 0:
            try:
                report = self._stream.reports.get(timeout=left)
            except queue.Empty:
                return
            if self._take(report):
                return

    def close(self) -> None:
        """Read no further."""
        self._stream.stop()

    def finish(self, state: str) -> bool:
        """Show what is still to come of a run that has ended; return whether its stored log was there."""
        self.close()
        if self._view is None:
            return False
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._stream.reports.get_nowait())
        stored = self._stored() if state in FINAL_STATES and not self.is_refused else None
        return stored is not None and self.show_stored(stored)

    def show_stored(self, stored: list[Piece]) -> bool:
        """Show what the stored log has beyond what was shown; return whether it belongs to it."""
        assert self._view is not None
        try:
            pieces = self._stream.pieces.rest_of(stored)
        except AnotherLog as another:
            self._view.remark(f"{another}: the rest is not shown here")
            self.is_refused = True
            return False
        for piece in pieces:
            self._show(piece)
        self._view.show(self._reader.close())
        return True

    def _take(self, report: object) -> bool:
        """Show a report; return whether it is worth asking for the state now."""
        assert self._view is not None
        if isinstance(report, Remark):
            self._view.remark(report.text)
        elif isinstance(report, Read) and not self.is_refused and self._is_confirmed(report.connection):
            self._show(report.piece)
        return isinstance(report, Ended)

    def _show(self, piece: Piece) -> None:
        assert self._view is not None
        self._view.show(self._reader.read(piece))

    def _is_confirmed(self, connection: int) -> bool:
        """Return whether what a connection brings is this version's log (log_stream.py, 4)."""
        if self._stream.is_proved or connection in self._confirmed:
            return True
        if self._is_newest():
            self._confirmed.add(connection)
            return True
        self._stream.stop()
        self._refuse_newer()
        return False

    def _refuse_newer(self) -> None:
        self.is_refused = True
        assert self._view is not None
        self._view.remark(
            f"the site does not tell the logs of versions apart, and {self._version} is not known to be the newest: "
            "no log is shown"
        )

    def _is_newest(self) -> bool:
        try:
            remote = self._client.pull_kernel(self._owner, self._slug)
        except CheckFailed:
            return False
        return remote is not None and remote.version == self._version

    def _stored(self) -> list[Piece] | None:
        """Return the stored log; None where the site has none for this version."""
        try:
            opened = self._client.open_log(self._owner, self._slug, self._version, silent_s=SILENT_S)
            with contextlib.closing(opened) as response:
                if response.status_code != 200:
                    return None
                if is_stream(response):  # of a run that has ended a moment ago
                    pieces = _whole(pieces_in(iter(lambda: response.raw.read1(READ_BYTES, decode_content=True), b"")))
                else:
                    content = response.raw.read(LARGEST_LOG, decode_content=True)
                    pieces = stored_pieces(content.decode("utf-8", errors="replace"))
        except no_answer():
            return None
        if not self._stream.is_proved:
            self._stream.prove()
        if self._stream.is_proved or self._is_newest():
            return pieces
        self._refuse_newer()
        return None


def _whole(pieces: Iterable[Piece | None]) -> list[Piece]:
    """Return the pieces up to `END_OF_LOG`.

    Raises:
        NoLog: the end is missing.
    """
    found: list[Piece] = []
    for piece in pieces:
        if piece is None:
            return found
        found.append(piece)
    raise NoLog("it breaks off")


@contextlib.contextmanager
def following(
    client: "Kaggle", owner: str, slug: str, version: int, notebook: Callable[[], bytes], show_state: ShowState
) -> Iterator[RunLog]:
    """Follow a run's log where `show_state` is a view of runs that somebody looks at; `notebook` reads what runs."""
    view = show_state if isinstance(show_state, RunView) and show_state.wants_log else None
    try:
        cells = cells_in(notebook()) if view else Cells(())
    except NotANotebook:
        cells = Cells(())
    log = RunLog(client, owner, slug, version, cells, view)
    try:
        yield log
    finally:
        log.close()

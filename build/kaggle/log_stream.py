"""The log of one version's run, read while it runs: a thread that reads, and changes nothing on the site.

What is known (the client's source, 2.2.4, its pull request 999, and `versionLabel` in 2.2.5): the address answers with
server-sent events while the run goes on and with the stored log afterwards; a connection is cut after about two
minutes, and the next one begins from the first piece again (log_events.py).

1. A break is followed by another connection, soon where the last one brought something, ever later where it did not.
2. `END_OF_LOG` while Kaggle says that the run goes on is a break like another: it is looked again, once per KIT_POLL_S.
3. Refused `REFUSALS` times in a row (404, 403, …): not offered here. The state is asked for, as without a log.
4. Another version's log is never handed on. Before the first connection a version that cannot exist is asked for:
   where the site refuses that, a label means something there. Where it does not, `is_proved` is false, and each
   connection has to be confirmed by whoever takes the pieces, once it is open: the site's newest version is still ours.
5. What is no stream of events, though the run goes on (a page of a proxy, the stored log of a run before), is not read.

Only the thread that asks for states may use the requests that silence the client (session.py), so this one does not.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build.core.errors import CheckFailed
from build.kaggle.log_events import AnotherLog, NoLog, Piece, Pieces, pieces_in
from build.kaggle.retry import LONGEST_WAIT_S, failures, poll_s

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle

REFUSALS = 5
NO_SUCH_VERSION = 10**6
SETTLED_S = 20.0  # a connection that held so long was no failure, although nothing was printed
FIRST_WAIT_S = 1.0
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Read:
    """A new piece of the log."""

    piece: Piece
    connection: int  # which brought it, from 1


@dataclass(frozen=True)
class Remark:
    """Something about the log that a person should read."""

    text: str


class Ended:
    """The site says that this was all: it is worth asking for the state now."""


Report = Read | Remark | Ended


class LogStream:
    """One version's log while it runs; `start` begins to read, `reports` has what came."""

    def __init__(self, client: "Kaggle", owner: str, slug: str, version: int) -> None:
        """Read nothing yet."""
        self._open: Callable[[int], Any] = lambda number: client.open_log(owner, slug, number)
        self._version = version
        self.pieces = Pieces()
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self.is_proved = False  # labels mean something to this site
        self.connections = 0
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._response: Any = None

    def start(self) -> None:
        """Begin to read, unless that was done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read_on, name="log", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Read no further, and send nothing more."""
        self._stopped.set()
        response = self._response
        if response is not None:
            with contextlib.suppress(ValueError, RuntimeError, OSError):  # closed or given back by now
                response.raw.shutdown()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(FIRST_WAIT_S)

    def prove(self) -> None:
        """Find out whether this site refuses a label that cannot exist."""
        try:
            with contextlib.closing(self._open(NO_SUCH_VERSION)) as response:
                self.is_proved = response.status_code in (400, 403, 404)
        except no_answer():
            self.is_proved = False

    def _read_on(self) -> None:
        self.prove()
        fruitless = refusals = 0
        while not self._stopped.is_set():
            began, known = time.monotonic(), self.connections
            result = self._read_once()
            if result == "refused":
                refusals += 1
                if refusals == REFUSALS:
                    self.reports.put(Remark("the site offers no live log of this run: its state is asked for instead"))
                    return
            else:
                refusals = 0
            if result == "over":
                return
            fruitful = result == "new" or (self.connections > known and time.monotonic() - began > SETTLED_S)
            fruitless = 0 if fruitful else fruitless + 1
            self._stopped.wait(_wait_s(result, fruitless))

    def _read_once(self) -> str:
        """Read one connection to its end; say how it went: new, nothing, ended, refused, over."""
        result = "nothing"
        try:
            with contextlib.closing(self._open(self._version)) as response:
                if response.status_code >= 400:
                    return "refused" if response.status_code < 500 and response.status_code != 429 else "nothing"
                if not is_stream(response):
                    return "nothing"
                self._response = response
                self.connections += 1
                self.pieces.connect()
                for piece in pieces_in(self._chunks(response)):
                    if piece is None:
                        self.reports.put(Ended())
                        return "ended"
                    if self.pieces.is_new(piece):
                        result = "new"
                        self.reports.put(Read(piece, self.connections))
        except AnotherLog as another:
            self.reports.put(Remark(f"what the site sends now is another log ({another}): it is not shown"))
            return "over"
        except CheckFailed as refused:  # by the guard of connections: it leads elsewhere
            self.reports.put(Remark(f"no live log: {refused.problems[0].what}"))
            return "over"
        except no_answer():
            pass  # a break, or a response that is no log: the next connection shows which
        finally:
            self._response = None
        return result

    def _chunks(self, response: Any) -> Iterator[bytes]:
        while not self._stopped.is_set():
            chunk = response.raw.read1(READ_BYTES, decode_content=True)
            if not chunk:
                return
            yield chunk


def no_answer() -> tuple[type[Exception], ...]:
    """Return what a log raises that breaks off, is refused by the guard, or is none."""
    from urllib3.exceptions import HTTPError

    return (NoLog, CheckFailed, HTTPError, *failures())


def is_stream(response: Any) -> bool:
    """Return whether a response is a stream of events."""
    return str(response.headers.get("Content-Type", "")).lower().startswith("text/event-stream")


def _wait_s(result: str, fruitless: int) -> float:
    """Return how long to wait before the next connection."""
    if result in ("ended", "refused"):
        return poll_s()
    return float(min(LONGEST_WAIT_S, min(FIRST_WAIT_S, poll_s()) * 2 ** min(fruitless, 10)))

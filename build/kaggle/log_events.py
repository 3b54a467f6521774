"""The pieces of a run's log, each counted once, whatever the connection that brings them does.

The site sends a piece as JSON, `{"stream_name", "time", "data"}`: `time` is seconds since the run began, `data` a piece
of text, as a rule one line. While the run goes on they come as server-sent events, `data: {…}`, behind the last one
`data: END_OF_LOG`; afterwards as one JSON list, the stored log.

1. A connection may begin with the first piece again (Kaggle's does), somewhere in between, or where the last one ended.
   So a piece that was there before, with the same stream, time and text, is passed over, as often as it was there.
2. A piece that is new and yet older than what was there before belongs to another log: `AnotherLog`.
3. The stored log ends the matter. Whatever of it was not there before is new; where it is no continuation of what was
   there before, it is another log, and `AnotherLog` says so.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

END_OF_LOG = "END_OF_LOG"
LONGEST_LINE = 1 << 20  # bytes of one event; more is no log
SLACK_S = 1.0  # the two streams of a run may be sent a little out of order


@dataclass(frozen=True)
class Piece:
    """A piece of a log, as it was sent."""

    stream: str  # stdout, stderr
    time: float | None  # seconds since the run began; None where the site does not say
    text: str


class AnotherLog(Exception):
    """What comes now is not the log that was read so far."""


class NoLog(Exception):
    """What is sent are no events."""


def pieces_in(chunks: Iterable[bytes]) -> Iterator[Piece | None]:
    """Read server-sent events; None is `END_OF_LOG`. A line that is cut off counts as not sent.

    Raises:
        NoLog: a line has no end.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise NoLog(f"one line of it has more than {LONGEST_LINE:,} bytes")
        for line in lines:
            text = line.decode("utf-8", errors="replace").rstrip("\r")
            if not text.startswith("data:"):
                continue  # another field, a comment that keeps the connection open, or the end of an event
            text = text.removeprefix("data:").lstrip()
            if text == END_OF_LOG:
                yield None
            elif (piece := _piece(text)) is not None:
                yield piece


def stored_pieces(text: str) -> list[Piece]:
    """Read a stored log: a JSON list, else one line after the other."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, list):
        return [piece for entry in content if (piece := _made(entry)) is not None]
    return [Piece("stdout", None, line) for line in text.splitlines(keepends=True)]


def _piece(text: str) -> Piece | None:
    try:
        return _made(json.loads(text))
    except (ValueError, RecursionError):
        return Piece("stdout", None, f"{text}\n")


def _made(entry: object) -> Piece | None:
    """Make a piece of what JSON held; None where that is no piece of a log."""
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), str):
        return None
    time = entry.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        time = None
    return Piece(str(entry.get("stream_name", "stdout")), None if time is None else float(time), entry["data"])


class Pieces:
    """What was there so far, of one version's log."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: Counter[Piece] = Counter()
        self._texts: dict[str, list[str]] = {}  # by stream
        self._latest_s = float("-inf")
        self._before: Counter[Piece] | None = None  # still to be passed over in this connection

    def connect(self) -> None:
        """Begin a new connection."""
        self._before = Counter(self._seen) if self._seen else None

    def is_new(self, piece: Piece) -> bool:
        """Return whether a piece was not there before; it is from now on.

        Raises:
            AnotherLog: it cannot be of this log.
        """
        if self._before and self._before[piece] > 0:
            self._before[piece] -= 1
            return False
        if self._before is not None and piece.time is not None and piece.time < self._latest_s - SLACK_S:
            raise AnotherLog(
                f"a line of second {piece.time:.0f}, which was not there before, follows {self._latest_s:.0f}"
            )
        self._take(piece)
        return True

    def rest_of(self, stored: list[Piece]) -> list[Piece]:
        """Return what a stored log has and was not there before.

        Raises:
            AnotherLog: it is no continuation of what was there.
        """
        left = Counter(self._seen)
        new: list[Piece] = []
        for piece in stored:
            if left[piece] > 0:
                left[piece] -= 1
            else:
                new.append(piece)
        if left.total():  # cut into other pieces, or another log
            new = self._remaining_text(stored)
        for piece in new:
            self._take(piece)
        return new

    def _remaining_text(self, stored: list[Piece]) -> list[Piece]:
        new = []
        for stream in dict.fromkeys([*self._texts, *(piece.stream for piece in stored)]):
            there, before = ("".join(texts) for texts in (_of(stored, stream), self._texts.get(stream, [])))
            if not there.startswith(before):
                raise AnotherLog("the stored log is no continuation of what was sent while the run went on")
            if rest := there[len(before) :]:
                new.append(Piece(stream, None, rest))
        return new

    def _take(self, piece: Piece) -> None:
        self._seen[piece] += 1
        self._texts.setdefault(piece.stream, []).append(piece.text)
        if piece.time is not None:
            self._latest_s = max(self._latest_s, piece.time)


def _of(pieces: list[Piece], stream: str) -> list[str]:
    return [piece.text for piece in pieces if piece.stream == stream]

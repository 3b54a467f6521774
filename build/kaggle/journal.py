"""The journal: what was begun and what came of it, in `out/push/journal.db`, so that a killed push can be resumed.

A step is written before it starts and again when it has ended. Three answers follow from it:

1. done: these very inputs have been through this step; its result is there and nothing is repeated.
2. begun and never ended: a kill, Ctrl-C or a lost answer; what came of it only the server knows, so it is asked.
3. failed: the step itself said so; it is tried again, after asking the server where it could have had an effect.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from build.core.errors import CheckFailed, UsageError
from build.core.foreign_text import hide_in_value
from build.kaggle.explain import ResponseLost

STAGING = "staging"  # below the folder of pushes (staging.py, dataset_folders.py): made anew each time
State = Literal["begun", "done", "failed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL,         -- one per command
    step TEXT NOT NULL,        -- kernel, submission, ...
    input_hash TEXT NOT NULL,  -- sha256 over inputs
    inputs TEXT NOT NULL,      -- JSON
    state TEXT NOT NULL,       -- begun, done, failed
    result TEXT NOT NULL,      -- JSON
    begun TEXT NOT NULL,       -- UTC
    ended TEXT                 -- UTC; NULL: never
);
CREATE INDEX IF NOT EXISTS by_inputs ON steps (step, input_hash);
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One step of one run."""

    number: int
    run: str
    step: str
    inputs: dict[str, Any]
    state: State
    result: dict[str, Any]
    begun: str  # UTC, ISO
    ended: str | None


def hash_inputs(inputs: Mapping[str, Any]) -> str:
    """Return one sha256 for the inputs of a step; the order of the keys does not matter."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


class Attempt(dict[str, Any]):
    """What is known of a step while it goes on: its result so far."""

    def __init__(self, before: Mapping[str, Any], keep: Callable[[], None]) -> None:
        """Begin with what is known beforehand; `keep` puts the present content on the disk."""
        super().__init__(before)
        self._keep = keep

    def sending(self) -> None:
        """Note that a request that changes something leaves now."""
        self["sent"] = time.time()
        self._keep()

    def refused(self) -> None:
        """Note that Kaggle has not taken it, and said so."""
        self.pop("sent", None)
        self._keep()

    def taken(self, **result: Any) -> None:
        """Note that Kaggle has taken it: whatever comes now, it is never sent again for these inputs."""
        self.update(result, taken=True)
        self._keep()


class Journal:
    """The steps of every run; each change is on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        """Open the journal, or begin one readable by its owner only."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self.path = path
        self.run = uuid.uuid4().hex[:12]
        self._rows = sqlite3.connect(path, isolation_level=None)
        self._rows.execute("PRAGMA synchronous = FULL")
        self._rows.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def done(self, step: str, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the newest result of this step for these inputs; None if it was never brought to its end."""
        entry = self._newest("step = ? AND input_hash = ? AND state = 'done'", step, hash_inputs(inputs))
        return entry.result if entry else None

    def unanswered(self, step: str, inputs: Mapping[str, Any]) -> Entry | None:
        """Return the newest attempt at this step for these inputs if it was not brought to its end."""
        entry = self.newest(step, inputs)
        return entry if entry and entry.state != "done" else None

    def newest(self, step: str, inputs: Mapping[str, Any]) -> Entry | None:
        """Return the newest attempt at this step for these inputs, whatever came of it."""
        return self._newest("step = ? AND input_hash = ?", step, hash_inputs(inputs))

    def entries(self, step: str) -> list[Entry]:
        """Return every attempt at a step, the newest first."""
        return self._entries("step = ?", step)

    @contextmanager
    def attempt(self, step: str, inputs: Mapping[str, Any], **before: Any) -> Iterator["Attempt"]:
        """Note that a step begins, and how it ends; what is put into the yielded dictionary is its result.

        `before` is written at once: what a later run must know to find out whether this one had its effect. Whatever
        ends the block other than `CheckFailed` leaves the step begun: nobody knows then. So does `ResponseLost`.
        """
        number = self._begin(step, inputs, before)
        result = Attempt(before, lambda: self._keep(number, result))
        try:
            yield result
        except ResponseLost:
            raise
        except CheckFailed as failed:
            self._end(number, "failed", {**result, "problems": [problem.as_json() for problem in failed.problems]})
            raise
        self._end(number, "done", result)

    def record(self, step: str, inputs: Mapping[str, Any], **result: Any) -> None:
        """Note a step that was found to be done already."""
        self._end(self._begin(step, inputs, result), "done", result)

    def _begin(self, step: str, inputs: Mapping[str, Any], result: Mapping[str, Any]) -> int:
        values = (self.run, step, hash_inputs(inputs), _as_stored(inputs), _as_stored(result), _now())
        cursor = self._rows.execute(
            "INSERT INTO steps (run, step, input_hash, inputs, state, result, begun)"
            " VALUES (?, ?, ?, ?, 'begun', ?, ?)",
            values,
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _keep(self, number: int, result: Mapping[str, Any]) -> None:
        self._rows.execute("UPDATE steps SET result = ? WHERE number = ?", (_as_stored(result), number))

    def _end(self, number: int, state: State, result: Mapping[str, Any]) -> None:
        values = (state, _as_stored(result), _now(), number)
        self._rows.execute("UPDATE steps SET state = ?, result = ?, ended = ? WHERE number = ?", values)

    def _newest(self, condition: str, *values: str) -> Entry | None:
        return next(iter(self._entries(condition, *values)), None)

    def _entries(self, condition: str, *values: str) -> list[Entry]:
        columns = "number, run, step, inputs, state, result, begun, ended"
        rows = self._rows.execute(f"SELECT {columns} FROM steps WHERE {condition} ORDER BY number DESC", values)
        return [
            Entry(
                number=number,
                run=run,
                step=step,
                inputs=json.loads(inputs),
                state=state,
                result=json.loads(result),
                begun=begun,
                ended=ended,
            )
            for number, run, step, inputs, state, result, begun, ended in rows.fetchall()
        ]


class AlreadyRunning(UsageError):
    """Another process of this checkout does what only one may do at a time."""


@contextmanager
def only_push(folder: Path) -> Iterator[None]:
    """Let one push at a time run in this checkout: two could both find no submission and both submit.

    Raises:
        AlreadyRunning: another one is.
    """
    with held(folder / "lock", "another push"):
        shutil.rmtree(folder / STAGING, ignore_errors=True)  # what a push that was killed had laid out
        yield


@contextmanager
def held(file: Path, what: str) -> Iterator[None]:
    """Hold a lock in this checkout; `what` is who else may hold it.

    Raises:
        AlreadyRunning: it does.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            who = handle.read().strip() or "unknown"
            raise AlreadyRunning(f"{what} is running here (process {who}): let it end, or stop it") from None
        # The lock goes with the process, also by SIGKILL; the number in the file is only for the message.
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _as_stored(value: Mapping[str, Any]) -> str:
    """Write a value as JSON without any credential, whoever put it in: the journal outlives the key's withdrawal."""
    return json.dumps(hide_in_value(value), sort_keys=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

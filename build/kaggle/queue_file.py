"""The queue: which experiments are to be trained, and what became of each, in `out/push/queue.json`.

A file and not rows of the journal, since it holds what is wanted and not what was done: one short list, read by
`make status` and by people, and written whole or not at all. It decides nothing that must not happen twice: what was
pushed, ran and came home stands in the journal, by the inputs' hashes. Wherever a process is killed, the file is at
most one step behind, and `push_training` finds that step done. Were the file lost, naming the experiments again would
train none of them once more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from build.core.errors import CheckFailed, Problem
from build.kaggle.preparation import PUSH_FOLDER
from kernel_src.runtime.files import write_json
from kernel_src.runtime.untrusted import parsed_json

QUEUE = PUSH_FOLDER / "queue.json"
FORMAT = 1
State = Literal["waits", "trains", "done", "failed"]
OPEN: tuple[State, ...] = ("waits", "trains")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One experiment in the queue."""

    experiment: str
    state: State = "waits"
    again: bool = False  # a run of it that failed before `since` is tried once more
    since: str  # UTC, ISO: when it was put into the queue
    said: str = ""  # what came of it, or what it waits for

    @property
    def summary(self) -> str:
        """The first line of what is said of it, without the cure."""
        return self.said.partition("\n")[0].partition(" → ")[0]

    def as_line(self) -> str:
        """Write it out."""
        return f"{self.experiment}: {self.state}{f', {self.summary}' if self.said else ''}"


def enlisted(queue: Sequence[Entry], names: Sequence[str], *, again: bool) -> list[Entry]:
    """Return the queue with these experiments in it.

    While something in it is open, the names go behind that, and those that are in it stay as they are; else they begin
    a new one. With `again` those of them that failed wait once more; without names, all that failed.
    """
    goes_on = not names or any(entry.state in OPEN for entry in queue)
    found = {entry.experiment: entry for entry in queue} if goes_on else {}
    since = datetime.now(UTC).isoformat(timespec="milliseconds")  # as the journal writes it
    for name in names or list(found):
        before = found.get(name)
        if before is None or (again and before.state == "failed"):
            found[name] = Entry(experiment=name, again=again, since=since)
    return list(found.values())


def changed_entry(queue: Sequence[Entry], experiment: str, **values: Any) -> list[Entry]:
    """Return the queue with other values in one entry."""
    return [replace(entry, **values) if entry.experiment == experiment else entry for entry in queue]


def read_queue(path: Path = QUEUE) -> list[Entry]:
    """Read the queue; empty where there is none.

    Raises:
        CheckFailed: the file holds something else.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        content = parsed_json(text)
        entries = [Entry(**entry) for entry in content["entries"] if content["format"] == FORMAT]
        if not entries or any(entry.state not in get_args(State) for entry in entries):
            raise ValueError("no entries of this format")
    except (ValueError, TypeError, KeyError) as error:
        cure = "delete it and name the experiments again: what was trained is in the journal, and not repeated"
        raise CheckFailed([Problem(what=f"not a queue ({error})", where=str(path), cure=cure)]) from None
    return entries


def write_queue(queue: Sequence[Entry], path: Path = QUEUE) -> None:
    """Write the queue, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": FORMAT, "entries": [asdict(entry) for entry in queue]})

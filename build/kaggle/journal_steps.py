"""What the journal of this checkout remembers, read without beginning one: for `make status` and `make doctor`."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.kaggle.preparation import JOURNAL


@dataclass(frozen=True, kw_only=True)
class Step:
    """The newest attempt at one step for one set of inputs."""

    step: str  # kernel, run, outputs, submission, …
    inputs: dict[str, Any]
    state: str  # begun, done, failed
    result: dict[str, Any]
    begun: str  # UTC, ISO

    @property
    def subject(self) -> str:
        """What it was done with: a kernel, a dataset, a competition, as owner/slug where there is an owner."""
        names = (self.inputs.get(key) for key in ("kernel", "dataset", "slug", "competition", "experiment"))
        return next((str(name) for name in names if name), "something")


def newest_steps(path: Path = JOURNAL) -> list[Step]:
    """Return the newest attempt of every step and inputs, newest first; nothing where there is no journal."""
    with _opened(path) as rows:
        if rows is None:
            return []
        query = (
            "SELECT step, inputs, state, result, begun FROM steps WHERE number IN"
            " (SELECT MAX(number) FROM steps GROUP BY step, input_hash) ORDER BY number DESC"
        )
        return [
            Step(step=step, inputs=json.loads(inputs), state=state, result=json.loads(result), begun=begun)
            for step, inputs, state, result, begun in rows.execute(query).fetchall()
        ]


def open_steps(path: Path = JOURNAL) -> list[Step]:
    """Return the steps that were begun and have not ended: killed, interrupted, or still at work."""
    return [step for step in newest_steps(path) if step.state == "begun"]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    if not path.is_file():
        yield None
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as rows:
        yield rows if rows.execute("SELECT 1 FROM sqlite_master WHERE name = 'steps'").fetchone() else None

"""What the live site answered, as data: each answer with its time, its stage and the request that asked.

Kept at once in `out/push/answers.json`, so that a stage that is killed keeps what it has; `make preflight ACCEPT=1`
takes it over into `build/kaggle/answers.json`, which is committed. An answer comes over the net: names are those of the
table (unknowns.py), texts are cut and cleaned, and nothing of it is ever run.
"""

import difflib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.foreign_text import shown_value
from build.kaggle.unknowns import ANSWERS_PLACE, UNKNOWNS, Stage, unknowns_of
from kernel_src.runtime.files import write_text

LATEST_ANSWERS = Path(ANSWERS_PLACE)
ACCEPTED = Path(__file__).with_name("answers.json")
LONGEST = 300  # characters of a text in an answer
MOST = 50  # entries of a list in an answer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was seen, once."""

    value: Any  # JSON
    time: str  # UTC, to the second
    stage: str
    asked: str  # the requests, by their names in the API


class AnswerStore:
    """The answers in one file; each change is on the disk before the call returns."""

    def __init__(self, path: Path = LATEST_ANSWERS) -> None:
        """Read what is there.

        Raises:
            CheckFailed: the file is damaged.
        """
        self.path = path
        self.rounds: dict[str, int] = {}  # stage → how often it was begun anew
        self.answers: dict[str, Answer] = {}
        if path.is_file():
            self._read()

    def keep(self, stage: Stage, name: str, value: Any, asked: str) -> Answer:
        """Keep an answer to an unknown of a stage."""
        assert name in {unknown.name for unknown in unknowns_of(stage)}, name
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.answers[name] = Answer(value=_bounded(shown_value(value)), time=time, stage=stage.name, asked=asked)
        self._write()
        return self.answers[name]

    def missing(self, stage: Stage) -> list[str]:
        """Name the unknowns of a stage that have no answer yet."""
        return [unknown.name for unknown in unknowns_of(stage) if unknown.name not in self.answers]

    def begin_anew(self, stage: Stage) -> None:
        """Forget the answers of a stage, and count that it is asked once more."""
        for unknown in unknowns_of(stage):
            self.answers.pop(unknown.name, None)
        self.rounds[stage.name] = self.rounds.get(stage.name, 0) + 1
        self._write()

    def as_json(self) -> dict[str, Any]:
        """Return the answers, by name."""
        return {name: asdict(answer) for name, answer in sorted(self.answers.items())}

    def _read(self) -> None:
        known = {unknown.name for unknown in UNKNOWNS}
        try:
            content = json.loads(self.path.read_bytes())
            self.rounds = {str(stage): int(number) for stage, number in content.get("rounds", {}).items()}
            self.answers = {name: Answer(**one) for name, one in content["answers"].items() if name in known}
            if not all(isinstance(text, str) for one in self.answers.values() for text in (one.time, one.stage)):
                raise TypeError("a time or a stage is not a text")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"it cannot be read ({type(error).__name__}: {error})"
            cure = "move it away; what it held can be asked again"
            raise CheckFailed([Problem(what=what, where=str(self.path), cure=cure)]) from None

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"rounds": self.rounds, "answers": self.as_json()}
        write_text(self.path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def accept_answers(store: AnswerStore) -> str:
    """Take the answers at hand over into the committed file; return the diff, empty if nothing changed.

    Raises:
        CheckFailed: the file that is there is damaged.
    """
    before = ACCEPTED.read_text(encoding="utf-8") if ACCEPTED.is_file() else ""
    answers = AnswerStore(ACCEPTED).as_json() | store.as_json()
    after = json.dumps({"answers": answers}, indent=2, sort_keys=True, allow_nan=False) + "\n"
    if after != before:
        write_text(ACCEPTED, after)
    return "\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), "before", "after", lineterm="", n=2))


def settled_on(stage: Stage) -> str:
    """Return the day on which the last unknown of a stage was settled, here or in the committed file; empty: not yet.

    Raises:
        CheckFailed: one of the files is damaged.
    """
    answers = AnswerStore(ACCEPTED).answers | AnswerStore().answers
    times = [answers[unknown.name].time for unknown in unknowns_of(stage) if unknown.name in answers]
    return max(times)[:10] if len(times) == len(unknowns_of(stage)) else ""


def _bounded(value: Any) -> Any:
    """Cut what is longer than an answer should be."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"
    if isinstance(value, dict):
        return {str(key)[:LONGEST]: _bounded(one) for key, one in list(value.items())[:MOST]}
    if isinstance(value, list | tuple):
        return [_bounded(one) for one in value[:MOST]]
    return value

"""One stage of the preflight while it runs: its answers are kept and shown one by one, its failures gathered.

A question that fails does not end a stage: the next one is asked, and the stage ends with exit 1 and every failure.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from build.core.errors import CheckFailed, Problem
from build.core.progress import Steps
from build.kaggle.answers import AnswerStore
from build.kaggle.journal import Journal
from build.kaggle.unknowns import Stage


@dataclass
class Asking:
    """What a stage needs, and what it has found out."""

    stage: Stage
    journal: Journal
    store: AnswerStore
    again: bool  # ask once more what was answered
    overwrite: bool  # push over an edit made on the site
    quiet: bool
    problems: list[Problem] = field(default_factory=list)

    def steps(self, total: int) -> Steps:
        """Return what prints the stage's steps."""
        return Steps(total=total, quiet=self.quiet)

    def keep(self, name: str, value: Any, asked: str) -> None:
        """Keep an answer, and show it."""
        answer = self.store.keep(self.stage, name, value, asked)
        if not self.quiet:
            print(f"      {name}: {in_words(answer.value)}", flush=True)

    def is_settled(self, name: str) -> bool:
        """Return whether this stage has the answer already."""
        return name in self.store.answers

    def ask(self, name: str, asked: str, question: Callable[[], Any]) -> None:
        """Ask one question and keep its answer; where it fails the failure is kept for the stage's end."""
        with self.gathering():
            self.keep(name, question(), asked)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Keep a failure for the stage's end."""
        try:
            yield
        except CheckFailed as failed:
            self.problems += failed.problems


def in_words(value: Any) -> str:
    """Write an answer on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {in_words(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(in_words, value)) + "]"
    words = {True: "yes", False: "no", None: "not said"}
    return words[value] if value is None or isinstance(value, bool) else str(value)

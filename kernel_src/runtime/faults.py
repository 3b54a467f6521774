"""## Faults and their fallbacks

In the interactive run and in the batch run every oddity is an error: that is the time to fix it. In the competition's
rerun nobody can fix anything, so what hits single photographs, folds, bundles or devices is contained, and recorded
here: what, which ids, and the fallback. Each is caught by name where it arises; what nobody foresaw ends the work, and
the best complete submission stands.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

RERUN_VARIABLE = "KAGGLE_IS_COMPETITION_RERUN"  # set by Kaggle in the rerun on the hidden test only
IDS_SHOWN = 5


def is_rerun() -> bool:
    """Return whether this is Kaggle's rerun on the hidden test."""
    return bool(os.environ.get(RERUN_VARIABLE))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that went wrong."""

    part: str  # table, photograph, fold, bundle, device, memory, time, disk or unforeseen
    what: str  # with where, and the cure where there is one
    fallback: str  # what stands in its place
    ids: tuple[str, ...] = ()  # of the photographs or rows concerned; empty: all of them, or none

    def __str__(self) -> str:
        """Write it as one line."""
        some = ", ".join(self.ids[:IDS_SHOWN]) + (f" … ({len(self.ids)})" if len(self.ids) > IDS_SHOWN else "")
        return f"{self.part}: {self.what}{f' [{some}]' if some else ''} → {self.fallback}"


class NotContained(Exception):
    """A fault outside the rerun; the message says what, where and the cure."""


class FaultLog:
    """All faults of a run, those that differ only in their ids once."""

    def __init__(self, *, strict: bool) -> None:
        """Begin an empty log; `strict` makes every fault an error."""
        self.strict = strict
        self._ids: dict[Fault, dict[str, None]] = {}  # fault without ids → its ids, in their order
        self._contained: set[Fault] = set()  # those without ids that are an error in every other run

    @property
    def faults(self) -> list[Fault]:
        """What went wrong so far."""
        return [replace(fault, ids=tuple(ids)) for fault, ids in self._ids.items()]

    def note(self, fault: Fault) -> None:
        """Record something that is not an error in any run: the time was short, a GPU cannot be used."""
        bare = replace(fault, ids=())
        if bare not in self._ids:
            print(f"NOTE {fault}")
        self._ids.setdefault(bare, {}).update(dict.fromkeys(fault.ids))

    def contain(self, fault: Fault, error: Exception | None = None) -> None:
        """Go on without what the fault hit, in the rerun.

        Raises:
            NotContained: in every other run; from `error` where there is one.
        """
        if self.strict:
            some = f" [{', '.join(fault.ids[:IDS_SHOWN])}]" if fault.ids else ""
            raise NotContained(f"{fault.part}: {fault.what}{some} (the rerun would go on: {fault.fallback})") from error
        self._contained.add(replace(fault, ids=()))
        self.note(fault)

    @contextmanager
    def contain_unexpected(self) -> Iterator[None]:
        """Keep an unexpected error from ending more than this block, in the rerun; print its traceback.

        Every part of the notebook that a submission does not depend on stands in such a block: this is the one place
        where any error is caught. In every other run it is raised.
        """
        try:
            yield
        except Exception as error:
            if self.strict:
                raise
            what = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            self.contain(Fault(part="unforeseen", what=what, fallback="the best complete submission so far stands"))

    def as_json(self) -> list[dict[str, Any]]:
        """Return all faults as JSON can hold them; `contained` are those that only the rerun goes on after."""
        return [
            asdict(fault) | {"ids": list(fault.ids), "contained": replace(fault, ids=()) in self._contained}
            for fault in self.faults
        ]

"""What went wrong, where, and the cure: the one shape of every message that a user sees.

A verb that finds something raises `CheckFailed` (exit 1) with all of it, never only the first; `UsageError` (exit 2) is
for an invalid command.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong."""

    what: str  # a sentence: "star import hides which names come in"
    where: str = ""  # file:line, a notebook's cell, or a path
    cure: str = ""  # what to do: "name what you import"

    def __post_init__(self) -> None:
        """Make each part fit to be shown, whoever said it: every message of this kit passes here."""
        from build.core.foreign_text import shown  # which needs the credentials, whose faults are problems

        for name in ("what", "where", "cure"):
            object.__setattr__(self, name, shown(getattr(self, name), colours=True))

    def __str__(self) -> str:
        """Put it on one line: `where: what → cure`."""
        where = f"{self.where}: " if self.where else ""
        return f"{where}{self.what}{f' → {self.cure}' if self.cure else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return the same as a dictionary, for `--json`."""
        return asdict(self)


class CheckFailed(Exception):
    """Something was checked and is not right; carries every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems, sorted as they are met."""
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class UsageError(Exception):
    """An invalid command: an unknown experiment, a folder that does not exist."""

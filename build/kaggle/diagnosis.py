"""What the doctor's checks yield."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor."""

    about: str  # "quota"
    level: Level  # fail: a push would not work
    text: str
    cure: str = ""
    absent: bool = False  # merely not on Kaggle yet: a person reads the number of them, `--json` has each


Check = Callable[[], Iterator[Finding]]

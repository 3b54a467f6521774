"""The ledger: `docs/scores.csv`, one row per submission, committed, so a team sees what was tried and what it gave.

Rules: (1) a row is known by its submission ref, recording it again completes it; (2) what is known is never replaced by
nothing, and a note is a person's; (3) every change reads the file afresh under a lock and renames a whole new one over
it; (4) a file that cannot be read whole is never written, and no cure destroys a row of it; (5) columns that a person
added are kept; (6) no spreadsheet computes a cell of it, and what one has saved in its own notation is read.
"""

import csv
import fcntl
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from build.core.errors import CheckFailed, Problem
from build.core.foreign_text import hide_secrets
from build.scores.ledger_cells import Sheet, guarded, integer_of, number_of, plain, rows_of, times_of
from kernel_src.runtime.files import write_text
from kernel_src.runtime.untrusted import quoted

LEDGER = Path("docs", "scores.csv")
LOCK = Path("out", "push", "scores.lock")  # below the ledger's root: a lock file must not be committed
PENDING, COMPLETE, ERROR = "pending", "complete", "error"
_PLACES = 6  # decimals of a score


@dataclass(frozen=True, kw_only=True)
class Score:
    """One submission. None and "" mean: not known (yet)."""

    time: str  # when it was submitted, ISO 8601, UTC
    experiment: str
    source_sha256: str  # of the inference notebook's sources
    bundle_sha256: str  # of the bundle's manifest.json
    kernel_version: int | None = None
    submission_ref: int | None = None
    status: str = PENDING  # pending, complete or error
    cv: float | None = None  # out-of-fold score of the bundle
    cv_low: float | None = None  # 95 % interval of cv over groups (build/scores/intervals.py)
    cv_high: float | None = None
    cv_formula: str = ""
    cv_folds: str = ""  # "3 of 3 group folds, 120 images"
    public: float | None = None
    private: float | None = None
    note: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # columns that a person added


COLUMNS = tuple(one.name for one in fields(Score) if one.name != "extra")
_INTEGERS, _NUMBERS = ("kernel_version", "submission_ref"), ("cv", "cv_low", "cv_high", "public", "private")


class Seen(Protocol):
    """What the ledger holds of a submission on the site (build.kaggle.client.Submission is one)."""

    @property
    def ref(self) -> int: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def public(self) -> float | None: ...  # noqa: D102
    @property
    def private(self) -> float | None: ...  # noqa: D102


def read_scores(path: Path = LEDGER) -> list[Score]:
    """Read the ledger, oldest first; none yet is an empty one.

    Raises:
        CheckFailed: lines that are not rows of it (a merge conflict, a spreadsheet's rewriting), each with its number.
    """
    if not path.exists():
        return []
    try:
        sheet = rows_of(path.read_bytes(), COLUMNS)
    except (ValueError, OSError) as error:
        cure = "save it again from the program that wrote it, all rows kept; nothing was written"
        raise CheckFailed([Problem(what=str(error), where=str(path), cure=cure)]) from None
    heading = [plain(cell.strip()) for cell in sheet.rows[0][1]] if sheet.rows else []
    problems = _heading_problems(heading, path)
    if problems:
        raise CheckFailed(problems)
    scores: list[Score] = []
    rows = [(number, _fitted(row, len(heading), sheet)) for number, row in sheet.rows[1:] if any(map(str.strip, row))]
    times = _times(heading, [row for _, row in rows], path)
    for (number, row), time in zip(rows, times, strict=True):
        try:
            score = _score_of(heading, row)
            scores.append(replace(score, time=time))
        except ValueError as error:
            torn = row[0].startswith(("<<<<<<<", "=======", ">>>>>>>", "|||||||"))
            cure = "a merge conflict? keep the lines of both sides" if torn else "correct this line, keep the others"
            problems.append(Problem(what=str(error), where=f"{path}:{number}", cure=f"{cure}; nothing was written"))
    if problems:
        raise CheckFailed(problems)
    return scores


def _heading_problems(heading: Sequence[str], path: Path) -> list[Problem]:
    where = f"{path}:1"
    if missing := [column for column in COLUMNS if column not in heading]:
        cure = f"its first line was {','.join(COLUMNS)}: put it back, and keep every row; nothing was written"
        return [Problem(what=f"the heading lacks {', '.join(missing)}", where=where, cure=cure)]
    if twice := sorted({column for column in heading if column and heading.count(column) > 1}):
        cure = "rename one of each, and keep both; nothing was written"
        return [Problem(what=f"the heading has {', '.join(twice)} twice", where=where, cure=cure)]
    return []


def _fitted(row: list[str], width: int, sheet: Sheet) -> list[str]:
    """Give a row of a spreadsheet the empty cells at its end that such programs leave out, or take off those added."""
    while len(row) > width and not row[-1].strip():
        row = row[:-1]
    return row + [""] * (width - len(row)) if sheet.changed else row


def _times(heading: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> list[str]:
    at = heading.index("time")
    try:
        return times_of([plain(row[at]) if at < len(row) else "" for row in rows])
    except ValueError as error:
        cure = "correct the times, keep every row; nothing was written"
        raise CheckFailed([Problem(what=str(error), where=str(path), cure=cure)]) from None


def append_score(score: Score, path: Path = LEDGER, *, root: Path = Path()) -> bool:
    """Record a submission; return whether anything changed.

    A credential in its note is not kept. A row of the same ref (or of the same source, bundle and kernel version that
    had no ref yet) is completed instead.

    Raises:
        CheckFailed: the ledger on disk cannot be read; it is left as it is.
    """
    score = replace(score, note=hide_secrets(score.note))
    return _change(lambda scores: _recorded(scores, score), path, root)


def refresh(submissions: Iterable[Seen], path: Path = LEDGER, *, root: Path = Path()) -> list[Score]:
    """Bring scores up to date with what the site lists; return the rows that changed.

    A finished row is looked at too: the private score appears when the competition ends.

    Raises:
        CheckFailed: the ledger on disk cannot be read; it is left as it is.
    """
    seen = {one.ref: one for one in submissions}
    changed: list[Score] = []

    def update(scores: Sequence[Score]) -> list[Score]:
        after = [_refreshed(one, seen.get(one.submission_ref or 0)) for one in scores]
        changed[:] = [new for old, new in zip(scores, after, strict=True) if new != old]
        return after

    if path.exists():
        _change(update, path, root)
    return changed


def complete(old: Score, new: Score) -> Score:
    """Return `old` with everything that is in `new`; what is only in `old` stays, and so do its time and its note."""
    known = {
        name: value
        for name in COLUMNS
        if name not in ("time", "note") and (value := getattr(new, name)) not in (None, "")
    }
    if old.status != PENDING and new.status == PENDING:
        known.pop("status")  # the score of a finished submission does not become unknown again
    return replace(old, **known, note=old.note or new.note)


def is_same(old: Score, new: Score) -> bool:
    """Whether two rows are the same submission."""
    if old.submission_ref is not None and new.submission_ref is not None:
        return old.submission_ref == new.submission_ref
    if old.submission_ref is not None:
        return False  # a row without a ref says nothing that this one does not
    names = ("experiment", "source_sha256", "bundle_sha256", "kernel_version")
    return all(getattr(old, name) == getattr(new, name) for name in names)


def _recorded(scores: Sequence[Score], score: Score) -> list[Score]:
    twins = [index for index, old in enumerate(scores) if is_same(old, score)]
    by_ref = [index for index in twins if scores[index].submission_ref is not None]
    if not twins:
        return [*scores, score]
    at = (by_ref or twins)[0]
    return [*scores[:at], complete(scores[at], score), *scores[at + 1 :]]


def _refreshed(score: Score, seen: Seen | None) -> Score:
    if seen is None:
        return score
    state = next((known for known in (COMPLETE, ERROR) if known in seen.status.lower()), PENDING)
    update = replace(score, status=state, public=_finite(seen.public), private=_finite(seen.private))
    return complete(score, update)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _change(update: Any, path: Path, root: Path) -> bool:
    with _locked(root / LOCK):
        before = read_scores(path)
        after = update(before)
        text = as_csv(after)
        if path.exists() and text == as_csv(before):  # as written: a float in memory has more decimals
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return True


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # given back when the handle closes, also when the process is killed
        yield


def as_csv(scores: Sequence[Score]) -> str:
    """Write the ledger's text: our columns, then a person's, in the order in which they were met."""
    added = list(dict.fromkeys(name for score in scores for name in score.extra))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *map(guarded, added)])
    for score in scores:
        cells = [_cell(getattr(score, name)) for name in COLUMNS]
        writer.writerow([*cells, *(guarded(score.extra.get(name, "")) for name in added)])
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.{_PLACES}f}"
    return guarded(value) if isinstance(value, str) else "" if value is None else str(value)


def _score_of(heading: Sequence[str], row: Sequence[str]) -> Score:
    """Read one row.

    Raises:
        ValueError: it has another number of fields, or text where a number belongs.
    """
    if len(row) != len(heading):
        raise ValueError(f"{len(row)} fields where the heading has {len(heading)}")
    cells = dict(zip(heading, row, strict=True))
    values: dict[str, Any] = {name: plain(cells[name]) for name in COLUMNS}
    for name in (*_INTEGERS, *_NUMBERS):
        read: Callable[[str], float] = integer_of if name in _INTEGERS else number_of
        try:
            values[name] = read(values[name]) if values[name].strip() else None
        except ValueError as error:
            raise ValueError(f"{name} is {quoted(cells[name])}, {error}") from None
        if isinstance(values[name], float) and not math.isfinite(values[name]):
            raise ValueError(f"{name} is {cells[name]!r}, which no score is")
    if values["status"] not in (PENDING, COMPLETE, ERROR):
        raise ValueError(f"status is {values['status']!r}, not {PENDING}, {COMPLETE} or {ERROR}")
    return Score(**values, extra={name: plain(cells[name]) for name in heading if name and name not in COLUMNS})

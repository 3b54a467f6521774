"""The files that a run left or Kaggle sent: a submission is read as somebody else's, a column of a table as text."""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from build.core.untrusted import read_foreign_file
from kernel_src.competition.facts import read_named_rows
from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.untrusted import quoted

LARGEST_SUBMISSION = 16 << 20  # bytes; 4,000 rows make 0.2 MB
MOST_LINES = 20  # of a list of problems
NOT_FINITE, TOO_LOW, TOO_HIGH = "not finite (NaN or inf)", "too low", "too high"  # of many rows, said in one line


def read_column(path: Path, column: str) -> list[str]:
    """Read one column of a CSV as text.

    Raises:
        ValueError: it is not a table, or the column is not there; the message names those that are.
    """
    columns, rows = read_named_rows(path)
    if column not in columns:
        raise ValueError(f"{path}: no column {column!r}, it has {', '.join(columns) or 'nothing'}")
    return [row[column] or "" for row in rows]


def read_rows(path: Path) -> list[list[str]]:
    """Read a submission's rows, heading included.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not a plain file (a link, a pipe, too large), or not a CSV; the message has nothing of its content.
    """
    # What is not UTF-8 then shows as a wrong name or number instead of ending the check.
    return rows_of(read_foreign_file(path, LARGEST_SUBMISSION).decode("utf-8", errors="replace"))


def submission_problems(path: Path, expected_ids: list[str]) -> list[str]:
    """Say everything that is wrong with a submission, nothing if it may be submitted.

    `expected_ids` are the ids of the sample submission (or of test.csv); their order does not matter.
    """
    try:
        rows = read_rows(path)
    except FileNotFoundError:
        return [f"{path} does not exist: the notebook ended without writing a submission"]
    except ValueError as error:
        return [f"{path} {error}: nothing of it is shown"]
    return row_problems(path, rows, expected_ids)


def rows_of(text: str) -> list[list[str]]:
    """Split a submission into its rows, heading included.

    Raises:
        ValueError: it is not a CSV; the message has nothing of its content.
    """
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"is not a CSV: {error}") from None


def row_problems(path: Path, rows: list[list[str]], expected_ids: list[str]) -> list[str]:
    """Say everything that is wrong with the rows of a submission, nothing if it may be submitted.

    `expected_ids` are the ids of the sample submission (or of test.csv); their order does not matter.
    """
    columns = [*facts().submission_columns]
    if not rows or rows[0] != columns:
        found = _shown(",".join(rows[0])) if rows else "none"
        return [f"{path}: the columns must be {','.join(columns)}, not {found}"]
    problems = [
        f"{path}:{line}: a row needs {len(columns)} fields, it has {len(row)}"
        for line, row in enumerate(rows, 1)
        if len(row) != len(columns)
    ]
    lines = [(line, row[0], row[1:]) for line, row in enumerate(rows, 1) if line > 1 and len(row) == len(columns)]
    problems += _id_problems([name for _, name, _ in lines], expected_ids)
    wrong: dict[str, list[str]] = {}  # what it is → the rows
    right: dict[str, list[str]] = {}
    for line, name, texts in lines:
        what = value_problem(texts)
        if not what:
            right[name] = texts
        elif what in (NOT_FINITE, TOO_LOW, TOO_HIGH):
            wrong.setdefault(what, []).append(name)
        else:
            problems.append(f"{path}:{line}: {_shown(name)} is {', '.join(map(quoted, texts))}, {what}")
    problems += [text for what, names in wrong.items() for text in _some(names, _limit_in_words(what))]
    problems += [text for what, names in facts().problems_together(right) for text in _some(names, what)]
    left = len(problems) - MOST_LINES
    return problems if left <= 1 else [*problems[:MOST_LINES], f"{path}: {left} more problems of these kinds"]


def value_problem(texts: Sequence[str]) -> str:
    """Say what is wrong with the texts of one row behind its id; empty where nothing is."""
    what = facts().value_problem(texts)
    if not what or facts().answer == "label":
        return what.removeprefix("is ")
    try:
        numbers = [float(text.replace("_", "?")) for text in texts]
    except ValueError:
        return "not a number"
    if not all(map(math.isfinite, numbers)):
        return NOT_FINITE
    below = min(numbers) < facts().lowest
    return TOO_LOW if below else TOO_HIGH if max(numbers) > facts().highest else what.removeprefix("is ")


def _limit_in_words(what: str) -> str:
    own = facts()
    if what == TOO_LOW:
        return f"{f'below {own.lowest:g} {own.unit}'.rstrip()}, the lowest possible"
    if what == TOO_HIGH:
        return f"{f'above {own.highest:g} {own.unit}'.rstrip()}, the highest possible"
    return what


def _some(names: list[str], what: str) -> list[str]:
    """Fold a list of offending rows into one line that still names a few."""
    few = ", ".join(map(_shown, names[:3]))
    return [f"{len(names)} rows {what}: {few}{' …' if len(names) > 3 else ''}"] if names else []


def _shown(text: str) -> str:
    """Return a text from the file as it stands, unless it is long or would not print as it stands."""
    return text if text.isprintable() and len(text) <= 80 else quoted(text)


def _id_problems(names: list[str], expected_ids: list[str]) -> list[str]:
    expected = set(expected_ids)
    problems = _some([name for name, n in Counter(names).items() if n > 1], "appear more than once")
    problems += _some(sorted(expected - set(names)), "of the sample submission are missing")
    return problems + _some(sorted(set(names) - expected), "are not in the sample submission")

"""The files that a run left or Kaggle sent: a submission is read as somebody else's, a column of a table as text."""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from build.core.untrusted import read_foreign_file
from kernel_src.competition.facts import read_named_rows
from kernel_src.competitions.biomass.constants import (
    ID_COLUMN,
    ID_SEPARATOR,
    IDENTITIES,
    IDENTITY_TOLERANCE_G,
    TARGET_COLUMN,
    TARGETS,
)
from kernel_src.runtime.untrusted import quoted

LARGEST_SUBMISSION = 16 << 20  # bytes; 800 photographs make 0.2 MB
MOST_LINES = 20  # of a list of problems


def split_sample_id(name: str) -> tuple[str, str]:
    """Undo `sample_id`.

    Raises:
        ValueError: there is no separator, or the target is not one of the competition's.
    """
    image_id, separator, target = name.rpartition(ID_SEPARATOR)
    if not separator or target not in TARGETS:
        raise ValueError(f"sample_id {name!r} is not <image_id>{ID_SEPARATOR}<one of {', '.join(TARGETS)}>")
    return image_id, target


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

    `expected_ids` are the `sample_id`s of the sample submission (or of test.csv); their order does not matter.
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

    `expected_ids` are the `sample_id`s of the sample submission (or of test.csv); their order does not matter.
    """
    if not rows or rows[0] != [ID_COLUMN, TARGET_COLUMN]:
        found = _shown(",".join(rows[0])) if rows else "none"
        return [f"{path}: the columns must be {ID_COLUMN},{TARGET_COLUMN}, not {found}"]
    problems = [
        f"{path}:{line}: a row needs two fields, it has {len(row)}" for line, row in enumerate(rows, 1) if len(row) != 2
    ]
    lines = [(line, row[0], row[1]) for line, row in enumerate(rows, 1) if line > 1 and len(row) == 2]
    problems += _id_problems([name for _, name, _ in lines], expected_ids)
    grams: dict[str, float] = {}
    for line, name, text in lines:
        try:
            # Python reads 1_0 as ten; whoever scores the file does not.
            grams[name] = float(text.replace("_", "?"))
        except ValueError:
            problems.append(f"{path}:{line}: {_shown(name)} is {quoted(text)}, not a number")
    problems += _some([name for name, value in grams.items() if not math.isfinite(value)], "not finite (NaN or inf)")
    problems += _some([name for name, value in grams.items() if value < 0], "negative: grams cannot be")
    problems += _identity_problems(grams)
    left = len(problems) - MOST_LINES
    return problems if left <= 1 else [*problems[:MOST_LINES], f"{path}: {left} more problems of these kinds"]


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


def _identity_problems(grams: Mapping[str, float]) -> list[str]:
    """Check the sums of `IDENTITIES` for every image of which all five targets are finite."""
    images: dict[str, dict[str, float]] = {}
    for name, value in grams.items():
        try:
            image_id, target = split_sample_id(name)
        except ValueError:
            continue  # already reported: it is not in the sample submission
        images.setdefault(image_id, {})[target] = value
    problems = []
    for total, parts in IDENTITIES.items():
        wrong = [
            image_id
            for image_id, of in images.items()
            if len(of) == len(TARGETS)
            and all(map(math.isfinite, of.values()))
            and abs(of[total] - sum(of[part] for part in parts)) > IDENTITY_TOLERANCE_G
        ]
        problems += _some(wrong, f"break {total} = {' + '.join(parts)}")
    return problems

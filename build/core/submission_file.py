"""The files that a run left or Kaggle sent: a submission is read as somebody else's, a column of a table as text."""

from pathlib import Path

from build.core.untrusted import read_foreign_file
from kernel_src.competition.submission import read_named_rows, row_problems, rows_of

LARGEST_SUBMISSION = 16 << 20  # bytes; 800 photographs make 0.2 MB


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

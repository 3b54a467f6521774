"""## The submission

One writer and one validator, standard library only: the fallback of the first second, the final answer and the
rehearsal on your own machine all go through them.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from kernel_src.competition.constants import (
    ID_COLUMN,
    IDENTITIES,
    IDENTITY_TOLERANCE_G,
    TARGET_COLUMN,
    TARGETS,
    split_sample_id,
)
from kernel_src.runtime.files import write_text
from kernel_src.runtime.untrusted import quoted

MOST_LINES = 20  # of a list of problems


def read_named_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read the headings and the rows of one of Kaggle's CSVs as text.

    Raises:
        ValueError: it is not a table, or not text in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            return list(reader.fieldnames or ()), list(reader)
    except UnicodeDecodeError:
        what = "it is not text in UTF-8; download it again, or save it as CSV in UTF-8"
        raise ValueError(f"{path} is not a table: {what}") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a table: {error}") from None


def write_submission(path: Path, sample_ids: list[str], grams_of: Mapping[str, float]) -> None:
    """Write `sample_id,target` in the order of `sample_ids`, atomically.

    `grams_of` maps each sample id to grams.

    Raises:
        KeyError: a sample id has no prediction.
    """
    lines = [f"{ID_COLUMN},{TARGET_COLUMN}", *(f"{name},{grams_of[name]:.6f}" for name in sample_ids)]
    write_text(path, "\n".join(lines) + "\n")


# %%
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

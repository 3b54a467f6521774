"""Faults of the test table and the sample submission."""

import csv
from collections.abc import Callable
from pathlib import Path

from kernel_src.competitions.biomass.constants import TARGETS
from tests.kernel_src.faults.case import FIRST_SECOND, Case, Told
from tests.kernel_src.faults.planting import IDS, Plant

NOBODY = "Dry_Nobody_g"


def _table(change: Callable[[list[dict[str, str]]], list[dict[str, str]]], *names: str) -> Callable[[Path], None]:
    """Rewrite test.csv, and the sample submission where its rows change."""

    def rewrite(folder: Path) -> None:
        for name in names or ("test.csv",):
            with (folder / name).open(newline="") as handle:
                rows = list(csv.DictReader(handle))
                heading = list(rows[0])
            rows = change(rows)
            heading = list(rows[0]) if rows else heading
            with (folder / name).open("w", newline="") as handle:
                writer = csv.DictWriter(handle, heading, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

    return rewrite


BOTH = ("test.csv", "sample_submission.csv")
TWICE = tuple(f"{IDS[0]}__{target}" for target in sorted(TARGETS)[:3])


def _unknown(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return rows + [
        dict(rows[-1], sample_id=f"{IDS[-1]}__{NOBODY}", **({"target_name": NOBODY} if len(rows[-1]) > 2 else {}))
    ]


def _without(*columns: str) -> Callable[[list[dict[str, str]]], list[dict[str, str]]]:
    return lambda rows: [{key: value for key, value in row.items() if key not in columns} for row in rows]


TABLES = [
    Case(
        fault="duplicate rows",
        kind="table",
        plant=Plant(tables=_table(lambda rows: rows + rows[:3])),
        strict="rows appear twice",
        strict_cell=FIRST_SECOND,
        rerun=(Told(part="table", what="rows appear twice", fallback="each is predicted and written once", ids=TWICE),),
    ),
    Case(
        fault="reordered rows",
        kind="table",
        plant=Plant(tables=_table(lambda rows: sorted(rows, key=lambda row: row["sample_id"][::-1]))),
        strict="",
        rerun=(),
    ),
    Case(
        fault="unknown target names",
        kind="table",
        plant=Plant(tables=_table(_unknown, *BOTH)),
        strict="rows whose target is none of",
        strict_cell=FIRST_SECOND,
        rerun=(
            Told(
                part="table",
                what="rows whose target is none of",
                fallback="the mean over all training means",
                ids=(f"{IDS[-1]}__{NOBODY}",),
            ),
        ),
    ),
    Case(
        fault="an empty test set",
        kind="table",
        plant=Plant(tables=_table(lambda rows: [], *BOTH)),
        strict="has a heading and no rows",
        strict_cell=FIRST_SECOND,
        rerun=(Told(part="table", what="has a heading and no rows", fallback="a submission without rows"),),
    ),
    Case(
        fault="missing columns",
        kind="table",
        plant=Plant(tables=_table(_without("image_path", "target_name"))),
        strict="columns image_path, target_name are missing",
        strict_cell=FIRST_SECOND,
        rerun=(
            Told(
                part="table",
                what="columns image_path, target_name are missing",
                fallback="photographs from test/, targets from the ids",
            ),
        ),
    ),
    Case(
        fault="test.csv without ids",
        kind="table",
        plant=Plant(tables=_table(_without("sample_id"))),
        strict="no column 'sample_id'",
        strict_cell=FIRST_SECOND,
        rerun=(
            Told(part="table", what="no column 'sample_id'", fallback="the rows of sample_submission.csv, photographs"),
        ),
    ),
    Case(
        fault="1 photograph",
        kind="table",
        plant=Plant(tables=_table(lambda rows: rows[:5], *BOTH)),
        strict="",
        rerun=(),
    ),
]

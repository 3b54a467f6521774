"""## The hidden test

The table of photographs to predict, read with the standard library alone and held against what this competition
promises: every oddity is found before anything heavy is loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kernel_src.competition.facts import IMAGE_COLUMN, NO_ROWS, HiddenTest, read_named_rows
from kernel_src.competitions.biomass.constants import (
    ID_COLUMN,
    ID_SEPARATOR,
    NAME_COLUMN,
    SAMPLE_CSV,
    TARGETS,
    TEST_CSV,
    TEST_FOLDER,
    sample_id,
)
from kernel_src.competitions.biomass.submission import write_submission
from kernel_src.runtime.faults import Fault, FaultLog

PHOTOGRAPH_SUFFIX = ".jpg"


def read_hidden_test(competition: Path, log: FaultLog) -> HiddenTest:
    """Read test.csv below the competition's folder; where it does not name its rows, the sample submission does.

    Raises:
        ValueError: neither table names the rows.
        NotContained: an oddity, outside the rerun.
    """
    path = competition / TEST_CSV
    try:
        columns, rows = _named_rows(path)
    except NO_ROWS as error:
        path = competition / SAMPLE_CSV
        try:
            columns, rows = _named_rows(path)
        except NO_ROWS as other:
            raise ValueError(f"no table names the rows of the test: {error}; {other}") from other
        fallback = f"the rows of {SAMPLE_CSV}, photographs from {TEST_FOLDER}/, targets from the ids"
        log.contain(Fault(part="table", what=str(error), fallback=fallback), error)
        columns = [*columns, IMAGE_COLUMN, NAME_COLUMN]  # reported already
    if not rows:
        fault = Fault(part="table", what=f"{path} has a heading and no rows", fallback="a submission without rows")
        log.contain(fault)
    if lacking := [column for column in (IMAGE_COLUMN, NAME_COLUMN) if column not in columns]:
        what = f"{path}: columns {', '.join(lacking)} are missing, it has {', '.join(columns)}"
        log.contain(Fault(part="table", what=what, fallback=f"photographs from {TEST_FOLDER}/, targets from the ids"))
    sample_ids: dict[str, None] = {}
    photographs: dict[str, Path] = {}
    doubled, unknown, elsewhere = [], [], []
    for row in rows:
        name = row[ID_COLUMN] or ""
        image_id, _, target = name.rpartition(ID_SEPARATOR)
        if name in sample_ids:
            doubled.append(name)
            continue
        sample_ids[name] = None
        if not image_id or target not in TARGETS or row.get(NAME_COLUMN, target) != target:
            unknown.append(name)
            continue
        photograph = competition / (row.get(IMAGE_COLUMN) or f"{TEST_FOLDER}/{image_id}{PHOTOGRAPH_SUFFIX}")
        if photographs.setdefault(image_id, photograph) != photograph:
            elsewhere.append(name)
    for names, what, fallback in (
        (doubled, f"{path}: rows appear twice", "each is predicted and written once"),
        (unknown, f"{path}: rows whose target is none of {', '.join(TARGETS)}", "the mean over all training means"),
        (elsewhere, f"{path}: rows give their image another photograph", "the photograph of its first row"),
    ):
        if names:
            log.contain(Fault(part="table", what=what, fallback=fallback, ids=tuple(names)))
    return HiddenTest(tuple(sample_ids), photographs, tuple(unknown))


def _named_rows(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    """Read the columns and the rows of a table.

    Raises:
        ValueError: no column names the rows, or the file is not a table.
    """
    columns, rows = read_named_rows(path)
    if ID_COLUMN not in columns:
        raise ValueError(f"{path}: no column {ID_COLUMN!r}, it has {', '.join(columns) or 'nothing'}")
    return columns, rows


# %%
def save_predictions(
    path: Path, test: HiddenTest, grams: Iterable[Iterable[float]], means: Mapping[str, float]
) -> None:
    """Write a complete submission, atomically.

    `grams` (images, 5) belongs to the first of the test's photographs, in their order; the others get `means`, grams by
    target, and an unknown target the mean over all of them: never a silent zero.

    Raises:
        OSError: the disk is full or not writable; the submission is then as it was.
    """
    written = dict.fromkeys(test.unknown, sum(means.values()) / len(means))
    for image_id in test.photographs:
        written.update({sample_id(image_id, target): means[target] for target in TARGETS})
    for image_id, row in zip(test.photographs, grams, strict=False):
        written.update({sample_id(image_id, target): float(g) for target, g in zip(TARGETS, row, strict=True)})
    write_submission(path, list(test.row_ids), written)

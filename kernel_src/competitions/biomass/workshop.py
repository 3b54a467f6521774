"""## What is needed on one's own machine for Image2Biomass

Its tables have a row for each photograph and target.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from kernel_src.competition.facts import IMAGE_COLUMN, read_named_rows
from kernel_src.competition.workshop import Tables, Workshop
from kernel_src.competitions.biomass.constants import (
    ID_COLUMN,
    ID_SEPARATOR,
    NAME_COLUMN,
    SAMPLE_CSV,
    TARGET_COLUMN,
    TARGETS,
    TEST_CSV,
    TRAIN_CSV,
    sample_id,
)


class BiomassWorkshop(Workshop):
    """Rows are called <image id>__<target>."""

    competition: ClassVar[str] = "biomass"
    row_form: ClassVar[str] = f"<image_id>{ID_SEPARATOR}<one of {', '.join(TARGETS)}>"

    def image_of(self, row_id: str) -> str:
        """Return what stands before the target."""
        image_id, _, target = row_id.rpartition(ID_SEPARATOR)
        return image_id if target in TARGETS else ""

    def train_photographs(self, competition: Path) -> dict[str, Path]:
        """Map each photograph to the file that its rows name."""
        return {image_id: competition / rows[0][IMAGE_COLUMN] for image_id, rows in _rows_of(competition).items()}

    def new_id(self, image_id: str) -> str:
        """Return an id as the real ones are."""
        return f"ID{super().new_id(image_id)}"

    def test_tables(self, competition: Path, new_ids: Mapping[str, str]) -> Tables:
        """Return a row for each target that the training table has of a photograph."""
        rows_of, photographs = _rows_of(competition), self.train_photographs(competition)
        test, sample = [[ID_COLUMN, IMAGE_COLUMN, NAME_COLUMN]], [[ID_COLUMN, TARGET_COLUMN]]
        for old, new in new_ids.items():
            path = self.place_in_test(new, photographs[old])
            for row in rows_of[old]:
                test.append([sample_id(new, row[NAME_COLUMN]), path, row[NAME_COLUMN]])
                sample.append([sample_id(new, row[NAME_COLUMN]), "0.0"])
        return {TEST_CSV: test, SAMPLE_CSV: sample}


def _rows_of(competition: Path) -> dict[str, list[dict[str, str]]]:
    """Group the rows of train.csv by photograph.

    Raises:
        ValueError: a column is missing.
    """
    path = competition / TRAIN_CSV
    columns, rows = read_named_rows(path)
    for column in (IMAGE_COLUMN, NAME_COLUMN):
        if column not in columns:
            raise ValueError(f"{path}: no column {column!r}, it has {', '.join(columns) or 'nothing'}")
    rows_of: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        image_id = (row.get(ID_COLUMN) or "").rpartition(ID_SEPARATOR)[0] or row[IMAGE_COLUMN] or ""
        rows_of.setdefault(image_id, []).append(row)
    return rows_of

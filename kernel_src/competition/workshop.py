"""## What is needed on one's own machine

To rehearse, to check and to show: no notebook holds this. As it stands, it suits the layout that most competitions
have; a competition with another one derives from `Workshop`, and is found.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from kernel_src.competition.facts import PHOTOGRAPH_SUFFIXES, Facts, read_named_rows
from kernel_src.competition.rules import Rules

Tables = dict[str, list[list[str]]]  # name of a file → its rows, headings first


class Workshop:
    """Of one competition."""

    competition: ClassVar[str] = ""  # as its facts have it
    row_form: ClassVar[str] = "the id of an image"  # what the id of a submission's row is

    def __init__(self, facts: Facts, rules: Rules) -> None:
        """Work on the competition of these facts and rules."""
        self.facts, self.rules = facts, rules

    @property
    def train_id(self) -> str:
        """The column of the training table with the ids."""
        return self.rules.train_id_column or self.facts.id_column

    def image_of(self, row_id: str) -> str:
        """Return the photograph that a row of the submission is about; empty where its id is none."""
        return row_id

    def train_photographs(self, competition: Path) -> dict[str, Path]:
        """Map the id of each training photograph to its file, in the order of the table.

        Raises:
            ValueError: the table cannot be read, or does not name them.
        """
        facts, path = self.facts, competition / self.facts.train_csv
        columns, rows = read_named_rows(path)
        if self.train_id not in columns:
            raise ValueError(f"{path}: no column {self.train_id!r}, it has {', '.join(columns) or 'nothing'}")
        ids = [row[self.train_id] or "" for row in rows]
        folder = facts.train_folder
        return {name: facts.photograph(competition, folder, name, row) for name, row in zip(ids, rows, strict=True)}

    # -- a test that is made up ---------------------------------------------------------------------------------------

    def new_id(self, image_id: str) -> str:
        """Return another id for a photograph, of the same form, that says nothing of the old one."""
        suffix = Path(image_id).suffix
        number = int(hashlib.sha256(image_id.encode()).hexdigest()[:12], 16) % 10**10
        return f"{number:010d}{suffix if suffix.lower() in PHOTOGRAPH_SUFFIXES else ''}"

    def place_in_test(self, image_id: str, photograph: Path) -> str:
        """Return where the file of a photograph lies in the competition's folder, once it is one of the test's."""
        suffix = "" if Path(image_id).suffix == photograph.suffix else photograph.suffix
        return f"{self.facts.test_folder}/{image_id}{suffix}"

    def test_tables(self, competition: Path, new_ids: Mapping[str, str]) -> Tables:
        """Return the tables of a test that is made of training photographs; `new_ids` are theirs, in its order.

        Every column of the public test.csv that train.csv has too goes over from there.

        Raises:
            ValueError: a table cannot be read.
        """
        facts = self.facts
        tables: Tables = {}
        _, rows = read_named_rows(competition / facts.train_csv)
        row_of = {row[self.train_id]: row for row in rows}
        photographs = self.train_photographs(competition)
        if facts.test_csv:
            headings, _ = read_named_rows(competition / facts.test_csv)
            tables[facts.test_csv] = [headings]
            for old, new in new_ids.items():
                own = {facts.id_column: new, facts.path_column: self.place_in_test(new, photographs[old])}
                row = {**row_of[old], **own}
                tables[facts.test_csv].append([row.get(heading) or "" for heading in headings])
        usual = facts.texts([facts.fallback.get(target, 0.0) for target in facts.targets])
        tables[facts.sample_csv] = [[*facts.submission_columns], *([new, *usual] for new in new_ids.values())]
        return tables

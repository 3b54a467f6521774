"""## The files of a fold

Where a fold keeps its weights, its log and what only an unfinished training needs.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FoldFiles:
    """Where a fold keeps its things: results in the run's folder, what changes all the time in a scratch folder."""

    folder: Path
    fold: int
    scratch: Path | None = None  # None: the run's folder too

    @property
    def weights(self) -> Path:
        """What is left in the end; a fold is finished when it is there."""
        return self.folder / f"fold{self.fold}.safetensors"

    @property
    def log(self) -> Path:
        """One line per epoch."""
        return self.folder / f"log{self.fold}.csv"

    @property
    def given_up(self) -> Path:
        """Why this recipe cannot train the fold; it is not tried again while this is there."""
        return self.folder / f"given_up{self.fold}.txt"

    @property
    def checkpoint(self) -> Path:
        """The state to go on from."""
        return (self.scratch or self.folder) / f"checkpoint{self.fold}.safetensors"

    @property
    def handed_over(self) -> Path:
        """The state that an earlier session left, where it lies in the run's folder."""
        return self.folder / f"checkpoint{self.fold}.safetensors"

    def clear(self) -> None:
        """Remove what only an unfinished training needs, drafts of a killed one among it."""
        unfinished = (self.checkpoint, self.handed_over)
        drafts = [draft for path in (self.weights, *unfinished) for draft in _drafts(path)]
        for path in (*drafts, *(unfinished if self.weights.exists() else ())):
            path.unlink(missing_ok=True)


def _drafts(path: Path) -> list[Path]:
    return list(path.parent.glob(f".{path.stem}.*{path.suffix}"))  # as write_atomically names them


def ended_in_fp32(log: Path) -> bool:
    """Say whether a fold's training ended in fp32, as the last line of its log has it."""
    with log.open(newline="", encoding="utf-8") as handle:
        return [row["precision_bits"] for row in csv.DictReader(handle)][-1:] == ["32"]


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows with the same keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

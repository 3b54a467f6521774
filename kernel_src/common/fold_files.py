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
    """Where a fold keeps its things."""

    folder: Path
    fold: int

    @property
    def weights(self) -> Path:
        """What is left in the end; a fold is finished when it is there."""
        return self.folder / f"fold{self.fold}.safetensors"

    @property
    def log(self) -> Path:
        """One line per epoch."""
        return self.folder / f"log{self.fold}.csv"

    @property
    def checkpoint(self) -> Path:
        """The state to go on from."""
        return self.folder / f"checkpoint{self.fold}.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the epoch that is best so far."""
        return self.folder / f"best{self.fold}.safetensors"

    def clear(self) -> None:
        """Remove what only an unfinished training needs, drafts of a killed one among it."""
        drafts = [draft for path in (self.weights, self.checkpoint, self.best) for draft in _drafts(path)]
        for path in (*drafts, *((self.checkpoint, self.best) if self.weights.exists() else ())):
            path.unlink(missing_ok=True)


def _drafts(path: Path) -> list[Path]:
    return list(path.parent.glob(f".{path.stem}.*{path.suffix}"))  # as write_atomically names them


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Write rows with the same keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()

"""A notebook's cells under the names of their sources, where the build renamed what clashed.

A new name is a word that no source has (`build/stitch/renames.py`), so the way back is to replace the word. Lines that
the build added for a renamed function or builtin are left out: the next build adds them again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from build.notebooks.base import Base
from build.notebooks.edited_cells import EditedCell
from build.stitch.notebook import Cell


def under_source_names(cells: Sequence[EditedCell], base: Base) -> tuple[list[EditedCell], Base]:
    """Return the edited cells and the build as if the sources' names did not clash."""
    if not base.renamed:
        return list(cells), base
    edited = [replace(cell, text=with_source_names(cell.text, base.renamed)) for cell in cells]
    return edited, replace(base, cells=[_cell(cell, base.renamed) for cell in base.cells])


def with_source_names(text: str, renamed: Mapping[str, str]) -> str:
    """Return a cell's text with every renamed name as its source has it."""
    kept = [line for line, own in _lines(text, renamed) if not own]
    written = "\n".join(kept)
    for new, old in renamed.items():
        if new in written:
            written = re.sub(rf"(?<![\w.]){old} as {new}(?!\w)", old, written)  # in an import
            written = re.sub(rf"(?<!\w){new}(?!\w)", old, written)
    return written


def _cell(cell: Cell, renamed: Mapping[str, str]) -> Cell:
    if cell.kind != "code" or not cell.lines:
        return replace(cell, source=with_source_names(cell.source, renamed))
    numbers = [number for (_, own), number in zip(_lines(cell.source, renamed), cell.lines, strict=True) if not own]
    return replace(cell, source=with_source_names(cell.source, renamed), lines=tuple(numbers))


def _lines(text: str, renamed: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Return each line, and whether it is one of the build's own: `f_tool = f`, `del f` below it."""
    found: list[tuple[str, bool]] = []
    deleted = set[str]()  # by lines that belong to one above
    for line in text.split("\n"):
        stripped = line.strip()
        given = _own_line(tuple(renamed.items())).fullmatch(stripped)
        found.append((line, given is not None or stripped in deleted))
        if given is not None:
            deleted.add(f"del {renamed[given['new']]}")
        elif stripped and not stripped.startswith("#"):
            deleted.clear()
    return found


@lru_cache(maxsize=64)
def _own_line(renamed: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    pairs = "|".join(rf"{new}(?= = {old}\b)" for new, old in renamed)
    return re.compile(rf"(?P<new>{pairs}) = \w+(  # elsewhere .*)?")

"""A notebook as a person reads it: the text of its cells, whatever a program does to the file around them.

Kaggle's client clears the outputs and joins the lines before it sends; the site adds outputs, cell ids and metadata of
its own, and may write the JSON in another way. None of that makes it another notebook.
"""

import hashlib
import json

from build.notebooks.seal import read_object


def cells_of(source: str) -> list[tuple[str, str]]:
    """Return kind and text of every cell that is not empty, as a person sees them; another file is one cell."""
    content = read_object(source.encode())
    cells = content.get("cells")
    if not isinstance(cells, list):
        return [("text", _text(source))]
    pairs = [(str(cell.get("cell_type")), _text(cell.get("source", ""))) for cell in cells if isinstance(cell, dict)]
    return [pair for pair in pairs if pair[1]]


def cells_sha256(source: str) -> str:
    """Return one hash over the text of all cells."""
    return hashlib.sha256(json.dumps(cells_of(source)).encode()).hexdigest()


def _text(source: object) -> str:
    """Join a cell's lines; trailing blanks and the line ends of other systems mean nothing."""
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))

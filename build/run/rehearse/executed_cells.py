"""From a notebook's cell and line back to the file and line in `kernel_src/` that it was stitched from."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.core.untrusted import plain_text
from build.notebooks.notebook_file import origin_of, read_bytes, read_notebook, tags_of

ERROR_CELL_TAG = "papermill-error-cell-tag"  # papermill adds cells that point at the failing one
PROVENANCE = re.compile(r"# ([\w./-]+\.py)\s*$")


@dataclass(frozen=True, kw_only=True)
class CodeCell:
    """One code cell of an executed notebook."""

    index: int  # among all cells of the notebook that was executed
    number: int  # n of In[n], or its rank among the code cells if it never ran
    title: str  # the heading above it
    source: str  # kernel_src/models/model.py; empty if the notebook does not say
    lines: tuple[int, ...] = ()  # source line per line of the cell, 0 where the stitcher wrote it
    text: str = ""
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def place(self, line: int | None = None) -> str:
        """Name a line of this cell: file:line where that is known, else as near as it gets."""
        if line is None:
            return f"{self.source} (cell In[{self.number}])" if self.source else f"cell In[{self.number}]"
        line += len(self.text) - len(self.text.lstrip("\n"))  # IPython drops empty lines at the top before it counts
        source_line = self.lines[line - 1] if 0 < line <= len(self.lines) else 0
        if self.source and source_line:
            return f"{self.source}:{source_line}"
        return f"{self.source or 'notebook'} (cell In[{self.number}], line {line})"


@dataclass(frozen=True)
class Cells:
    """The code cells of a notebook."""

    cells: tuple[CodeCell, ...]

    def numbered(self, number: int | None) -> CodeCell | None:
        """Find In[number]."""
        return next((cell for cell in self.cells if cell.number == number), None)

    def at(self, index: int | None) -> CodeCell | None:
        """Find a cell by its index among all cells."""
        return next((cell for cell in self.cells if cell.index == index), None)

    def failing(self) -> CodeCell | None:
        """Find the cell whose output is an error."""
        return next((cell for cell in self.cells if error_of(cell)), None)


def read_cells(notebook: Path) -> Cells:
    """Read the code cells of a notebook, executed or not; the cells papermill put in are skipped.

    Raises:
        NotANotebook: it is something else.
    """
    return cells_in(read_bytes(notebook))


def cells_in(notebook: bytes) -> Cells:
    """Read the code cells of a notebook's text.

    Raises:
        NotANotebook: it is something else.
    """
    content = read_notebook(notebook)
    kept = [cell for cell in content["cells"] if ERROR_CELL_TAG not in tags_of(cell)]
    cells: list[CodeCell] = []
    title = ""
    for index, cell in enumerate(kept):
        text = cell["source"]
        if cell["cell_type"] == "markdown":
            title = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), title)
        elif cell["cell_type"] == "code":
            cells.append(_code_cell(cell, text, index, title, rank=len(cells) + 1))
    return Cells(tuple(cells))


def error_of(cell: CodeCell) -> dict[str, Any] | None:
    """Return the error output of a cell: ename, evalue, traceback."""
    return next((output for output in cell.outputs if output.get("output_type") == "error"), None)


def _code_cell(cell: dict[str, Any], text: str, index: int, title: str, *, rank: int) -> CodeCell:
    origin, count = origin_of(cell), cell.get("execution_count")
    # An editor may have dropped the metadata; the comment in the first line says the file, not the line.
    comment = PROVENANCE.match(text.partition("\n")[0])
    return CodeCell(
        index=index,
        number=count if isinstance(count, int) and count > 0 else rank,
        title=title,
        source=plain_text(origin["source"][:200]) or (comment.group(1) if comment else ""),
        lines=tuple(origin["lines"]),
        text=text,
        outputs=cell["outputs"],
    )

"""Notebooks made of a few cells, in memory or on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from build.notebooks.check.checked_cells import Cell, read_cells
from build.notebooks.check.offline import find_online

LIBRARY = "kernel_src/data/thing.py"


def write_notebook(path: Path, *texts: str, metadata: dict | None = None) -> Path:
    """Write code cells as the stitcher does: line k of each comes from line 10 + k of the library module."""
    cells = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {
                "stitch": {"source": LIBRARY, "lines": list(range(11, 11 + text.count("\n") + 1)), "cell": number}
            },
            "execution_count": None,
            "outputs": [],
            "source": text,
        }
        for number, text in enumerate(texts, start=1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": cells, "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.fixture
def cells_of(tmp_path: Path) -> Callable[..., list[Cell]]:
    """Return a function from cell texts to the cells that rules read."""
    return lambda *texts: read_cells(write_notebook(tmp_path / "n" / "n.ipynb", *texts), "notebooks/n/n.ipynb")


@pytest.fixture
def online(cells_of: Callable[..., list[Cell]]) -> Callable[..., list[str]]:
    """Return a function from cell texts to the offline rules' findings, as text."""

    def find(*texts: str) -> list[str]:
        cells = cells_of(*texts)
        faults = [fault for cell in cells for fault in cell.faults]
        return [str(problem) for problem in faults + find_online(cells)]

    return find

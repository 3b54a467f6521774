"""Files as real tools write them: what they drop and change besides the edit does not matter."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from tests.build.sync.conftest import Toy

Change = Callable[[dict[str, Any], Path], dict[str, Any]]


def by_nbformat_44(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Old Jupyter: format 4.4 has no ids, text is a list of lines."""
    for cell in notebook["cells"]:
        cell.pop("id", None)
    notebook["nbformat_minor"] = 4
    nbformat.write(nbformat.from_dict(notebook), folder / "a.ipynb", version=4)
    return json.loads((folder / "a.ipynb").read_bytes())


def by_nbformat_45(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    nbformat.write(nbformat.from_dict(notebook), folder / "a.ipynb")
    return json.loads((folder / "a.ipynb").read_bytes())


def by_jupytext(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """To a percent script and back: ids are new, cell metadata are jupytext's choice."""
    form = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    text = jupytext.writes(nbformat.from_dict(notebook), form)
    return json.loads(nbformat.writes(jupytext.reads(text, form)))


def by_nbconvert(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run outputs, then `nbconvert --clear-output`."""
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "6\n"}]
    (folder / "a.ipynb").write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "nbconvert", "--clear-output", "--inplace", str(folder / "a.ipynb")]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((folder / "a.ipynb").read_bytes())


def by_papermill(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Executed with a parameter: outputs, metadata of times, an injected cell."""
    import papermill

    (folder / "a.ipynb").write_text(json.dumps(notebook))
    papermill.execute_notebook(folder / "a.ipynb", folder / "b.ipynb", {"COUNT": 2}, progress_bar=False)
    return json.loads((folder / "b.ipynb").read_bytes())


def by_kaggle(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """As a pulled kernel comes: Kaggle's metadata, uuids, papermill's leftovers, text in one string."""
    kernel = {"isGpuEnabled": True, "isInternetEnabled": False, "dockerImageVersionId": 31000, "dataSources": []}
    return {
        "metadata": {"kernelspec": notebook["metadata"]["kernelspec"], "kaggle": kernel},
        "nbformat": 4,
        "nbformat_minor": 4,
        "cells": [
            {
                "cell_type": cell["cell_type"],
                "source": cell["source"],
                "metadata": {"_uuid": f"{number:040x}", "_cell_guid": f"{number:032x}", "trusted": True},
                **({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {}),
            }
            for number, cell in enumerate(notebook["cells"])
        ],
    }


def by_windows(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    for cell in notebook["cells"]:
        cell["source"] = [line + "\r\n" for line in cell["source"].split("\n")] + ["\r\n"]
    return notebook


def renumbered(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Ids in order of the cells, as some editors give them anew; no metadata."""
    for number, cell in enumerate(notebook["cells"]):
        cell |= {"id": str(number), "metadata": {}}
    return notebook


EDITORS: list[Change] = [
    by_nbformat_44,
    by_nbformat_45,
    by_jupytext,
    by_nbconvert,
    by_papermill,
    by_kaggle,
    by_windows,
    renumbered,
]


@pytest.mark.parametrize("editor", EDITORS, ids=lambda one: one.__name__)
def test_a_save_without_an_edit_changes_nothing(toy: Toy, tmp_path: Path, editor: Change) -> None:
    before = toy.sources
    toy.notebook = editor(copy.deepcopy(toy.notebook), tmp_path)
    result = toy.sync()
    assert not result.edited and toy.sources == before


@pytest.mark.parametrize("editor", EDITORS, ids=lambda one: one.__name__)
def test_edits_saved_by_an_editor_are_written_back(toy: Toy, tmp_path: Path, editor: Change) -> None:
    toy.replace("return   2 * number", "return number + number")
    toy.replace("It doubles.", "It doubles everything.")
    toy.replace("print(both(4))", "print(both(4), both(5))")
    toy.insert_below("def rounded", "def floor_of(number):\n    return math.floor(number)")
    toy.notebook = editor(copy.deepcopy(toy.notebook), tmp_path)
    toy.sync()
    assert "    return number + number  # odd spacing, kept" in toy.text("tool")
    assert "\nIt doubles everything.\n" in toy.text("tool")
    assert toy.text("tool").endswith("# %%\ndef floor_of(number):\n    return math.floor(number)\n")
    assert toy.text("infer").endswith("# %%\nprint(both(4), both(5))\n")


@pytest.mark.parametrize("editor", [by_kaggle, by_jupytext, renumbered], ids=lambda one: one.__name__)
def test_a_split_and_a_deletion_without_ids_are_written_back(toy: Toy, tmp_path: Path, editor: Change) -> None:
    cell = toy.cell("LIMIT = 3")
    head, _, tail = cell["source"].partition("\n\n\ndef double")
    cell["source"] = head
    toy.insert_below("LIMIT = 3", "def double" + tail)
    toy.notebook["cells"].remove(toy.cell("print(both(4))"))
    toy.notebook = editor(copy.deepcopy(toy.notebook), tmp_path)
    toy.sync()
    assert "import math\n\nLIMIT = 3  # at most so often\n\n\n# %%\ndef double(number):" in toy.text("tool")
    assert "print(both(4))" not in toy.text("infer")


def test_cells_that_may_be_several_are_refused_and_listed(toy: Toy) -> None:
    for name in ("tool", "other"):
        toy.write(name, toy.text(name) + f"\n\n# %%\ndef same_{name}(a):\n    b = a\n    c = b\n    return a + b + c\n")
    toy.write("infer", toy.text("infer") + "\n# %%\nfrom kernel_src.data.tool import same_tool\nprint(same_tool(1))\n")
    toy.build()
    for name in ("tool", "other"):
        toy.notebook["cells"].remove(toy.cell(f"def same_{name}"))
    toy.insert_below("## Work", "def same_(a):\n    b = a\n    c = b\n    return a + b + c + 1")
    assert "may be any of several cells of kernel_src/data/other.py, kernel_src/data/tool.py" in toy.refusals()


def test_a_pasted_picture_is_refused(toy: Toy) -> None:
    toy.cell("## Work")["attachments"] = {"a.png": {"image/png": "iVBO"}}
    assert "contains a pasted picture" in toy.refusals()

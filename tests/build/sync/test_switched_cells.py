"""A cell that was switched to another kind is refused and kept: its text would leave the source, unasked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from build.core.errors import CheckFailed
from tests.build.sync.conftest import Toy

MAKE = Path(__file__).resolve().parents[3].parent / "shared" / "faults" / "17" / "make.py"
LAST = "return round(number, LIMIT)"


def switch(toy: Toy, inside: str, kind: str, bare: bool = False) -> dict[str, Any]:
    """Change a cell's kind as Jupyter does; `bare` as an editor leaves it that keeps neither ids nor metadata."""
    cell = toy.cell(inside)
    cell["cell_type"] = kind
    cell.pop("outputs", None)
    cell.pop("execution_count", None)
    if kind == "code":
        cell |= {"outputs": [], "execution_count": None}
    if bare:
        for one in toy.notebook["cells"]:
            one.pop("id", None)
            one["metadata"] = {}
    return cell


def kept(toy: Toy) -> list[bytes]:
    return [path.read_bytes() for path in (toy.root / "out/sync/kept").glob("*.ipynb")]


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", ["raw", "markdown", "heading"])
@pytest.mark.parametrize(
    "inside, source",
    [
        (LAST, "kernel_src/data/tool.py"),
        ("value = math.sqrt", "kernel_src/data/tool.py"),
        ("first = double(number)", "kernel_src/data/other.py"),
        ("print(both(4))", "kernel_src/kernels/infer.py"),
        ("COUNT = 3", "kernel_src/kernels/infer.py"),
        ("import json", "imports: standard library"),
    ],
)
def test_code_that_was_switched_off_is_refused_and_the_notebook_kept(
    toy: Toy, inside: str, source: str, kind: str, bare: bool
) -> None:
    switch(toy, inside, kind, bare)
    said = toy.refusals()
    assert f"was Code of {source} and is" in said and "make it Code again" in said and "comment it out" in said
    with pytest.raises(CheckFailed):
        toy.sync()
    assert kept(toy) == [json.dumps(toy.notebook).encode()]


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", ["raw", "code"])
@pytest.mark.parametrize("inside", ["## The tool", "## Work", "# Toy"])
def test_markdown_that_became_something_else_is_refused(toy: Toy, inside: str, kind: str, bare: bool) -> None:
    switch(toy, inside, kind, bare)
    said = toy.refusals()
    assert "was Markdown of kernel_src/" in said and "make it Markdown again" in said


def test_a_switched_cell_is_found_by_its_id_whatever_was_edited_in_it(toy: Toy) -> None:
    switch(toy, "print(both(4))", "raw")["source"] = "off for now"
    assert "was Code of kernel_src/kernels/infer.py and is Raw now" in toy.refusals()


def test_a_switched_cell_is_found_by_its_lines_when_it_was_edited_and_its_id_is_gone(toy: Toy) -> None:
    cell = switch(toy, "value = math.sqrt", "raw", bare=True)
    cell["source"] = cell["source"].replace("return double(value)", "return double(value + 1)")
    assert "was Code of kernel_src/data/tool.py and is Raw now" in toy.refusals()


def test_half_a_cell_switched_off_is_refused_too(toy: Toy) -> None:
    cell = toy.cell("results = [rounded")
    first, _, second = cell["source"].rpartition("\n")
    cell["source"] = first
    toy.insert_below("results = [rounded", second, "raw")
    assert "was Code of kernel_src/kernels/infer.py and is Raw now" in toy.refusals()


def test_code_in_fences_is_still_code_that_was_switched_off(toy: Toy) -> None:
    cell = switch(toy, "value = math.sqrt", "markdown", bare=True)
    cell["source"] = f"```python\n{cell['source']}\n```"
    assert "is Markdown now" in toy.refusals()


def test_a_cell_of_a_source_that_was_tagged_scratch_does_not_leave_it_unsaid(toy: Toy) -> None:
    toy.cell("print(both(4))")["metadata"]["tags"] = ["scratch"]
    said = toy.refusals()
    assert "was Code of kernel_src/kernels/infer.py and is tagged scratch now" in said and "remove the tag" in said


def test_a_raw_copy_beside_the_edited_cell_stays_in_the_notebook(toy: Toy) -> None:
    old = toy.cell("print(both(4))")["source"]
    toy.insert_below("print(both(4))", old, "raw")
    for cell in toy.notebook["cells"]:
        if cell["cell_type"] == "code" and "print(both(4))" in cell["source"]:
            cell["source"] = cell["source"].replace("both(4)", "both(5)")
    result = toy.sync()
    assert "print(both(5))" in toy.text("infer") and len(result.scratch) == 1


@pytest.mark.parametrize("kind", ["raw", "markdown"])
def test_a_new_cell_of_another_kind_is_none_that_was_switched(toy: Toy, kind: str) -> None:
    toy.insert_below("print(both(4))", "Read the docstring first: it doubles, and rounds what it has doubled.", kind)
    result = toy.sync()
    assert not result.problems and len(result.scratch) == (kind == "raw")


def test_a_deleted_cell_beside_a_new_markdown_cell_leaves_the_source_as_asked(toy: Toy) -> None:
    cells = toy.notebook["cells"]
    toy.insert_below("print(both(4))", "Nothing is printed here any more.", "markdown")
    cells.remove(toy.cell("print(both(4))"))
    toy.sync()
    assert "print(both(4))" not in toy.text("infer") and "# Nothing is printed here any more." in toy.text("infer")


def test_switched_back_it_is_written_back_with_the_other_edits(toy: Toy) -> None:
    toy.replace("print(both(4))", "print(both(5))")
    before = json.loads(json.dumps(toy.notebook))
    switch(toy, LAST, "raw")
    toy.refusals()
    toy.notebook = before
    toy.sync()
    assert "print(both(5))" in toy.text("infer")


@pytest.mark.skipif(not MAKE.is_file(), reason="needs ../shared/faults/17, which is not at hand")
def test_the_notebook_that_could_neither_be_built_nor_synced_is_refused_in_words(toy: Toy, tmp_path: Path) -> None:
    there, out = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    there.write_text(json.dumps(toy.notebook))
    subprocess.run([sys.executable, MAKE, there, toy.cell(LAST)["id"], out], check=True)
    toy.notebook = json.loads(out.read_text())
    assert "is Raw now" in toy.refusals()

"""Whatever somebody does to the cells, it comes to the same whichever real tool saved the file."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill
import pytest

from tests.build.sync.conftest import Toy
from tests.build.sync.test_editors import EDITORS, Change, by_nbconvert

MakeToy = Callable[[], Toy]


def split(toy: Toy) -> None:
    cell = toy.cell("LIMIT = 3")
    head, _, tail = cell["source"].partition("\n\n\ndef double")
    cell["source"] = head
    toy.insert_below("LIMIT = 3", "def double" + tail)


def merge(toy: Toy) -> None:
    first, second = toy.cell("results = ["), toy.cell("print(both(4))")
    first["source"] += "\n\n" + second["source"].partition("\n")[2]
    toy.notebook["cells"].remove(second)


def merge_two_modules(toy: Toy) -> None:
    first, second = toy.cell("def rounded"), toy.cell("def both")
    first["source"] += "\n\n" + second["source"].replace("+ LIMIT", "- LIMIT")
    toy.notebook["cells"].remove(second)


def reorder(toy: Toy) -> None:
    cells = toy.notebook["cells"]
    first, second = cells.index(toy.cell("def root_of")), cells.index(toy.cell("def rounded"))
    cells[first], cells[second] = cells[second], cells[first]


def move_above_what_it_needs(toy: Toy) -> None:
    cell = toy.cell("print(both(4))")
    cell["source"] += "\nprint(results)"
    toy.notebook["cells"].remove(cell)
    toy.notebook["cells"].insert(toy.notebook["cells"].index(toy.cell("## Work")), cell)


def rename(toy: Toy) -> None:
    for cell in toy.notebook["cells"]:
        cell["source"] = cell["source"].replace("rounded", "shortened")


def delete(*parts: str) -> Callable[[Toy], None]:
    def change(toy: Toy) -> None:
        for part in parts:
            toy.notebook["cells"].remove(toy.cell(part))

    return change


def replace(*pairs: tuple[str, str]) -> Callable[[Toy], None]:
    def change(toy: Toy) -> None:
        for pair in pairs:
            toy.replace(*pair)

    return change


def insert(below: str, source: str, **more: Any) -> Callable[[Toy], None]:
    return lambda toy: toy.insert_below(below, source, **more)


EDITS: dict[str, Callable[[Toy], None]] = {
    "a line": replace(("value = math.sqrt(number)", "value = math.sqrt(abs(number))")),
    "a line that the stitcher reworded": replace(("# through the module", "# by way of the module")),
    "split": split,
    "merge": merge,
    "merge of two modules": merge_two_modules,
    "a function below": insert("def rounded", "def floor_of(number):\n    return math.floor(number)"),
    "a cell that names its source": insert("print(both(4))", "# kernel_src/kernels/infer.py\nprint(results)"),
    "scratch by its tag": insert("def rounded", "rounded(2.34567)", metadata={"tags": ["scratch"]}),
    "scratch by saying nothing": insert("def rounded", "rounded(2.34567)"),
    "delete what is used": delete("def rounded"),
    "delete with all uses": delete("def both", "## The other", "print(both(4))"),
    "reorder": reorder,
    "move above what it needs": move_above_what_it_needs,
    "rename everywhere": rename,
    "rename in one place": replace(("def rounded", "def shortened")),
    "docstring": replace(("It doubles.", "It doubles everything.")),
    "markdown": replace(("> It promises.", "> It promises.\n\nAnd more."), ("## Work", "## The work")),
    "markdown below": insert("## Work", "And a word on it.", kind="markdown"),
    "an import in a module's cell": replace(
        ("def rounded(number):", "import cmath\n\n\ndef rounded(number):"),
        ("return round(number, LIMIT)", "return round(cmath.phase(number), LIMIT)"),
    ),
    "an import in the imports cell": replace(
        ("import json", "import json\nimport statistics"),
        ("return first + LIMIT", "return statistics.mean([first, LIMIT])"),
    ),
    "an import that nobody uses": replace(("import json", "import json\nimport statistics")),
    "an import taken out": replace(("import math", "")),
    "another module's function": replace(("return first + LIMIT", "return rounded(first + LIMIT)")),
    "a parameter": replace(("COUNT = 3", "COUNT = 7")),
    "a magic": replace(("def rounded", "%matplotlib inline\ndef rounded")),
    "a new cell with a magic": insert("def rounded", "!pip --version"),
    "a syntax error": replace(("return round(number, LIMIT)", "return round(number, LIMIT")),
}


def outcome(toy: Toy) -> dict[str, Any]:
    """What a notebook comes to; the cells' numbers, which papermill moves, aside."""
    result = toy.look()
    return {
        "texts": result.texts,
        "refused": sorted(re.sub(r"cell \d+", "cell", str(problem)) for problem in result.problems),
        "stays": [re.sub(r"cell \d+", "cell", line) for line in result.scratch],
        "parameters": [str(edit) for edit in result.parameters],
    }


def saved(editor: Change, notebooks: dict[str, dict], folder: Path) -> dict[str, dict]:
    """The notebooks as a tool leaves them."""
    if editor is by_nbconvert:  # all in one go: each start takes seconds
        paths = {name: folder / f"{number}.ipynb" for number, name in enumerate(notebooks)}
        for name, path in paths.items():
            path.write_text(json.dumps(notebooks[name]))
        command = [sys.executable, "-m", "nbconvert", "--clear-output", "--inplace", *map(str, paths.values())]
        subprocess.run(command, check=True, capture_output=True)
        return {name: json.loads(path.read_bytes()) for name, path in paths.items()}
    left = {}
    for name, notebook in notebooks.items():
        try:
            left[name] = editor(copy.deepcopy(notebook), folder)
        except papermill.PapermillExecutionError:  # the edit breaks a cell; what papermill leaves is the partial one
            left[name] = json.loads((folder / "b.ipynb").read_bytes())
    return left


@pytest.mark.full
@pytest.mark.parametrize("editor", EDITORS, ids=lambda one: one.__name__)
def test_every_edit_comes_to_the_same_whichever_tool_saved_it(
    make_toy: MakeToy, tmp_path: Path, editor: Change
) -> None:
    toys = {name: make_toy() for name in EDITS}
    for name, toy in toys.items():
        EDITS[name](toy)
    wanted = {name: outcome(toy) for name, toy in toys.items()}
    assert all(any(one.values()) for one in wanted.values())  # each is written back, refused or kept: none overlooked
    for name, notebook in saved(editor, {name: toy.notebook for name, toy in toys.items()}, tmp_path).items():
        toys[name].notebook = notebook
    got = {name: outcome(toy) for name, toy in toys.items()}
    assert got == wanted

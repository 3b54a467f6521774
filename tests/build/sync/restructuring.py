"""What people do to whole cells, at random: delete, merge, move, swap; accepted or refused, never half."""

import random
from collections import Counter
from typing import Any

from tests.build.sync.conftest import Toy, shown

_GATHERED = ("import ", "from ", "# kernel_src/")  # imports, and the lines that name a cell's source


def restructure(toy: Toy, choice: random.Random) -> tuple[str, ...] | None:
    """Do one of these to the notebook; return what was done to which text, None where there is nothing to do it to."""
    cells = toy.notebook["cells"]
    movable = [cell for cell in cells if _is_movable(cell)]
    kind = choice.choice(["delete", "merge", "move", "swap"])
    if kind == "delete":
        # What the script does stays: without it the toy would soon be empty.
        choices = [cell for cell in movable if source_of(cell) != "kernel_src/kernels/infer.py"]
        if not choices:
            return None
        cell = choice.choice(choices)
        cells.remove(cell)
        return kind, cell["source"]
    if kind == "merge":
        pairs = [
            (one, two)
            for one, two in zip(cells, cells[1:], strict=False)
            if _is_movable(one) and _is_movable(two) and one["cell_type"] == two["cell_type"] == "code"
        ]
        if not pairs:
            return None
        first, second = choice.choice(pairs)
        head, _, rest = second["source"].partition("\n")
        named = head.startswith("# kernel_src/")
        same = not named or head == first["source"].partition("\n")[0]
        first["source"] += choice.choice(["\n", "\n\n", "\n\n\n"]) + (rest if named and same else second["source"])
        cells.remove(second)
        return kind, first["source"]
    if kind == "move":
        cell = choice.choice(movable)
        cells.remove(cell)
        cells.insert(choice.randrange(1, len(cells) + 1), cell)
        return kind, cell["source"]
    one = choice.choice(movable)
    others = [cell for cell in movable if cell is not one and source_of(cell) == source_of(one)]
    if not others:
        return None
    two = choice.choice(others)
    first, second = cells.index(one), cells.index(two)
    cells[first], cells[second] = two, one
    return kind, one["source"], two["source"]


def source_of(cell: dict[str, Any]) -> str:
    """Return the source that the notebook says a cell is of."""
    return str(cell["metadata"].get("stitch", {}).get("source", ""))


def lines_of(notebook: dict[str, Any]) -> Counter[str]:
    """Return the lines that a notebook shows, wherever: a build orders modules by need and gathers imports."""
    lines = [line for _, text in shown(notebook) for line in text.split("\n")]
    return Counter(line for line in lines if line.strip() and not line.startswith(_GATHERED))


def _is_movable(cell: dict[str, Any]) -> bool:
    special = "parameters" in cell["metadata"].get("tags", []) or source_of(cell) == "imports"
    return not special and "*Stitched from" not in cell["source"]

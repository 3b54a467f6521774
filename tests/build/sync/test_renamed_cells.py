"""Edits of cells in which the build renamed what clashed: they come home under the names of the sources."""

import copy
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.build.sync.conftest import MAIN, Toy
from tests.build.sync.restructuring import lines_of, restructure
from tests.build.sync.test_law import FOUND, REFUSALS, edit

CLASHING = {
    "kernel_src/__init__.py": "",
    "kernel_src/data/__init__.py": "",
    "kernel_src/data/tool.py": '''"""## The tool

It doubles.
"""

import math
from collections.abc import Sequence

LIMIT = 3  # at most so often
seen: list[int] = []


def double(number):
    """Return twice the number."""
    return   2 * number  # odd spacing, kept


def both(numbers: Sequence) -> str:
    seen.append(1)
    return f"both {numbers} {LIMIT}"


# %%
class Box:
    """It holds."""

    def root_of(self, number):
        # a comment of its own
        value = math.sqrt(number)
        return double(value), Box.__name__


# %% Rounding
def rounded(number):
    return round(number, LIMIT)
''',
    "kernel_src/data/other.py": '''"""## The other"""

import cmath as math
from typing import Sequence

from kernel_src.data import tool
from kernel_src.data.tool import Box as First
from kernel_src.data.tool import rounded as to_limit

LIMIT = 5
seen = {}


def both(numbers: Sequence):
    first = tool.double(numbers[0])  # through the module
    seen[first] = tool.both(numbers), LIMIT
    return first + tool.LIMIT + math.sqrt(-1).imag


# %%
class Box(First):
    def root_of(self, number):
        return super().root_of(number), First().root_of(number), LIMIT


def rounded(number):
    return -to_limit(number)
''',
    MAIN: """# %% [markdown]
# # Toy
#
# > It promises.

# %%
import json

from kernel_src.data import tool
from kernel_src.data.other import Box, both, rounded

# %% tags=["parameters"]
WEIGHTS = {}  # slug → weight
COUNT = 3  # numbers

# %% [markdown]
# ## Work

# %%
seen = [rounded(number / 7) for number in range(COUNT)]
print(json.dumps(seen), tool.rounded(2 / 7))

# %%
print(both([4]), Box().root_of(4), tool.seen, tool.LIMIT)
""",
}


class ClashingToy(Toy):
    files = CLASHING
    arguments = ""


@pytest.fixture
def clashing(tmp_path: Path) -> ClashingToy:
    return ClashingToy(tmp_path)


def test_what_is_built_from_clashing_sources_is_in_sync(clashing: ClashingToy) -> None:
    shown = "\n".join(cell["source"] for cell in clashing.notebook["cells"])
    for name in ("LIMIT_other", "seen_tool", "both_tool", "Box_tool", "rounded_tool", "Sequence_other", "math_other"):
        assert name in shown
    assert not clashing.look().edited


def test_a_line_with_the_new_name_comes_home_under_the_old_one(clashing: ClashingToy) -> None:
    clashing.replace("    seen_tool.append(1)", "    seen_tool.append(len(seen_tool) + LIMIT)")
    edited = copy.deepcopy(clashing.notebook)
    assert clashing.sync().complete
    assert "    seen.append(len(seen) + LIMIT)\n" in clashing.text("tool")
    assert lines_of(clashing.build()) == lines_of(edited)


def test_only_the_edited_line_of_a_renamed_cell_changes(clashing: ClashingToy) -> None:
    before = clashing.text("other")
    clashing.replace("return first + LIMIT", "return first * LIMIT")
    clashing.sync()
    line = "    return first + tool.LIMIT + math.sqrt(-1).imag"
    assert clashing.text("other") == before.replace(line, line.replace("first +", "first *"))


def test_a_new_function_in_a_renamed_cell_uses_its_module_s_names(clashing: ClashingToy) -> None:
    cell = clashing.cell("class Box:")
    cell["source"] += "\n\n\ndef boxes(count):\n    return [Box_tool() for _ in range(count)]"
    clashing.sync()
    assert clashing.text("tool").count("return [Box() for _ in range(count)]") == 1
    assert "Box_tool" not in clashing.text("tool")


def test_another_modules_name_is_refused_and_nothing_is_written(clashing: ClashingToy) -> None:
    clashing.replace('return f"both {numbers} {LIMIT}"', 'return f"both {numbers} {LIMIT_other}"')
    assert "would not give this notebook again" in clashing.refusals()


def test_a_new_name_in_a_comment_or_in_prose_comes_home_too(clashing: ClashingToy) -> None:
    clashing.replace("# a comment of its own", "# see both_tool")
    clashing.replace("It doubles.", "It doubles, see both_tool.")
    assert clashing.sync().complete
    assert "# see both\n" in clashing.text("tool") and "It doubles, see both." in clashing.text("tool")


def test_a_text_that_names_the_new_name_is_refused(clashing: ClashingToy) -> None:
    clashing.replace('f"both {numbers} {LIMIT}"', 'f"both_tool {numbers} {LIMIT}"')
    assert "would not give this notebook again" in clashing.refusals()


def test_the_line_that_gives_a_function_its_new_name_must_stay(clashing: ClashingToy) -> None:
    clashing.replace("\ndel Box", "")
    assert "would not give this notebook again" in clashing.refusals()


def test_an_import_under_its_new_name_can_be_added_to(clashing: ClashingToy) -> None:
    clashing.replace("import Sequence as Sequence_other", "import Any, Sequence as Sequence_other")
    clashing.replace("def both(numbers: Sequence_other):", "def both(numbers: Sequence_other) -> Any:")
    assert clashing.sync().complete
    assert "from typing import Any, Sequence\n" in clashing.text("other")
    assert "def both(numbers: Sequence) -> Any:" in clashing.text("other")


@settings(max_examples=15, deadline=None, phases=FOUND)
@given(st.integers(0, 10**9), st.integers(1, 4))
def test_building_from_the_synced_sources_gives_the_edited_notebook(seed: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        toy, choice = ClashingToy(Path(folder)), random.Random(seed)
        for number in range(count):
            edit(toy, choice, f"new_{number}")
        edited = copy.deepcopy(toy.notebook)
        result = toy.sync()
        once = toy.sources
        assert toy.sync().texts == {} and toy.sources == once
        assert result.complete
        assert lines_of(toy.build()) == lines_of(edited)
        assert not toy.sync().edited


@settings(max_examples=20, deadline=None, phases=FOUND)
@given(st.integers(0, 10**9), st.integers(1, 6))
@example(129, 6)
def test_cells_deleted_merged_moved_or_swapped_are_written_back_or_refused(seed: int, count: int) -> None:
    """A clash that an edit takes away is refused: the next build would give the other one its own name back."""
    reasons = (*REFUSALS, "would not give this notebook again", "rebinds both")  # its name moved to where one is
    with tempfile.TemporaryDirectory() as folder:
        toy, choice = ClashingToy(Path(folder)), random.Random(seed)
        for number in range(count):
            before, sources = copy.deepcopy(toy.notebook), toy.sources
            if choice.random() < 0.5:
                edit(toy, choice, f"new_{number}_")  # a split of merged cells moves a function to another cell
            else:
                restructure(toy, choice)
            problems = toy.look().problems
            assert all(any(reason in problem.what for reason in reasons) for problem in problems), problems
            if problems:
                assert toy.sources == sources
                toy.notebook = before
        edited = copy.deepcopy(toy.notebook)
        toy.sync()
        once = toy.sources
        assert toy.sync().texts == {} and toy.sources == once
        assert lines_of(toy.build()) == lines_of(edited)
        assert not toy.sync().edited

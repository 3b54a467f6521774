"""One notebook saved again and again before it is built: each save is merged from the one before."""

import copy
import json

from build.notebooks.edited_cells import parse
from build.sync.sync_back import sync_back
from tests.build.sync.conftest import Toy


def test_a_line_edited_twice_is_written_back_twice(toy: Toy) -> None:
    toy.replace("LIMIT = 3", "LIMIT = 4")
    toy.sync()
    toy.replace("LIMIT = 4", "LIMIT = 5")
    toy.sync()
    assert "LIMIT = 5  # at most so often" in toy.text("tool")


def test_what_syncs_leave_lies_in_folders_that_say_what_it_is(toy: Toy) -> None:
    toy.replace("LIMIT = 3", "LIMIT = 4")
    toy.sync()
    folders = {path.name: len(list(path.iterdir())) for path in (toy.root / "out/sync").iterdir()}
    assert folders == {"backup": 1, "synced": 1, "last_sync": 1}


def test_what_the_sources_became_between_two_saves_stays(toy: Toy) -> None:
    toy.replace("LIMIT = 3", "LIMIT = 4")
    toy.sync()
    toy.write("tool", toy.text("tool").replace("round(number, LIMIT)", "round(number, LIMIT + 1)"))
    toy.replace("LIMIT = 4", "LIMIT = 5")
    toy.sync()
    assert "LIMIT = 5" in toy.text("tool") and "LIMIT + 1" in toy.text("tool")


def test_an_edit_taken_back_before_the_next_save_is_taken_back_in_the_source_and_said(toy: Toy) -> None:
    before = toy.text("other")
    toy.replace("return first + LIMIT", "return first - LIMIT")
    toy.sync()
    assert toy.text("other") != before
    toy.replace("return first - LIMIT", "return first + LIMIT")
    toy.replace("LIMIT = 3", "LIMIT = 5")
    result = toy.sync()
    assert toy.text("other") == before and "LIMIT = 5" in toy.text("tool")
    assert result.notes == [
        "kernel_src/data/other.py loses what an earlier sync wrote back: the notebook no longer has it"
    ]


def test_a_notebook_put_back_as_it_was_built_takes_nothing_back_and_says_so(toy: Toy) -> None:
    built = copy.deepcopy(toy.notebook)
    toy.replace("LIMIT = 3", "LIMIT = 5")
    toy.sync()
    toy.notebook = built
    result = toy.sync()
    assert "LIMIT = 5" in toy.text("tool")
    assert result.notes == ["kernel_src/data/tool.py keeps what an earlier sync wrote back"]


def test_another_copy_of_the_notebook_takes_nothing_back(toy: Toy) -> None:
    built = copy.deepcopy(toy.notebook)
    toy.replace("LIMIT = 3", "LIMIT = 5")
    toy.sync()
    toy.notebook = built
    toy.replace("return round(number, LIMIT)", "return round(number, LIMIT + 1)")
    edited = parse(json.dumps(toy.notebook).encode())
    result = sync_back(edited, toy.root, notebook=toy.root / "Downloads/toy.ipynb")
    assert "LIMIT = 5" in result.texts["kernel_src/data/tool.py"]
    assert "LIMIT + 1" in result.texts["kernel_src/data/tool.py"]


def test_an_edit_is_written_back_again_when_the_sources_were_put_back(toy: Toy) -> None:
    before = toy.text("tool")
    toy.replace("LIMIT = 3", "LIMIT = 4")
    toy.sync()
    toy.write("tool", before)  # git checkout
    toy.sync()
    assert "LIMIT = 4" in toy.text("tool")


def test_after_the_next_build_the_build_is_the_ancestor_again(toy: Toy) -> None:
    toy.replace("LIMIT = 3", "LIMIT = 4")
    toy.sync()
    toy.build()
    toy.write("tool", toy.text("tool").replace("LIMIT = 4", "LIMIT = 6"))
    toy.replace("return round(number, LIMIT)", "return round(number, LIMIT + 1)")
    toy.sync()
    assert "LIMIT = 6" in toy.text("tool") and "LIMIT + 1" in toy.text("tool")

"""What people do to cells: each edit is written into its module, or is refused with a reason."""

import copy
import json
import re

import pytest

from build.core.errors import CheckFailed
from tests.build.sync.conftest import Toy, shown


def test_an_untouched_notebook_changes_nothing(toy: Toy) -> None:
    before = toy.sources
    result = toy.sync()
    assert not result.edited and toy.sources == before


def test_an_edited_line_is_written_back_and_every_other_byte_stays(toy: Toy) -> None:
    before = toy.text("tool")
    toy.replace("value = math.sqrt(number)", "value = math.sqrt(abs(number))")
    toy.sync()
    assert toy.text("tool") == before.replace("math.sqrt(number)", "math.sqrt(abs(number))")


def test_the_rebuilt_notebook_is_the_edited_one_and_a_second_sync_changes_nothing(toy: Toy) -> None:
    toy.replace("return   2 * number", "return number + number")
    toy.replace("print(both(4))", "print(both(5))\nprint('done')")
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    once = toy.sources
    assert toy.sync().texts == {} and toy.sources == once
    assert shown(toy.build()) == shown(edited)


def test_what_the_stitcher_reworded_keeps_the_sources_words(toy: Toy) -> None:
    assert "first = double(number)" in toy.cell("through the module")["source"]
    toy.replace("# through the module", "# by way of the module")
    toy.sync()
    assert "first = tool.double(number)  # by way of the module" in toy.text("other")


def test_a_split_cell_is_split_in_the_source(toy: Toy) -> None:
    cell = toy.cell("LIMIT = 3")
    head, _, tail = cell["source"].partition("\n\n\ndef double")
    cell["source"] = head
    toy.insert_below("LIMIT = 3", "def double" + tail)
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    assert "LIMIT = 3  # at most so often\n\n\n# %%\ndef double(number):" in toy.text("tool")
    assert shown(toy.build()) == shown(edited)


def test_merged_cells_are_merged_in_the_source(toy: Toy) -> None:
    first, second = toy.cell("results = ["), toy.cell("print(both(4))")
    first["source"] += "\n\n" + second["source"].partition("\n")[2]
    toy.notebook["cells"].remove(second)
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    assert "print(json.dumps(results))\n\nprint(both(4))\n" in toy.text("infer")
    assert shown(toy.build()) == shown(edited)


def test_merged_cells_of_a_module_keep_the_gap_that_the_notebook_shows_and_the_title(toy: Toy) -> None:
    first, second, third = toy.cell("LIMIT = 3"), toy.cell("def root_of"), toy.cell("def rounded")
    first["source"] += "\n\n" + second["source"].partition("\n")[2] + "\n\n\n" + third["source"].partition("\n")[2]
    toy.notebook["cells"] = [cell for cell in toy.notebook["cells"] if cell not in (second, third)]
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    text = toy.text("tool")
    assert "# odd spacing, kept\n\ndef root_of" in text
    assert "return double(value)\n\n\n# Rounding\ndef rounded" in text and "%%" not in text
    assert shown(toy.build()) == shown(edited)


def test_a_line_that_the_stitcher_reworded_may_change_together_with_its_neighbour(toy: Toy) -> None:
    toy.replace("first = double(number)  # through the module", "first = double(number + 1)  # by the module")
    toy.replace("return first + LIMIT", "return first - LIMIT")
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    assert "first = tool.double(number + 1)  # by the module\n    return first - LIMIT" in toy.text("other")
    assert shown(toy.build()) == shown(edited)


def test_cells_of_two_modules_merged_go_back_to_their_modules(toy: Toy) -> None:
    first, second = toy.cell("def rounded"), toy.cell("def both")
    place = toy.notebook["cells"].index(first)
    first["source"] += "\n\n" + second["source"].replace("+ LIMIT", "- LIMIT")
    toy.notebook["cells"].remove(second)
    del place
    toy.sync()
    assert "return first - LIMIT" in toy.text("other")
    assert "def both" not in toy.text("tool")


def test_a_function_added_below_a_modules_cell_belongs_to_that_module(toy: Toy) -> None:
    toy.insert_below("def rounded", "def floor_of(number):\n    return math.floor(number)")
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    assert toy.text("tool").endswith("\n\n\n# %%\ndef floor_of(number):\n    return math.floor(number)\n")
    assert shown(toy.build()) == shown(edited)


def test_a_cell_that_names_its_source_is_written_back_whatever_it_does(toy: Toy) -> None:
    toy.insert_below("print(both(4))", "# kernel_src/kernels/infer.py\nprint(results)")
    toy.sync()
    assert toy.text("infer").endswith("print(both(4))\n\n# %%\nprint(results)\n")


@pytest.mark.parametrize("metadata", [{"tags": ["scratch"]}, {}])
def test_a_scratch_cell_stays_in_the_notebook_and_is_reported(toy: Toy, metadata: dict) -> None:
    before = toy.sources
    toy.insert_below("def rounded", "rounded(2.34567)", metadata=metadata)
    result = toy.sync()
    assert "rounded(2.34567)" in result.scratch[0] and not result.complete
    assert toy.sources == before


def test_deleting_a_function_that_is_still_used_is_refused(toy: Toy) -> None:
    toy.notebook["cells"].remove(toy.cell("def rounded"))
    assert "rounded was removed from the notebook but is still used" in toy.refusals()


def test_deleting_a_function_and_its_uses_is_written_back_with_its_import(toy: Toy) -> None:
    toy.notebook["cells"].remove(toy.cell("def both"))
    toy.notebook["cells"].remove(toy.cell("## The other"))
    toy.notebook["cells"].remove(toy.cell("print(both(4))"))
    toy.sync()
    assert "both" not in toy.text("infer") and "def both" not in toy.text("other")


def test_deleting_all_of_a_module_but_its_text_is_refused_and_says_what_is_left(toy: Toy) -> None:
    for part in ("def both", "print(both(4))"):
        toy.notebook["cells"].remove(toy.cell(part))
    refusals = toy.refusals()
    assert "kernel_src/data/other.py: nothing in the notebook needs this module any more" in refusals
    assert "delete its other cells, too, such as '## The other'" in refusals


def test_reordered_cells_are_reordered_in_the_source(toy: Toy) -> None:
    cells = toy.notebook["cells"]
    first, second = cells.index(toy.cell("def root_of")), cells.index(toy.cell("def rounded"))
    cells[first], cells[second] = cells[second], cells[first]
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    text = toy.text("tool")
    assert text.index("# %% Rounding\ndef rounded") < text.index("# %%\ndef root_of") and text.endswith("(value)\n")
    assert shown(toy.build()) == shown(edited)


def test_a_cell_moved_above_what_it_needs_is_refused(toy: Toy) -> None:
    cell = toy.cell("print(both(4))")
    cell["source"] += "\nprint(results)"
    toy.notebook["cells"].remove(cell)
    toy.notebook["cells"].insert(toy.notebook["cells"].index(toy.cell("## Work")), cell)
    assert "results is used above the cell that defines it" in toy.refusals()


def test_a_function_renamed_wherever_it_is_used_is_imported_by_its_new_name(toy: Toy) -> None:
    for cell in toy.notebook["cells"]:
        cell["source"] = cell["source"].replace("rounded", "shortened")
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    assert "from kernel_src.data.tool import root_of, shortened\n" in toy.text("infer")
    assert shown(toy.build()) == shown(edited)


def test_a_function_renamed_in_one_place_only_is_refused(toy: Toy) -> None:
    toy.replace("def rounded", "def shortened")
    assert "rounded was removed from the notebook but is still used" in toy.refusals()


def test_a_renamed_function_that_a_source_outside_the_notebook_imports_is_refused(toy: Toy) -> None:
    (toy.root / "kernel_src/kernels/train.py").write_text("from kernel_src.data.tool import rounded\n")
    toy.build()
    for cell in toy.notebook["cells"]:
        cell["source"] = cell["source"].replace("rounded", "shortened")
    assert "kernel_src/kernels/train.py:1: imports rounded" in toy.refusals()


def test_an_edited_docstring_cell_becomes_the_docstring(toy: Toy) -> None:
    toy.replace("It doubles.", "It doubles, by $\\frac{2}{1}$.")
    toy.sync()
    assert toy.text("tool").startswith('r"""## The tool\n\nIt doubles, by $\\frac{2}{1}$.\n"""\n\nimport math\n')


def test_an_edited_markdown_cell_becomes_comments(toy: Toy) -> None:
    toy.replace("> It promises.", "> It promises.\n\nAnd more.")
    toy.replace("## Work", "## The work")
    toy.sync()
    assert "# > It promises.\n#\n# And more.\n\n# %%\nimport json" in toy.text("infer")
    assert "# %% [markdown]\n# ## The work\n" in toy.text("infer")


def test_an_import_added_in_a_modules_cell_goes_to_the_modules_imports(toy: Toy) -> None:
    toy.replace("def rounded(number):", "import cmath\n\n\ndef rounded(number):")
    toy.replace("return round(number, LIMIT)", "return round(cmath.phase(number), LIMIT)")
    toy.sync()
    assert '"""\n\nimport cmath\nimport math\n' in toy.text("tool")
    assert "# %% Rounding\ndef rounded" in toy.text("tool")


def test_an_import_added_to_the_imports_cell_goes_to_the_modules_that_use_the_name(toy: Toy) -> None:
    toy.replace("import json", "import json\nimport statistics")
    toy.replace("return first + LIMIT", "return statistics.mean([first, LIMIT])")
    edited = copy.deepcopy(toy.notebook)
    toy.sync()
    assert "import statistics\n\nfrom kernel_src.data import tool\n" in toy.text("other")
    assert "statistics" not in toy.text("tool")
    rebuilt = shown(toy.build())
    assert [cell for cell in rebuilt if "import json" not in cell[1]] == [
        cell for cell in shown(edited) if "import json" not in cell[1]
    ]


def test_an_import_that_no_module_uses_is_refused(toy: Toy) -> None:
    toy.replace("import json", "import json\nimport statistics")
    assert "no module uses `import statistics`" in toy.refusals()


def test_taking_out_an_import_that_is_used_is_refused(toy: Toy) -> None:
    toy.replace("import math", "")
    assert "math was removed from the notebook but is still used" in toy.refusals()


def test_a_function_of_another_module_used_for_the_first_time_is_imported(toy: Toy) -> None:
    toy.replace("return first + LIMIT", "return rounded(first + LIMIT)")
    toy.sync()
    assert "from kernel_src.data.tool import LIMIT, rounded\n" in toy.text("other")


def test_changed_parameters_are_reported_and_stay_until_asked_for(toy: Toy) -> None:
    before = toy.sources
    toy.replace("COUNT = 3", "COUNT = 7")
    result = toy.sync()
    assert [(edit.name, edit.old, edit.new) for edit in result.parameters] == [("COUNT", "3", "7")]
    assert toy.sources == before and not result.complete
    toy.sync(parameters=True)
    assert "COUNT = 7  # numbers" in toy.text("infer") and "WEIGHTS = {}  # slug → weight" in toy.text("infer")


def test_a_parameter_that_the_experiment_gives_is_refused_with_its_place(toy: Toy) -> None:
    toy.replace('WEIGHTS = {"a": 1.0}', 'WEIGHTS = {"a": 0.5}')
    problems = toy.look(parameters=True).problems
    assert "the experiment's" in str(problems[0]) and "experiments.py" in str(problems[0])


def with_its_own_hash(toy: Toy) -> None:
    """As a training notebook is built: with the hash of its sources among its parameters."""
    toy.write("infer", toy.text("infer").replace("COUNT = 3", 'SOURCE_SHA256 = ""  # filled in\nCOUNT = 3'))
    toy.parameters["SOURCE_SHA256"] = ""
    toy.build()


def test_an_edit_of_a_notebook_that_carries_the_hash_of_its_sources_is_written_back(toy: Toy) -> None:
    with_its_own_hash(toy)
    toy.replace("value = math.sqrt(number)", "value = math.sqrt(abs(number))")
    toy.replace("# filled in", "# filled in by the build")
    toy.sync()
    assert "math.sqrt(abs(number))" in toy.text("tool")
    assert 'SOURCE_SHA256 = ""  # filled in by the build\n' in toy.text("infer")
    old = toy.cell("# filled in")["source"]
    toy.build()
    assert toy.cell("# filled in")["source"] != old and not toy.sync().edited


def test_the_hash_of_the_sources_is_the_builds_and_no_edit_of_it_is_written_back(toy: Toy) -> None:
    with_its_own_hash(toy)
    cell = toy.cell("# filled in")
    cell["source"] = re.sub(r'SOURCE_SHA256 = "\w+"', 'SOURCE_SHA256 = "abc"', cell["source"])
    assert [edit.name for edit in toy.look().parameters] == ["SOURCE_SHA256"] and not toy.look().texts
    (problem,) = toy.look(parameters=True).problems
    assert "the build's, which fills it in" in problem.what and "in the notebook put back SOURCE" in problem.cure


@pytest.mark.parametrize("line", ["!pip install timm", "%matplotlib inline", "%%time", "files = !ls"])
def test_a_magic_is_refused_and_quoted(toy: Toy, line: str) -> None:
    cell = toy.cell("def rounded")
    cell["source"] = cell["source"].replace("def rounded", f"{line}\ndef rounded")
    assert repr(line) in toy.refusals()


def test_a_new_cell_with_a_magic_is_refused_unless_it_is_scratch(toy: Toy) -> None:
    toy.insert_below("def rounded", "!pip install timm")
    assert "'!pip install timm'" in toy.refusals()
    toy.cell("!pip")["metadata"]["tags"] = ["scratch"]
    assert not toy.look().problems


def test_a_syntax_error_is_refused_with_its_line(toy: Toy) -> None:
    toy.replace("return round(number, LIMIT)", "return round(number, LIMIT")
    assert ", line 4: syntax error: '(' was never closed" in toy.refusals()


def test_both_sides_changed_different_cells_and_both_changes_stay(toy: Toy) -> None:
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
    toy.replace("return round(number, LIMIT)", "return round(number, LIMIT + 1)")
    toy.sync()
    assert "LIMIT = 4" in toy.text("tool") and "round(number, LIMIT + 1)" in toy.text("tool")


def test_a_conflict_leaves_the_sources_and_writes_a_conflict_file(toy: Toy) -> None:
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
    toy.replace("LIMIT = 3", "LIMIT = 5")
    before = toy.sources
    with pytest.raises(CheckFailed, match="changed the same lines differently"):
        toy.sync()
    assert toy.sources == before
    written = (toy.root / "out/sync/conflicts/kernel_src/data/tool.py.rej").read_text()
    assert "<<<<<<< sources\nLIMIT = 4" in written and "LIMIT = 5" in written
    (kept,) = (toy.root / "out/sync/kept").iterdir()
    assert json.loads(kept.read_bytes()) == toy.notebook
    with pytest.raises(CheckFailed):
        toy.sync(conflicts_in_source=True)
    assert "<<<<<<< sources\nLIMIT = 4" in toy.text("tool")


def test_the_same_change_on_both_sides_is_no_conflict(toy: Toy) -> None:
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 5"))
    toy.replace("LIMIT = 3", "LIMIT = 5")
    assert toy.sync().texts == {}


def test_a_notebook_that_does_not_say_its_build_is_refused(toy: Toy) -> None:
    toy.notebook["metadata"] = {}
    toy.cell("Stitched from")["source"] = "# Toy"
    with pytest.raises(CheckFailed, match="does not say which build"):
        toy.look()


def test_sources_with_windows_line_ends_keep_them(toy: Toy) -> None:
    path = toy.root / "kernel_src/data/tool.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    toy.build()
    toy.replace("LIMIT = 3", "LIMIT = 5")
    toy.sync()
    assert path.read_bytes() == before.replace(b"LIMIT = 3", b"LIMIT = 5")


def without_a_part(toy: Toy) -> None:
    """As most notebooks are built: without a part that `other` would have."""
    (toy.root / "kernel_src/data/extra.py").write_text("def trick():\n    return 1\n")
    own = "from kernel_src.data import tool\n"
    toy.write(
        "other", toy.text("other").replace(own, f"import kernel_src.data.extra  # noqa: F401  # part: extra\n{own}")
    )
    toy.write("infer", toy.text("infer").replace("COUNT = 3", 'PARTS = ("extra",)  # optional\nCOUNT = 3'))
    toy.parameters["PARTS"] = ()
    toy.build()


def test_an_edit_of_a_notebook_without_an_optional_part_is_written_back_and_the_part_stays_in_the_sources(
    toy: Toy,
) -> None:
    without_a_part(toy)
    assert "trick" not in str(toy.notebook) and "PARTS = ()  # optional" in str(toy.notebook)
    toy.replace("return first + LIMIT", "return operator.add(first, LIMIT)")
    toy.replace("import math", "import math\nimport operator")
    assert toy.sync().complete
    text = toy.text("other")
    assert "import kernel_src.data.extra  # noqa: F401  # part: extra\n" in text and "import operator\n" in text
    assert "return operator.add(first, LIMIT)" in text and 'PARTS = ("extra",)  # optional' in toy.text("infer")
    edited = [cell["source"] for cell in toy.notebook["cells"]]
    assert [cell["source"] for cell in toy.build()["cells"]][1:] == edited[1:]  # the first names the hash
    toy.replace("PARTS = ()", 'PARTS = ("extra",)')
    assert "EXTRA_PARTS of kernel_src/competitions/kernel_cards.py" in str(toy.look(parameters=True).problems[0])

"""What the notebook looks like: cells, their order, their text, ids and metadata; the same bytes everywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from build.core.errors import CheckFailed, UsageError
from build.stitch import compose, stitch
from build.stitch.cells import cut, markdown
from build.stitch.library import Library
from build.stitch.modules import MAIN

REPOSITORY = Path(__file__).resolve().parents[3]

LIBRARY = {
    "p/__init__.py": '"""The package: nothing to see."""\n',
    "p/metric.py": '''
        """## Metric

        Why it is so.
        """

        import math
        from collections.abc import Sequence  # a comment that goes with its import

        import numpy as np

        from p.base import BASE

        # Kept: a comment of its own.
        WEIGHT = BASE * 2  # kept too


        # %% The score
        def score(values: Sequence[float]) -> float:
            """Add them."""

            return math.fsum(values)   +  WEIGHT
    ''',
    "p/base.py": "import json\nBASE = 3\n",
    "main.py": """
        # %% [markdown]
        # # Title
        #
        # Promise.

        # %%
        import time
        import json
        START = json.loads("1")

        # %% tags=["parameters"]
        NAME = "demo"  # who
        SIZES = {
            "a": 1,
        }  # px
        FLAG: bool = True

        # %% [markdown]
        # ## Score

        # %%
        print(START)
        # needed now
        from p.metric import score

        import pandas

        print(score([1.0]), NAME, SIZES, FLAG)
    """,
}


def test_cells_come_in_the_order_of_first_need(package):
    assert [cell["id"] for cell in package(LIBRARY).cells()] == [
        "main-1",
        "imports-standard-library",
        "main-2",
        "main-3",
        "main-4",
        "main-5",
        "imports-third-party",
        "p-base-1",
        "p-metric-0",
        "p-metric-1",
        "p-metric-2",
        "main-5-2",
    ]


def test_code_cells_read_as_written(package):
    assert package(LIBRARY).code() == [
        "# imports: standard library\nimport json\nimport math\nimport time\nfrom collections.abc import Sequence",
        '# main.py\nSTART = json.loads("1")',
        '# main.py\nNAME = "demo"  # who\nSIZES = {\n    "a": 1,\n}  # px\nFLAG: bool = True',
        "# main.py\nprint(START)",
        "# imports: third party\nimport numpy as np\nimport pandas",
        "# p/base.py\nBASE = 3",
        "# p/metric.py\n# Kept: a comment of its own.\nWEIGHT = BASE * 2  # kept too",
        "# p/metric.py\n# The score\ndef score(values: Sequence[float]) -> float:\n"
        '    """Add them."""\n\n    return math.fsum(values)   +  WEIGHT',
        "# main.py\n# needed now\n\nprint(score([1.0]), NAME, SIZES, FLAG)",
    ]


def test_docstring_becomes_markdown_and_the_first_cell_names_the_hash(package):
    made = package(LIBRARY)
    stitched = made.stitch()
    texts = [cell["source"] for cell in json.loads(stitched.notebook)["cells"] if cell["cell_type"] == "markdown"]
    assert texts[0].startswith("# Title\n\nPromise.\n\n*Stitched from `main.py` and 3 modules")
    assert f"sha256 `{stitched.source_sha256}`" in texts[0]
    assert texts[1:] == ["## Score", "## Metric\n\nWhy it is so."]


def test_a_script_without_markdown_gets_a_first_cell_with_the_hash(package):
    first = package({"main.py": "print(1)\n"}).cells()[0]
    assert first["cell_type"] == "markdown" and "sha256 `" in first["source"]


def test_every_line_of_a_cell_knows_its_source_line(package):
    made = package(LIBRARY)
    checked = 0
    for cell in made.cells(parameters={"SIZES": {"b": 2}}):
        origin = cell["metadata"]["stitch"]
        if cell["cell_type"] != "code" or origin["source"] == "imports":
            continue
        source = (made.root / origin["source"]).read_text().split("\n")
        texts = cell["source"].split("\n")
        assert len(texts) == len(origin["lines"]) and origin["lines"][0] == 0
        for text, number in zip(texts, origin["lines"], strict=True):
            if number and "SIZES" not in text and "# The score" not in text:
                assert source[number - 1] == text
                checked += 1
    assert checked == 13


def test_metadata_is_that_of_a_clean_notebook(package):
    stitched = package(LIBRARY).stitch()
    content = json.loads(stitched.notebook)
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert content["metadata"]["language_info"]["name"] == "python"
    assert content["metadata"]["stitch"] == {"format": 2, "main": "main.py", "source_sha256": stitched.source_sha256}
    for cell in content["cells"]:
        assert isinstance(cell["source"], str)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert stitched.notebook.endswith(b"}\n")
    assert stitched.third_party == ("numpy", "pandas")


def test_no_absolute_path_is_written(package):
    made = package(LIBRARY)
    assert str(made.root).encode() not in made.stitch().notebook


def test_parameters_replace_literals_and_keep_comments(package):
    made = package(LIBRARY)
    cell = made.cells(parameters={"NAME": "v8", "SIZES": {"b": [1, 2.5, None]}, "FLAG": False})[3]
    assert cell["metadata"]["tags"] == ["parameters"]
    assert cell[
        "source"
    ] == '# main.py\nNAME = "v8"  # who\nSIZES = {"b": [1, 2.5, null]}  # px\nFLAG: bool = False'.replace(
        "null", "None"
    )
    assert made.stitch(parameters={"NAME": "v8"}).source_sha256 != made.stitch().source_sha256


def test_a_notebook_that_asks_for_it_carries_the_hash_of_its_own_sources(package):
    main = '# %% tags=["parameters"]\nSOURCE_SHA256 = ""\nWHO = 1\n\n# %%\nprint(SOURCE_SHA256)\n'
    asked = package({"main.py": main}).stitch(parameters={"SOURCE_SHA256": ""})
    assert f'SOURCE_SHA256 = "{asked.source_sha256}"' in json.loads(asked.notebook)["cells"][-2]["source"]
    assert json.loads(asked.notebook)["metadata"]["stitch"]["source_sha256"] == asked.source_sha256
    changed = package({"main.py": main.replace("WHO = 1", "WHO = 2")}).stitch(parameters={"SOURCE_SHA256": ""})
    assert changed.source_sha256 != asked.source_sha256 and asked.source_sha256.encode() not in changed.notebook
    assert b'SOURCE_SHA256 = \\"\\"' in package({"main.py": main}).stitch().notebook, "unasked it stays unknown"


def test_sources_that_were_stitched_before_give_the_same_notebook_again(package):
    """A process parses each text once: a stitching that wrote into the tree would spoil the next one."""
    made = package(
        {
            "p/__init__.py": "",
            "p/m.py": "def f():\n    return 1\n",
            "main.py": '# %% tags=["parameters"]\nN = [1]\n\n# %%\nfrom p import m as q\n\n'
            "print([q.f(), N], q.f(), [one for one in (q.f(), [q.f()])])\n",
        }
    )
    first, other = made.stitch(parameters={"N": [2]}), made.stitch(parameters={"N": [3, 4]})
    assert first.notebook != other.notebook
    assert made.stitch(parameters={"N": [2]}) == first and b"N = [1]" in made.stitch().notebook


def test_unknown_parameter_is_refused(package):
    with pytest.raises(CheckFailed, match="parameter SIZE is not assigned here → this cell assigns FLAG, NAME, SIZES"):
        package(LIBRARY).stitch(parameters={"SIZE": 1})


def test_parameter_that_is_no_literal_is_refused(package):
    with pytest.raises(CheckFailed, match="cannot be written as a literal"):
        package(LIBRARY).stitch(parameters={"NAME": object()})


def test_a_change_in_one_module_leaves_the_other_ids_alone(package):
    made = package(LIBRARY)
    before = [cell["id"] for cell in made.cells()]
    made.write({"p/base.py": "import json\nBASE = 3\n# %%\nMORE = 4\n"})
    after = [cell["id"] for cell in made.cells()]
    assert [name for name in after if name != "p-base-2"] == before


def test_ids_are_valid_and_unique_for_long_and_foreign_names(package):
    names = ["a" * 90, "a" * 91, "größe", "a_b"]
    files = {f"p_{name}/m.py": f"x{index} = {index}\n" for index, name in enumerate(names)}
    files["p/a/b.py"], files["p/a_b.py"] = "y = 1\n", "z = 1\n"
    imports = "".join(f"import {name.removesuffix('.py').replace('/', '.')}\n" for name in files)
    ids = [cell["id"] for cell in package({**files, "main.py": imports + "print(1)\n"}).cells()]
    assert len(set(ids)) == len(ids) == 8
    assert all(re.fullmatch("[a-zA-Z0-9-_]{1,64}", one) for one in ids)


def test_unknown_script_or_folder_is_wrong_use(package):
    made = package({})
    with pytest.raises(UsageError, match="no script"):
        made.stitch("gone.py")
    with pytest.raises(UsageError, match="no folder"):
        stitch(made.root / "main.py", made.root / "gone")


def test_a_second_line_like_a_prompt_gets_a_blank_line_above(package):
    """IPython 7 and 8, as on Kaggle, strip `...` from every line of a cell whose second line starts so."""
    assert package({"main.py": "...\nx = 1\nIn = [1]\n"}).code() == ["# main.py\n\n...\nx = 1\nIn = [1]"]


def test_an_edit_that_says_something_else_is_caught(package, monkeypatch):
    """The proof compares what the cells parse to with what was meant."""
    from build.stitch.drafts import Draft, Edit

    def wrong(self, node, text):
        self.edits.append(Edit((node.lineno, node.col_offset), (node.lineno, node.col_offset + 1), "1"))

    monkeypatch.setattr(Draft, "replace", wrong)
    (reason,) = package({"p.py": "x = 1\n", "main.py": "import p\nprint(p.x)\n"}).refusals()
    assert "main.py:2" in reason


# -- the same bytes everywhere -------------------------------------------------------------------------------------

TRICKY = {
    **LIBRARY,
    "p/strings.py": "K = 1\nLONG = f'''{K}\n{K!r:>{K}}'''\nclass C:\n    x: 'int' = 1\n",
    "main.py": LIBRARY["main.py"].rstrip(" ")
    + "        # %%\n        import p.strings as s\n"
    + '        print(f"{s.K} {s.C.x}" f"{s.LONG!r}", {one: one for one in {"b", "a"}})\n',
}
_COMPOSE = """
import sys
from pathlib import Path
from build.stitch import compose
root = Path(sys.argv[1])
sys.stdout.buffer.write(compose(root / "main.py", root).notebook)
"""


def compose_with(python: str, root: Path, seed: str) -> bytes:
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONHASHSEED": seed,
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run([python, "-c", _COMPOSE, str(root)], env=environment, check=True, capture_output=True).stdout


def test_two_folders_two_hash_seeds_and_other_file_times_give_the_same_bytes(package, tmp_path_factory):
    made = package(TRICKY)
    expected = made.stitch().notebook
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(made.root, other)
    for path in other.rglob("*.py"):
        os.utime(path, (1, 1))
    assert compose_with(sys.executable, made.root, "0") == expected
    assert compose_with(sys.executable, other, "1") == expected


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_supported_python_gives_the_same_bytes(package, version):
    found = sorted(Path("/root/.pyenv/versions").glob(f"{version}.*/bin/python"))
    python = str(found[-1]) if found else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    made = package(TRICKY)
    assert compose_with(python, made.root, "7") == made.stitch().notebook


def test_syntax_newer_than_3_11_is_refused_on_newer_pythons_too(package):
    found = sorted(Path("/root/.pyenv/versions").glob("3.12.*/bin/python"))
    if not found:
        pytest.skip("Python 3.12 is not on this machine")
    made = package({"main.py": "def f[T](x: T) -> T:\n    return x\n"})
    with pytest.raises(subprocess.CalledProcessError) as failed:
        compose_with(str(found[-1]), made.root, "0")
    assert "main.py:1: type parameters need Python 3.12" in failed.value.stderr.decode()


# -- the reading of percent scripts --------------------------------------------------------------------------------

PERCENT = [
    dedent(LIBRARY["main.py"])[1:],
    "x = 1\n\n\n# %%\ny = 2\n\n\n\n# %%\n",
    "# %%\n# %% A title\nx = 1\n# %% Other [markdown]\n# text\n#  indented\n#\n# - list\n",
    '# %% [md]\n# a\n# %% tags=["a", "b"]\nx = """\n# %%\n# %% [markdown]\n"""\n',
    "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# %%\nx = 1\n",
    "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n#     name: python3\n# ---\n\n# %%\nx = 1\n",
    "#%%\nx = 1\n#   %% [markdown]\n#no space\n# ls everything\n",
    "# comment\n# %%\n# ls everything\n# cat and mouse\nx = 1\n\n# %% [markdown]\n# ```\n# code\n# ```\n",
    "# %%%\nx = 1\n# %%%% Deep [markdown]\n# text\n",
]


@pytest.mark.parametrize("text", PERCENT)
def test_reading_equals_jupytexts(tmp_path, text):
    import jupytext

    (tmp_path / "main.py").write_text(text)
    library = Library(tmp_path)
    module = library.read(tmp_path / "main.py", MAIN, "")
    ours = []
    for segment in cut(module, library):
        source = "\n".join(module.lines[segment.first - 1 : segment.last]).strip("\n")
        ours.append(
            (segment.kind, markdown(module, segment) if segment.kind == "markdown" else source, list(segment.tags))
        )
    theirs = jupytext.reads(text, fmt={"extension": ".py", "format_name": "percent", "comment_magics": False})
    assert not library.problems
    assert ours == [(cell.cell_type, cell.source.strip("\n"), cell.metadata.get("tags", [])) for cell in theirs.cells]


def test_notebook_survives_jupytexts_round_trip(package):
    import jupytext
    import nbformat

    notebook = nbformat.reads(package(LIBRARY).stitch().notebook.decode(), as_version=4)
    form = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    back = jupytext.reads(jupytext.writes(notebook, fmt=form), fmt=form)
    assert [cell.source for cell in back.cells] == [cell.source for cell in notebook.cells]


def test_real_library_of_this_repository_is_stitched(package):
    """Every module of kernel_src that stands alone or with its imports goes into a notebook."""
    made = package(
        {"main.py": "from kernel_src.competition.facts import read_named_rows\nprint(read_named_rows.__name__)\n"}
    )
    shutil.copytree(REPOSITORY / "kernel_src", made.root / "kernel_src")
    assert compose(made.root / "main.py", made.root).sources[-2:] == ("kernel_src/competition/facts.py", "main.py")
    assert made.must_agree() == "read_named_rows\n"

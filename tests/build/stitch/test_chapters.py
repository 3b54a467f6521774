"""The notebook as a book: packages are chapters and stay together, contents link to them, the library is folded."""

import json
import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.notebooks.builder import all_cards, build_notebook, card_of
from build.stitch.notebook import anchor

BOOK = {
    "p/__init__.py": '"""## The base\n\nFor all.\n"""\n',
    "p/first.py": '"""## First\n\nWhy.\n"""\n\nFIRST = 1\n',
    "p/second.py": '"""## Second"""\n\nimport numpy as np\n\nSECOND = np.zeros(2)\n',
    "q/__init__.py": '"""No heading, no chapter."""\n',
    "q/third.py": '"""## Third"""\n\nfrom p.first import FIRST\n\nTHIRD = (FIRST, 3)\n',
    "main.py": """
        # %% [markdown]
        # # Title

        # %% tags=["parameters"]
        SIZE = 1

        # %% [markdown]
        # ## Early

        # %%
        from p.first import FIRST
        from q.third import THIRD

        print(FIRST, THIRD, SIZE)

        # %% [markdown]
        # ## Late

        # %%
        from p.second import SECOND

        print(SECOND)
    """,
}


def headings(cells: list[dict]) -> list[str]:
    return [cell["source"].split("\n")[0] for cell in cells if cell["cell_type"] == "markdown"]


def test_a_package_with_a_heading_is_a_chapter_above_the_section_that_needs_it_and_is_continued_later(package):
    assert headings(package(BOOK).cells()) == [
        *("# Title", "## The base", "### First", "## Third"),
        *("## Early", "## The base (continued)", "### Second", "## Late"),
    ]


def test_contents_list_the_sections_with_the_librarys_chapters_between_them(package):
    text = package(BOOK).cells()[0]["source"]
    assert text.split("\n\n*Stitched")[0] == (
        "# Title\n\n**Contents**\n\n- Library, folded: [The base](#The-base), [Third](#Third)\n- [Early](#Early)\n"
        "- Library, folded: [The base (continued)](#The-base-%28continued%29)\n- [Late](#Late)"
    )


def test_package_and_notebook_agree_on_a_book(package):
    assert package(BOOK).must_agree() == "1 (1, 3) 1\n[0. 0.]\n"


def test_a_chapter_that_would_hide_the_script_is_not_folded(package):
    script = "# %% [markdown]\n# # Title\n\n# %%\nfrom p.first import FIRST\nprint(FIRST)\n"
    (chapter,) = [cell for cell in package(BOOK | {"main.py": script}).cells() if "## The base" in cell["source"][:12]]
    assert "jp-MarkdownHeadingCollapsed" not in chapter["metadata"]


def test_a_module_that_does_something_keeps_its_place_and_its_package_is_entered_again(package):
    files = {
        "a/x.py": "print('x')\n",
        "b/y.py": "print('y')\n",
        "a/z.py": "print('z')\n",
        "a/w.py": "W = 1\n",
        "main.py": "import a.x\nimport b.y\nimport a.z\nimport a.w\n",
    }
    made = package(files)
    assert made.must_agree() == "x\ny\nz\n"
    assert [cell["metadata"]["stitch"]["source"] for cell in made.cells() if cell["cell_type"] == "code"] == [
        *("a/x.py", "a/w.py", "b/y.py", "a/z.py")
    ]


@pytest.mark.parametrize(
    ("base", "order"),
    [
        ("@dataclass(frozen=True)\nclass Metric(ABC):\n    name: str = ''", ["a/x.py", "a/z.py", "b/y.py"]),
        ("class Metric(ABC):\n    name: str = ''", ["b/y.py", "a/x.py", "a/z.py"]),
        (
            "@dataclass(frozen=True)\nclass Metric(ABC):\n    def __post_init__(self):\n        print('made')",
            ["b/y.py", "a/x.py", "a/z.py"],
        ),
    ],
    ids=["frozen all the way up", "a base that is not", "a base that does something"],
)
def test_making_a_record_of_frozen_classes_waits_for_its_package(package, base: str, order: list[str]) -> None:
    imports = "from abc import ABC\nfrom dataclasses import dataclass\n\n\n"
    files = {
        "a/x.py": f"{imports}{base}\n",
        "b/y.py": "print('y')\n",
        "a/z.py": "from dataclasses import dataclass\n\nfrom a.x import Metric\n\n\n"
        "@dataclass(frozen=True)\nclass Best(Metric):\n    pass\n\n\nBEST = Best()\n",
        "main.py": "from a.x import Metric\nimport b.y\nfrom a.z import BEST\n\nprint(isinstance(BEST, Metric))\n",
    }
    made = package(files)
    made.must_agree()
    sources = [cell["metadata"]["stitch"]["source"] for cell in made.cells() if cell["cell_type"] == "code"]
    assert list(dict.fromkeys(source for source in sources if "/" in source)) == order


@st.composite
def rooms(draw):
    """Modules in packages that need one another in no circle, imported in any order; values are not literals only."""
    homes = sorted(draw(st.lists(st.integers(0, 3), min_size=2, max_size=9)))
    files: dict[str, str] = {}
    for index, home in enumerate(homes):
        needed = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        lines = [f"from r{homes[other]}.m{other} import K{other}" for other in sorted(needed)]
        lines += ["import numpy as np"] if draw(st.integers(0, 3)) == 0 else []
        value = draw(st.sampled_from(["({})", "({} *(1, 2))", "dict(a=1) and ({})"][:2]))
        names = "".join(f"K{other}, " for other in sorted(needed)) or "1, "
        files[f"r{home}/m{index}.py"] = "\n".join([*lines, f"K{index} = {value.format(names)}", ""])
    order = draw(st.permutations(range(len(homes))))
    imports = [f"from r{homes[index]}.m{index} import K{index}" for index in order]
    files["main.py"] = "\n".join([*imports, f"print({', '.join(f'K{index}' for index in order)})", ""])
    return files


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=rooms())
def test_no_package_is_left_and_entered_again_where_the_order_is_free(package, tmp_path_factory, files):
    made = type(package({}))(tmp_path_factory.mktemp("rooms"), **files)
    content = made.stitch().notebook
    assert made.stitch().notebook == content
    sources = [cell["metadata"]["stitch"]["source"] for cell in json.loads(content)["cells"]]
    packages = [source.partition("/")[0] for source in sources if "/" in source]
    runs = [name for number, name in enumerate(packages) if packages[number - 1 : number] != [name]]
    assert len(runs) == len(set(runs))
    assert made.as_notebook(pure=True) == made.as_package()


@pytest.mark.parametrize("slug", ["demo-train", "demo-infer", "v8-train", "v8-infer", "preflight"])
def test_our_notebooks_tell_their_story(slug: str) -> None:
    """Title, contents, parameters, then script and chapters; each link has its one heading, the library is folded."""
    card = card_of(f"i2b-{slug}")
    assert card is not None
    cells = json.loads(build_notebook(card).notebook)["cells"]
    text = cells[0]["source"]
    assert text.startswith(("# The training notebook", "# The inference notebook", "# Preflight")) and "\n> " in text
    titles = [
        title
        for cell in cells
        if cell["cell_type"] == "markdown"
        for title in re.findall("(?m)^#+ (.+)$", cell["source"])
    ]
    assert len(titles) == len(set(titles))
    links = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", text)
    assert links and all(title in titles and anchor(title) == address for title, address in links)
    own = f"kernel_src/kernels/{card.kernel}.py"
    for cell in cells:
        if cell["cell_type"] == "code":
            hidden = cell["metadata"].get("jupyter", {}).get("source_hidden", False)
            assert (
                hidden is cell["metadata"].get("_kg_hide-input", False) is (cell["metadata"]["stitch"]["source"] != own)
            )
    order = [cell["metadata"]["stitch"]["source"] for cell in cells]
    (place,) = [number for number, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
    assert {source for source in order[:place]} <= {own, "imports"}
    library = [source for source in order if "/" in source]  # not the headings that are repeated
    blocks = "\n".join(source.rpartition("/")[0] if source != own else "" for source in library).split("\n\n")
    for block in blocks:
        packages = [line for line in block.split("\n") if line.startswith("kernel_src/")]
        runs = [name for number, name in enumerate(packages) if packages[number - 1 : number] != [name]]
        again = Counter(runs) - Counter(set(runs))
        assert not again, f"a package is entered once before each section of the script, but {dict(again)} more"


def test_a_cell_of_more_than_a_hundred_lines_is_one_definition() -> None:
    long = {}
    for card in {card.kernel: card for card in all_cards()}.values():
        for cell in json.loads(build_notebook(card).notebook)["cells"]:
            lines = cell["source"].split("\n")
            starts = [line for line in lines if re.match(r"(async )?def |class ", line)]
            if cell["cell_type"] == "code" and len(lines) > 100 and len(starts) != 1:
                long[cell["id"]] = len(lines)
    assert not long

"""Edits of a notebook in chapters: what has a source is written back, what the build writes by itself does not."""

import json
import shutil
import subprocess

import pytest

from build.core.errors import CheckFailed
from build.notebooks.base import BUILDS, find
from build.notebooks.seal import is_untouched, seal
from build.stitch.assembly import stitch
from tests.build.sync.conftest import MAIN, Toy

CHAPTER = '"""## The data\n\nAll of it.\n"""\n'


@pytest.fixture
def book(toy: Toy) -> Toy:
    """The toy with its package as a chapter, which the script enters twice, and with contents."""
    (toy.root / "kernel_src/data/__init__.py").write_text(CHAPTER)
    late = "from kernel_src.data.other import both\n"
    text = toy.text("infer").replace(late, "")
    toy.write("infer", text.replace("# %%\nprint(both", f"# %% [markdown]\n# ## Both\n\n# %%\n{late}\nprint(both"))
    toy.build()
    return toy


def titles(toy: Toy) -> list[str]:
    return [cell["source"].split("\n")[0] for cell in toy.notebook["cells"] if cell["cell_type"] == "markdown"]


def test_the_book_is_one(book: Toy) -> None:
    assert titles(book) == [
        *("# Toy", "## The data", "### The tool", "## Work", "## The data (continued)", "### The other", "## Both")
    ]
    assert "- [Work](#Work)" in book.notebook["cells"][0]["source"]


def test_a_chapters_text_and_a_modules_heading_are_written_back_at_their_own_level(book: Toy) -> None:
    book.replace("All of it.", "All of it, and more.")
    book.replace("### The tool\n\nIt doubles.", "### The tools\n\nThey double.")
    assert book.sync().complete
    assert (book.root / "kernel_src/data/__init__.py").read_text() == CHAPTER.replace(
        "All of it", "All of it, and more"
    )
    assert book.text("tool").startswith('"""## The tools\n\nThey double.\n"""\n')


def test_a_module_whose_heading_was_taken_out_keeps_its_text(book: Toy) -> None:
    book.replace("### The other", "The other, without a heading")
    book.sync()
    assert book.text("other").startswith('"""The other, without a heading"""')


def test_contents_and_repeated_headings_are_nobodys_source(book: Toy) -> None:
    before = book.sources
    book.replace("- [Work](#Work)\n", "")
    book.replace("## The data (continued)", "## More of the data")
    result = book.sync()
    assert book.sources == before and not result.problems
    assert any("repeats a chapter's heading" in note for note in result.notes)


@pytest.mark.parametrize("since", ["nothing", "a commit"])
def test_the_build_of_a_notebook_that_is_in_no_commit_is_found_by_its_sources(book: Toy, since: str) -> None:
    def git(*words: str) -> None:
        names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(book.root), *names, *words], check=True, capture_output=True)

    git("init", "-q")
    for text in ("LIMIT = 3", "LIMIT = 4") if since == "a commit" else ("LIMIT = 3",):
        book.write("tool", book.text("tool").replace("LIMIT = 3", text))
        git("add", "kernel_src")
        git("commit", "-qm", text)
    shutil.rmtree(book.root / BUILDS)
    sha256 = book.notebook["metadata"]["stitch"]["source_sha256"]
    assert find(book.root, sha256, [book.parameters]).texts["kernel_src/data/tool.py"].count("LIMIT = 3") == 1
    with pytest.raises(CheckFailed, match="neither in out/builds/ nor in git's history"):
        find(book.root, "0" * 64, [book.parameters])


def test_an_unfolded_cell_and_an_open_chapter_are_no_edits(book: Toy) -> None:
    content = json.loads(seal(stitch(book.root / MAIN, book.root, book.parameters), {}))
    folded = 0
    for cell in content["cells"]:
        for key in ("jupyter", "_kg_hide-input", "jp-MarkdownHeadingCollapsed"):
            folded += cell["metadata"].pop(key, None) is not None
    assert folded > 6 and is_untouched(json.dumps(content).encode())
    content["cells"][-1]["source"] += "\n# edited"
    assert not is_untouched(json.dumps(content).encode())

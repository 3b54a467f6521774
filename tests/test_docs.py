"""What the documents name exists, and each page says first whom it is for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_src.competitions.biomass.experiments import V7
from kernel_src.recipes.network import Encoder

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
README = (ROOT / "README.md").read_text()
FENCED = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# out/ and what lies in it is not in a fresh clone.
NAMED = re.compile(r"(?<![\w./-])(?:kernel_src|build|tests|bench|docs|notebooks|datasets_meta)/[\w./*-]*\w/?")


def paths_in(text: str) -> list[str]:
    """Return the paths of this repository that a text has in code, also within a command."""
    pieces = [*FENCED.findall(text), *CODE.findall(FENCED.sub("", text))]
    return [path for piece in pieces for path in NAMED.findall(re.sub(r"\S*[<…]\S*", "", piece))]


def links_in(text: str) -> list[str]:
    return [target for target in LINK.findall(text) if not target.startswith(("http://", "https://"))]


def anchors_of(text: str) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`]*` at commit \w+", "", page.read_text())  # what is gone, and where it can be found
    missing = [path for path in paths_in(text) if not any(ROOT.glob(path.rstrip("/")))]
    for link in links_in(text):
        target, _, anchor = link.partition("#")
        to = page.parent / target if target else page
        if not to.exists() or (anchor and anchor not in anchors_of(to.read_text())):
            missing.append(link)
    assert not missing


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_says_below_its_title_whom_it_is_for(page: Path) -> None:
    title, blank, first = page.read_text().splitlines()[:3]
    assert title.startswith("# ") and not blank
    assert first.startswith("For ")


def test_a_path_that_does_not_exist_is_found() -> None:
    text = "`tests/test_docs.py`, `python bench/gone.py 4`, `notebooks/<slug>/`, `out/runs`\n```\nmake docs/*.md\n```\n"
    assert paths_in(text) == ["docs/*.md", "tests/test_docs.py", "bench/gone.py"]
    assert links_in("[a](docs/a.md#b), [c](https://d.e/f)") == ["docs/a.md#b"]
    assert anchors_of("# A page\n## Why: the last epoch\n") == {"a-page", "why-the-last-epoch"}


def test_readme_is_read_in_two_minutes_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) <= 100
    linked = {Path(link.partition("#")[0]).name for page in PAGES for link in links_in(page.read_text())}
    assert [page.name for page in DOCS if page.name not in linked] == []


def test_the_module_that_readme_shows_is_the_one_there_is() -> None:
    source, cell, backbone = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    module = (ROOT / "kernel_src" / "runtime" / "randomness.py").read_text()
    assert source == module
    assert cell.splitlines()[1] in source and cell.startswith("# kernel_src/runtime/randomness.py\n")
    namespace = {"replace": replace, "V7": V7, "Encoder": Encoder}
    exec(backbone, namespace)
    assert namespace["MINE"].encoder.timm == "convnext_small"

"""`make lab` in a real browser: a cell is edited, saved and run as a person does it, and the edit is in its module."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from build.environment import ROOT
from build.run.mock import lay_out
from kernel_src.competitions.biomass.constants import SLUG as COMPETITION
from kernel_src.runtime.mounts import MOCK
from tests.browser import INSTALL, Browser, find_chromium
from tests.build.kaggle.desk import copy_kit, write_bundle
from tests.build.sync.conftest import shown
from tests.build.sync.lab_server import free_port, lab_server, need_lab
from tests.build.sync.test_watch import wait_for
from tests.notebook_picture import CELLS, follow, open_notebook

SLUG = "i2b-demo-infer"
PICTURES = ROOT / "out" / "browser"
WHERE, OLD, NEW = "kernel_src/runtime/mounts.py", "TREE_LINES = 60", "TREE_LINES = 61"
# The cell that keys go to: active is one a moment before it has the focus, and while all loads a spinner has it.
CELL = "document.activeElement?.closest('.jp-Notebook .jp-Cell.jp-mod-active')"
NUMBER = f"Number({CELL}?.dataset.windowedListIndex ?? -1)"
READY = "document.querySelector('#jp-main-statusbar')?.innerText.includes('Python 3 (the kit) | Idle')"
SAVED = "!document.querySelector('.lm-TabBar-tab.jp-mod-dirty')"


@pytest.fixture
def kit(tmp_path: Path, tiny_competition: Path) -> Path:
    """A copy of the project with a mock of Kaggle's folders; only the two environments are the checkout's."""
    if not find_chromium():
        pytest.skip(INSTALL)
    need_lab()
    kit = copy_kit(tmp_path / "kit")
    for name in (".venv", ".venv-lab"):
        (kit / name).symlink_to((ROOT / name).resolve())
    build(kit)
    bundle = write_bundle(tmp_path / "bundle")
    weights = {"i2b-demo-weights": bundle}
    lay_out(kit / MOCK, competition_slug=COMPETITION, data=tiny_competition, datasets=weights, layout="new")
    return kit


@pytest.fixture
def address(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What `make lab EXPERIMENT=demo` prints, while it runs."""
    monkeypatch.delenv("KIT_KAGGLE_ROOT", raising=False)
    port = free_port()
    command = ["make", "lab", f"PYTHON={sys.executable}", "EXPERIMENT=demo", f"PORT={port}"]
    with lab_server(command, port, tmp_path / "lab.log", cwd=kit) as printed:
        yield printed


def build(kit: Path) -> str:
    command = [sys.executable, "-m", "build", "notebooks", "--experiment", "demo"]
    done = subprocess.run(command, cwd=kit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_to(browser: Browser, number: int) -> None:
    """Run cell after cell with Shift+Enter until one is the active cell."""
    while (now := browser.evaluate(NUMBER)) < number:
        browser.press("Enter", "Shift")
        browser.wait_for(f"{NUMBER} === {now + 1}")


@pytest.mark.full
def test_a_reader_sees_the_script_and_of_the_library_its_chapters_and_each_link_of_the_contents_leads_to_its_heading(
    kit: Path, address: str
) -> None:
    cells = json.loads((kit / "notebooks" / SLUG / f"{SLUG}.ipynb").read_bytes())["cells"]
    titles = re.findall(r"\[([^\]]+)\]\(#", cells[0]["source"])
    assert "Predict" in titles and "Runtime (continued)" in titles
    with Browser() as browser:
        seen = {cell["text"]: cell for cell in open_notebook(browser, address)}
        browser.shot(PICTURES / "lab-opened.png")
        for title in titles:
            assert follow(browser, title) == title
            seen |= {cell["text"]: cell for cell in browser.evaluate(CELLS)}
        assert not browser.errors
    code = [cell for cell in seen.values() if cell["kind"] == "code" and cell["text"]]  # what is drawn
    assert [
        one["text"] for one in code if not one["folded"] and "# kernel_src/kernels/infer.py" not in one["text"]
    ] == []
    assert any("outcome = infer(" in cell["text"] for cell in code)
    assert {cell["text"].split("\n")[0] for cell in seen.values() if cell["chapter"]} >= {
        "Runtime",
        "Data",
        "Inference",
    }
    assert not any(re.search(r"^(def|class) ", text, re.MULTILINE) for text in seen)


@pytest.mark.full
def test_an_edit_saved_in_a_browser_is_in_its_module_and_is_what_the_next_build_gives(
    kit: Path, address: str, tmp_path: Path
) -> None:
    notebook = kit / "notebooks" / SLUG / f"{SLUG}.ipynb"
    sources = {path: path.read_bytes() for path in (kit / "kernel_src").rglob("*.py")}
    cells = [cell["source"] for cell in json.loads(notebook.read_bytes())["cells"]]
    (edited_cell,) = [number for number, text in enumerate(cells) if OLD in text]
    (first_output,) = [number for number, text in enumerate(cells) if 'print(f"reads ' in text]
    (line,) = [number for number, text in enumerate(cells[edited_cell].split("\n")) if text == OLD]
    with Browser() as browser:
        browser.size(1400)
        browser.go(address)
        try:
            browser.wait_for(f"{NUMBER} === 0 && {READY}")
            run_to(browser, edited_cell)
            browser.click(".jp-Notebook .jp-Cell.jp-mod-active .jp-Placeholder-content")  # unfold it
            browser.wait_for(f"{CELL} && !{CELL}.querySelector('.jp-Placeholder-content')")
            browser.press("Enter")  # into the cell
            browser.press("Home", "Control")
            for _ in range(line):
                browser.press("ArrowDown")
            browser.press("End")
            browser.press("Backspace")
            browser.write("1")
            browser.wait_for(f"{CELL}?.innerText.includes({json.dumps(NEW)})")
            browser.press("s", "Control")
            wait_for(lambda: NEW in (kit / WHERE).read_text(), 60)
            browser.wait_for(SAVED)
            browser.shot(PICTURES / "lab-edited.png")
            # The notebook goes on in the same session: it finds the mock, and says so.
            run_to(browser, first_output + 1)
            reads = f"reads {kit / MOCK / 'kaggle' / 'input'}, writes {kit / MOCK / 'kaggle' / 'working'}"
            browser.wait_for(f"document.querySelector('.jp-Notebook').innerText.includes({json.dumps(reads)})")
            browser.press("s", "Control")
            wait_for(lambda: "nothing new for the sources" in (tmp_path / "lab.log").read_text(), 60)
            browser.wait_for(SAVED)
        finally:
            browser.shot(PICTURES / "lab.png")
        assert {urlsplit(asked).netloc for asked in browser.asked} <= {urlsplit(address).netloc, ""}
        assert not browser.errors
    changed = {path for path, content in sources.items() if path.read_bytes() != content}
    assert changed == {kit / WHERE}
    assert (kit / WHERE).read_bytes() == sources[kit / WHERE].replace(OLD.encode(), NEW.encode())
    assert not list(notebook.parent.glob("*.sync-error.txt"))
    saved = json.loads(notebook.read_bytes())
    assert reads in json.dumps(saved)
    assert [text.replace(OLD, NEW) for text in cells] == ["".join(cell["source"]) for cell in saved["cells"]]
    build(kit)
    rebuilt = json.loads(notebook.read_bytes())
    assert shown(rebuilt) == shown(saved) and not any(cell.get("outputs") for cell in rebuilt["cells"])

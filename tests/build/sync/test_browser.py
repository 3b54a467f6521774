"""`make lab` in a real browser: a cell is edited and saved as a person does it, and the edit is in its module."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.environment import ROOT
from build.sync.lab import VENV_LAB
from tests.browser import INSTALL, Browser, find_chromium
from tests.build.sync.conftest import shown
from tests.build.sync.test_watch import wait_for
from tests.push.desk import copy_kit

SLUG = "i2b-demo-infer"
PICTURES = ROOT / "out" / "browser"
WHERE, OLD, NEW = "kernel_src/common/mounts.py", "TREE_LINES = 60", "TREE_LINES = 61"
ACTIVE = "document.querySelector('.jp-Notebook .jp-Cell.jp-mod-active')"


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A copy of the project; only the two environments are the checkout's."""
    if not find_chromium():
        pytest.skip(INSTALL)
    if not (ROOT / VENV_LAB / "bin" / "jupyter").exists():
        pytest.skip("no JupyterLab → `make lab` installs it")
    kit = copy_kit(tmp_path / "kit")
    for name in (".venv", VENV_LAB):
        (kit / name).symlink_to((ROOT / name).resolve())
    build = [sys.executable, "-m", "build", "notebooks", "--experiment", "demo"]
    subprocess.run(build, cwd=kit, check=True, capture_output=True)
    return kit


@pytest.fixture
def address(kit: Path, tmp_path: Path) -> Iterator[str]:
    """What `make lab EXPERIMENT=demo` prints, while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "build", "lab", "--experiment", "demo", "--port", str(port)]
        server = subprocess.Popen(command, cwd=kit, stdout=out, stderr=out)
        try:
            found = re.compile(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+")
            wait_for(lambda: bool(found.search(log.read_text())) or server.poll() is not None, 120)
            told = found.search(log.read_text())
            assert told, log.read_text()

            def answers() -> bool:  # the address is printed before anybody listens there
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_for(answers)
            yield told[0]
        finally:
            server.terminate()
            server.wait(30)


def go_to_cell(browser: Browser, text: str) -> None:
    """Walk down in command mode to the cell that holds a text."""
    browser.click(".jp-Notebook .jp-Cell")
    browser.press("Escape")
    for _ in range(200):
        if browser.evaluate(f"({ACTIVE}?.innerText ?? '').includes({json.dumps(text)})"):
            return
        browser.press("j")
    raise AssertionError(f"no cell shows {text!r}")


@pytest.mark.full
def test_an_edit_saved_in_a_browser_is_in_its_module_and_is_what_the_next_build_gives(kit: Path, address: str) -> None:
    notebook = kit / "notebooks" / SLUG / f"{SLUG}.ipynb"
    sources = {path: path.read_bytes() for path in (kit / "kernel_src").rglob("*.py")}
    (source,) = [cell["source"] for cell in json.loads(notebook.read_bytes())["cells"] if OLD in cell["source"]]
    line = next(number for number, text in enumerate(source.split("\n")) if OLD in text)
    assert source.split("\n")[line].endswith("60")
    with Browser() as browser:
        browser.size(1400)
        browser.go(address)
        try:
            browser.wait_for("document.querySelector('.jp-Notebook .jp-Cell')", 90)
            go_to_cell(browser, OLD)
            browser.press("Enter")  # into the cell
            browser.press("Home", "Control")
            for _ in range(line):
                browser.press("ArrowDown")
            browser.press("End")
            browser.press("Backspace")
            browser.write("1")
            browser.wait_for(f"{ACTIVE}.innerText.includes({json.dumps(NEW)})", 10)
            browser.press("s", "Control")
            wait_for(lambda: NEW in (kit / WHERE).read_text(), 60)
        finally:
            browser.shot(PICTURES / "lab.png")
    changed = {path for path, content in sources.items() if path.read_bytes() != content}
    assert changed == {kit / WHERE}
    assert (kit / WHERE).read_bytes() == sources[kit / WHERE].replace(OLD.encode(), NEW.encode())
    edited = json.loads(notebook.read_bytes())
    assert any(NEW in "".join(cell["source"]) for cell in edited["cells"])
    built = subprocess.run(
        [sys.executable, "-m", "build", "notebooks", "--experiment", "demo"], cwd=kit, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert shown(json.loads(notebook.read_bytes())) == shown(edited)

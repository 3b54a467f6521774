"""A built notebook as a reader meets it in JupyterLab: what is shown, what is folded, and a picture of it.

    .venv/bin/python -m tests.notebook_picture docs/notebook.png

builds the demo's training notebook in a temporary copy of the sources, opens it in a real JupyterLab and a headless
Chromium, and writes the picture.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from build.environment import ROOT
from tests.browser import Browser
from tests.build.sync.lab_server import free_port, lab_server

SLUG = "i2b-demo-train"
SIZE_PX = (1180, 2080)
COLOURS = 48  # of the picture: text, and few of them
READY = "document.querySelector('.jp-Notebook .jp-Cell') && !document.querySelector('.jp-Spinner')"
CELLS = """[...document.querySelectorAll('.jp-Notebook .jp-Cell')].filter(cell => cell.offsetHeight > 0).map(cell => ({
    kind: cell.classList.contains('jp-CodeCell') ? 'code' : 'markdown',
    text: cell.innerText,
    folded: !!cell.querySelector('.jp-InputPlaceholder'),
    chapter: !!cell.querySelector('.jp-expandHeadingButton, .jp-showHiddenCellsButton'),
}))"""
HEADING = (
    """(text => [...document.querySelectorAll('.jp-Notebook h2')].find(one => one.textContent.startsWith(text)))"""
)
LINK = """(title => [...document.querySelectorAll('.jp-Notebook a')].find(link => link.innerText === title))"""


def copy_of_the_sources(folder: Path) -> Path:
    """Copy what JupyterLab and the build need; the environments are the checkout's."""
    for part in ("build", "kernel_src"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "Makefile"):
        shutil.copy2(ROOT / part, folder / part)
    for name in (".venv", ".venv-lab"):
        (folder / name).symlink_to((ROOT / name).resolve())
    return folder


def open_notebook(browser: Browser, address: str) -> list[dict[str, Any]]:
    """Open a notebook at its top; return the cells that a reader sees, from the first on."""
    browser.size(*SIZE_PX)
    browser.go(address)
    browser.wait_for(READY)
    # The side bar would take a third of the picture.
    browser.wait_for("document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')")
    if browser.evaluate("!!document.querySelector('#jp-left-stack')?.offsetWidth"):
        browser.press("b", "Control")
    browser.wait_for("!document.querySelector('#jp-left-stack')?.offsetWidth")
    cells: list[dict[str, Any]] = browser.evaluate(CELLS)
    return cells


def follow(browser: Browser, title: str) -> str:
    """Click a link of the contents; return the heading that the notebook has scrolled to."""
    heading = f"{HEADING}({title!r})"
    browser.wait_for(heading, 60)  # JupyterLab draws what is out of sight a little later, and leads nowhere before
    browser.evaluate(f"{LINK}({title!r}).click()")
    browser.wait_for(
        f"0 < {heading}.getBoundingClientRect().top && {heading}.getBoundingClientRect().top < innerHeight"
    )
    found: str = browser.evaluate(f"{heading}.innerText")
    return found


def main() -> int:
    """Write the picture; return the exit code."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/notebook.png").resolve()
    with tempfile.TemporaryDirectory(prefix="kit-picture-") as name:
        kit = copy_of_the_sources(Path(name))
        python, port = sys.executable, free_port()
        subprocess.run([python, "-m", "build", "notebooks", "--experiment", "demo"], cwd=kit, check=True)
        command = [python, "-m", "build", "lab", "--experiment", "demo", "--port", str(port)]
        with lab_server(command, port, Path(name) / "lab.log", cwd=kit) as address, Browser() as browser:
            open_notebook(browser, address.replace("i2b-demo-infer", SLUG))
            browser.wait_for(f"{HEADING}('Settings')")  # below the window's edge at first, and drawn later
            browser.shot(out)
    with Image.open(out) as picture:
        picture.convert("RGB").quantize(COLOURS).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

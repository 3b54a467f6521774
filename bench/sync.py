"""The way back: an edit in our own notebooks as the command syncs it, and how long a save waits in `watch`.

Everything happens in a copy of the sources. Each sync is a fresh process, as in a terminal and at a save in JupyterLab;
its libraries are imported before the clock starts, `command_s` has them in it. `watch` is one process, which has read
the sources before.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.build_times import seconds_of
from bench.timing import amount, plan, rounds

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "kernel_src/runtime/mounts.py"
LINE = "TREE_LINES = "
LIMIT_S = 60.0

_TIMED = """
import sys, time
from pathlib import Path
from build.sync.notebook_sync import look, sync
import build.notebooks.metadata, build.notebooks.builder
notebook, root = map(Path, sys.argv[1:])
start = time.perf_counter()
content, result = look(notebook, root)
sync(content, result, notebook.stem, root)
print(time.perf_counter() - start)
"""


_COLD = """
import sys
from pathlib import Path
from build.notebooks.builder import all_cards, build
outcomes = build(all_cards(), Path(sys.argv[1]))
assert all(outcome.state == "written" for outcome in outcomes)
"""


def measure(quick: bool) -> dict[str, Any]:
    """Return seconds of a sync with an edit and without, of one whole command, and from a save to what comes of it."""
    from build.notebooks.builder import all_cards, choose_cards
    from build.notebooks.metadata import kernel_slug

    plan(5)  # cold builds, edits, both kinds of watching, the command

    runs = 2 if quick else 5
    cards = all_cards()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(ROOT / "kernel_src", root / "kernel_src", ignore=shutil.ignore_patterns("__pycache__"))
        walls, processors = zip(*(_cold(root) for _ in rounds(runs)), strict=True)
        slugs = [kernel_slug(card.experiment, card.kernel) for card in cards if card.experiment]
        slugs = slugs[:2] if quick else slugs[::8]
        edited, untouched = [], []
        for number in rounds(len(slugs)):
            slug = slugs[number]
            notebook = root / "notebooks" / slug / f"{slug}.ipynb"
            untouched.append(_sync(notebook, root))
            edited.append(_edited(notebook, root))
        demo = choose_cards("demo", cards)
        watched = {
            "one": _watch(root, demo, runs),
            "all": _watch(root, cards, runs),
        }
    command = [sys.executable, "-m", "build", "sync", "--dry-run", "notebooks/i2b-demo-infer/i2b-demo-infer.ipynb"]
    return {
        "sync": {
            "edit_s": amount(edited, "s") | {"notebooks": len(edited)},
            "slowest_edit_s": amount([max(edited)], "s"),
            "no_edit_s": amount(untouched, "s"),
            "command_s": amount([_seconds(lambda: _run(command)) for _ in rounds(runs)], "s"),
            "watch_source_to_notebook_s": amount(watched["one"][0], "s"),
            "watch_save_to_source_s": amount(watched["one"][1], "s"),
            "watch_source_to_all_notebooks_s": amount(watched["all"][0], "s") | {"notebooks": len(cards)},
            "cold_build_s": amount(walls, "s") | {"notebooks": len(cards)},
            "cold_build_processor_s": amount(processors, "s"),
        }
    }


def _cold(root: Path) -> tuple[float, float]:
    """Return seconds, on the clock and of the processor, of a process that builds every notebook where none lies."""
    for folder in ("notebooks", "out"):
        shutil.rmtree(root / folder, ignore_errors=True)
    return seconds_of([sys.executable, "-c", _COLD, str(root)])


def _sync(notebook: Path, root: Path) -> float:
    command = [sys.executable, "-c", _TIMED, str(notebook), str(root)]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def _edited(notebook: Path, root: Path) -> float:
    """Change a line of a module, sync it back, put the module back."""
    source = root / SOURCE
    before, text = source.read_text(), notebook.read_text()
    notebook.write_text(text.replace(f"{LINE}60", f"{LINE}61"))
    seconds = _sync(notebook, root)
    if f"{LINE}61" not in source.read_text():
        raise RuntimeError(f"the edit in {notebook} was not written back")
    source.write_text(before)
    notebook.write_text(text)
    return seconds


def _watch(root: Path, cards: Any, runs: int) -> tuple[list[float], list[float]]:
    """Return seconds from a saved source to every notebook, and from a saved notebook to its source."""
    from build.notebooks.metadata import kernel_slug
    from build.sync.watch import watch

    done, said = threading.Event(), list[str]()
    thread = threading.Thread(target=watch, args=(root, cards, said.append, done.is_set))
    thread.start()
    source = root / SOURCE
    notebooks = [
        root / "notebooks" / slug / f"{slug}.ipynb"
        for slug in (kernel_slug(card.experiment, card.kernel) for card in cards)
    ]
    notebook = next(one for one, card in zip(notebooks, cards, strict=True) if card.kernel == "infer")
    to_notebook, to_source = [], []

    def count(path: Path, old: int, new: int) -> None:
        path.write_text(path.read_text().replace(f"{LINE}{old}", f"{LINE}{new}"))

    def all_have(number: int) -> float:
        missing = list(notebooks)

        def there() -> bool:  # each is read until it has it, so that looking does not take the time of what is timed
            while missing and f"{LINE}{number}" in missing[-1].read_text():
                missing.pop()
            return not missing

        return _until(there)

    def source_has(number: int) -> float:
        return _until(lambda: f"{LINE}{number}" in source.read_text())

    last = 60
    try:
        _until(lambda: bool(said))
        for number in rounds(runs):
            value, last = 60 + 2 * number, 62 + 2 * number
            time.sleep(1.0)
            count(source, value, value + 1)
            to_notebook.append(all_have(value + 1))
            time.sleep(1.0)
            count(notebook, value + 1, value + 2)
            to_source.append(source_has(value + 2))
            all_have(value + 2)
        count(source, last, 60)
        all_have(60)
    finally:
        done.set()
        thread.join()
    return to_notebook, to_source


def _until(what: Callable[[], bool]) -> float:
    start = time.perf_counter()
    while not what():
        if time.perf_counter() - start > LIMIT_S:
            raise TimeoutError(f"nothing within {LIMIT_S:g} s")
        time.sleep(0.01)
    return time.perf_counter() - start


def _seconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def _run(command: list[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

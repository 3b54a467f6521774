"""`python -m build watch`: sources that change are built, a notebook that is saved is synced; works with any editor.

Looked at four times a second by time and size; nothing is done on what was there at the start. A notebook whose edits
did not all come home is left as it is, and its reasons lie beside it as `<slug>.sync-error.txt` until a save has none.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from build.notebooks import NOTEBOOKS, all_cards
from build.notebooks import build as build_notebooks
from build.problems import CheckFailed, WrongUse
from build.stamp import SOURCES
from build.sync.command import ROOT, look, sync
from kernel_src.common.files import write_text
from kernel_src.common.kernel_cards import KernelCard

EVERY_S = 0.25


def sync_saved(notebook: Path, root: Path = ROOT) -> list[str]:
    """Sync a notebook that was saved; what is wrong is said beside it instead of raised. Return the lines to print."""
    errors = notebook.with_name(f"{notebook.stem}.sync-error.txt")
    try:
        content, result = look(notebook, root)
        lines = sync(content, result, notebook.stem, root)
    except (CheckFailed, WrongUse) as wrong:
        write_text(errors, f"{wrong}\n")
        return [f"NOT SYNCED  {line}" for line in str(wrong).splitlines()]
    errors.unlink(missing_ok=True)
    return [*lines, *(f"stays       {line}" for line in result.scratch)]


def watch(
    root: Path = ROOT,
    cards: Sequence[KernelCard] | None = None,
    say: Callable[[str], object] = print,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Build and sync until `stop`."""
    before = dict(_state(root))
    chosen = all_cards() if cards is None else cards
    say(f"watching    {SOURCES}/ and {NOTEBOOKS}/ (Ctrl-C ends it)")
    while not stop():
        time.sleep(EVERY_S)
        now = dict(_state(root))
        changed = [path for path, state in now.items() if before.get(path) != state]
        gone = before.keys() - now.keys()
        for path in changed:
            if path.suffix == ".ipynb":
                for line in sync_saved(path, root):
                    say(line)
        after = dict(_state(root))
        if any(path.suffix == ".py" for path in {*changed, *gone}) or _sources(after) != _sources(now):
            for line in _build(chosen, root):
                say(line)
        before = dict(_state(root))


def _build(cards: Sequence[KernelCard], root: Path) -> list[str]:
    try:
        outcomes = build_notebooks(cards, root)
    except (CheckFailed, WrongUse) as wrong:
        return [f"NOT BUILT   {line}" for line in str(wrong).splitlines()]
    return [f"{outcome.state:<11} {outcome.path}" for outcome in outcomes if outcome.state != "up to date"]


def _state(root: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    for path in [*(root / SOURCES).rglob("*.py"), *(root / NOTEBOOKS).glob("*/*.ipynb")]:
        try:
            status = path.stat()
        except FileNotFoundError:  # an editor replaces it just now
            continue
        yield path, (status.st_mtime_ns, status.st_size)


def _sources(state: dict[Path, tuple[int, int]]) -> dict[Path, tuple[int, int]]:
    return {path: one for path, one in state.items() if path.suffix == ".py"}

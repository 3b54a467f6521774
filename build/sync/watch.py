"""`python -m build watch`: sources that change are built, a notebook that is saved is synced; works with any editor.

Looked at ten times a second by time and size; nothing is done on what was there at the start, but it is read, so that
the first edit waits no longer than the others, and what is broken, stale or edited is said. A notebook whose edits were
not all written back is left as it is, and its reasons lie beside it as `<slug>.sync-error.txt` until a save has none.
"""

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.foreign_text import shown_source
from build.notebooks.adopted import CARD, adopted_cards, files_below
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.builder import (
    NOTEBOOKS,
    all_cards,
    build_notebook,
    choose_cards,
    edit_problem,
    find_edited,
    read_templates,
)
from build.notebooks.builder import build as build_notebooks
from build.notebooks.seal import is_untouched
from build.notebooks.stamp import SOURCES
from build.notebooks.writing import recover
from build.stitch.modules import uncollected
from build.sync.adopted_sync import adopted_card, lines_of_sync
from build.sync.notebook_sync import ROOT, look, sync
from kernel_src.competitions.kernel_cards import KernelCard
from kernel_src.runtime.files import write_text

EVERY_S = 0.1
MOST_WATCHED = 2_000  # files of an adopted folder
_ASK = """
from build.notebooks.builder import own_cards
from build.stitch.parameters import literal
print(literal([vars(card) for card in own_cards()]))
"""
Stamp = tuple[int, int]  # of a file: when it was changed, in ns, and its bytes
State = dict[Path, Stamp]


def sync_saved(notebook: Path, root: Path = ROOT) -> list[str]:
    """Sync a notebook that was saved; what is wrong is said beside it instead of raised. Return the lines to print."""
    errors = errors_beside(notebook)
    try:
        recover(root)
        if (card := adopted_card(notebook, root)) is not None:
            lines = lines_of_sync(notebook, card, root)
            errors.unlink(missing_ok=True)
            return lines
        content, result = look(notebook, root)
        lines = sync(content, result, notebook.stem, root)
    except (CheckFailed, UsageError) as wrong:
        said = shown_source(str(wrong))
        write_text(errors, f"{said}\n")
        return [f"NOT SYNCED  {line}" for line in said.splitlines()]
    errors.unlink(missing_ok=True)
    return [shown_source(line) for line in [*lines, *(f"stays       {line}" for line in result.scratch)]]


def errors_beside(notebook: Path) -> Path:
    """Return the file that says why a notebook was not synced."""
    return notebook.with_name(f"{notebook.stem}.sync-error.txt")


class Cards:
    """The cards of one experiment or of all as the sources are now, or those that are given, which nothing changes.

    Experiments are modules of the sources. A process imports each once, so when one of those that it holds was edited,
    another process is asked.
    """

    def __init__(self, root: Path, experiment: str = "", cards: Sequence[KernelCard] | None = None) -> None:
        """Start with the cards that this process knows.

        Raises:
            UsageError: there is no such experiment.
        """
        self.root, self.experiment, self.given = root, experiment, cards
        self.cards = choose_cards(experiment, all_cards(root)) if cards is None else cards
        self._read = self._imported()

    def follow(self) -> Sequence[KernelCard]:
        """Return the cards of now.

        Raises:
            CheckFailed: the experiments cannot be read.
            UsageError: there is no such experiment any more.
        """
        now = self._imported()
        if self.given is None and now != self._read:
            self.cards = choose_cards(self.experiment, [*self._ask(), *adopted_cards(self.root)])
            self._read = now
        return self.cards

    def _imported(self) -> dict[Path, bytes]:
        """Return the sources among the modules of this process, and the adopted kernels' cards, as they are now."""
        files = {
            getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if name.startswith(SOURCES)
        }
        paths = sorted(Path(file) for file in files if file and Path(file).is_relative_to(self.root / SOURCES))
        paths += sorted(self.root.glob(f"{NOTEBOOKS}/*/{CARD}"))
        return {path: path.read_bytes() for path in paths if path.is_file()}

    def folders(self) -> list[Path]:
        """Return the folders of the adopted kernels among the cards."""
        return [card.folder for card in self.cards if isinstance(card, AdoptedCard)]

    def _ask(self) -> list[KernelCard]:
        asked = subprocess.run([sys.executable, "-c", _ASK], cwd=self.root, capture_output=True)
        if asked.returncode:
            lines = asked.stderr.decode(errors="replace").strip().splitlines()
            what = f"the experiments cannot be read: {lines[-1] if lines else f'exit code {asked.returncode}'}"
            raise CheckFailed([Problem(what=what, where=f"{SOURCES}/recipes/", cure="correct the last edit")])
        # As Python's text: JSON would turn tuples into lists.
        return [KernelCard(**fields) for fields in ast.literal_eval(asked.stdout.decode().splitlines()[-1])]


def watch(
    root: Path = ROOT,
    cards: Sequence[KernelCard] | None = None,
    say: Callable[[str], object] = print,
    stop: Callable[[], bool] = lambda: False,
    experiment: str = "",
) -> None:
    """Build and sync until `stop`: the notebooks of these cards, or of one experiment, or all.

    Raises:
        UsageError: there is no such experiment.
    """
    followed = Cards(root, experiment, cards)
    before = dict(_state(root, followed.folders()))
    standing = _standing(followed.cards, root)
    for line in (f"watching    {SOURCES}/ and {NOTEBOOKS}/ (Ctrl-C ends it)", *standing):
        say(line)
    while not stop():
        time.sleep(EVERY_S)
        built, before = _sources(before), _synced(before, root, say)
        sources = _sources(dict(_state(root, followed.folders())))  # with what has just been written back
        if sources != built:
            # Noted before the build: what is saved while it runs differs from this, and is met in the next round.
            before = {path: one for path, one in before.items() if path.suffix == ".ipynb"} | sources
            for line in _build(followed, root):
                say(line)


def _standing(cards: Sequence[KernelCard], root: Path) -> list[str]:
    """Make every notebook in memory, write none, and say which are not as they should be."""
    reasons: list[str] = []
    edited: list[Path] = []
    stale = 0
    with uncollected():
        templates = read_templates(cards, root)
        for card in cards:
            try:
                built = build_notebook(card, root, templates)
            except CheckFailed as failed:
                reasons += str(failed).splitlines()
                continue
            changed = find_edited(built, root)
            edited += changed
            files = built.files(root).items()
            stale += not changed and not all(path.is_file() and path.read_bytes() == text for path, text in files)
    lines = [f"NOT BUILT   {reason}" for reason in dict.fromkeys(reasons)]
    if stale:
        lines.append(
            f"stale       {stale} of {len(cards)} notebooks are older than the sources; the next change builds"
        )
    return [*lines, *(f"edited      {edit_problem(path, root)}" for path in edited)]


def _synced(before: State, root: Path, say: Callable[[str], object]) -> State:
    """Sync the notebooks that differ from `before`; return what was there when they were looked at.

    One as it was built, such as those that the last build wrote, has nothing to write back.
    """
    now = dict(_state(root))
    for path in [path for path, one in now.items() if path.suffix == ".ipynb" and before.get(path) != one]:
        try:
            untouched = is_untouched(path.read_bytes())
        except FileNotFoundError:  # an editor replaces it just now, and it will differ when it is back
            now.pop(path)
            continue
        if untouched:
            errors_beside(path).unlink(missing_ok=True)
            continue
        for line in sync_saved(path, root):
            say(line)
    return now


def _build(followed: Cards, root: Path) -> list[str]:
    try:
        outcomes = build_notebooks(followed.follow(), root)
    except (CheckFailed, UsageError) as wrong:
        return [f"NOT BUILT   {line}" for line in str(wrong).splitlines()]
    return [f"{outcome.state:<11} {outcome.path}" for outcome in outcomes if outcome.state != "up to date"]


def _state(root: Path, adopted: Sequence[Path] = ()) -> Iterator[tuple[Path, Stamp]]:
    cards = root.glob(f"{NOTEBOOKS}/*/{CARD}")
    for path in [*(root / SOURCES).rglob("*.py"), *(root / NOTEBOOKS).glob("*/*.ipynb"), *cards, *_below(adopted)]:
        try:
            status = path.stat()
        except FileNotFoundError:  # an editor replaces it just now
            continue
        yield path, (status.st_mtime_ns, status.st_size)


def _below(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the files of adopted folders; of one with very many only the first."""
    for folder in folders:
        yield from (path for path, _ in islice(files_below(folder), MOST_WATCHED))


def _sources(state: State) -> State:
    return {path: one for path, one in state.items() if path.suffix != ".ipynb"}

"""The cards of the notebooks that `watch` builds: what the sources say today, whatever this process has imported.

Experiments are modules of the sources. A process imports each once, so when one of those that it holds was edited,
another process is asked.
"""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.notebooks.builder import all_cards, choose_cards
from build.notebooks.stamp import SOURCES
from kernel_src.recipes.kernel_cards import KernelCard

_ASK = """
from build.notebooks.builder import all_cards
from build.stitch.parameters import literal
print(literal([vars(card) for card in all_cards()]))
"""


class Cards:
    """The cards of one experiment or of all, or those that are given, which nothing changes."""

    def __init__(self, root: Path, experiment: str = "", cards: Sequence[KernelCard] | None = None) -> None:
        """Start with the cards that this process knows.

        Raises:
            UsageError: there is no such experiment.
        """
        self.root, self.experiment, self.given = root, experiment, cards
        self.cards = choose_cards(experiment or None, all_cards()) if cards is None else cards
        self._read = self._imported()

    def follow(self) -> Sequence[KernelCard]:
        """Return the cards of now.

        Raises:
            CheckFailed: the experiments cannot be read.
            UsageError: there is no such experiment any more.
        """
        now = self._imported()
        if self.given is None and now != self._read:
            self.cards = choose_cards(self.experiment or None, self._ask())
            self._read = now
        return self.cards

    def _imported(self) -> dict[Path, bytes]:
        """Return the sources among the modules of this process, with what is in them now."""
        files = {
            getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if name.startswith(SOURCES)
        }
        paths = sorted(Path(file) for file in files if file and Path(file).is_relative_to(self.root / SOURCES))
        return {path: path.read_bytes() for path in paths if path.is_file()}

    def _ask(self) -> list[KernelCard]:
        asked = subprocess.run([sys.executable, "-c", _ASK], cwd=self.root, capture_output=True)
        if asked.returncode:
            lines = asked.stderr.decode(errors="replace").strip().splitlines()
            what = f"the experiments cannot be read: {lines[-1] if lines else f'exit code {asked.returncode}'}"
            raise CheckFailed([Problem(what=what, where=f"{SOURCES}/recipes/", cure="correct the last edit")])
        # As Python's text: JSON would turn tuples into lists.
        return [KernelCard(**fields) for fields in ast.literal_eval(asked.stdout.decode().splitlines()[-1])]

"""What a person sees of a run on Kaggle: its state, the cell that runs and how far it is, above it what they must read.

In a terminal the state, the cell and the progress are redrawn in place; notices (NOTE, WARNING, NOT …, a traceback) are
lines that stay. Where nothing is redrawn (a log, CI) every line of the run's log is printed as it comes, bars once they
are complete.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from build.kaggle.log_lines import Said

if TYPE_CHECKING:
    from rich.console import Console, Group

INDENT = "      "
MARGIN = f"{INDENT}│ "  # in front of a line that the notebook printed
MOST_BARS = 4


class RunView:
    """Shows one run; called with its state."""

    def __init__(self, what: str, console: "Console | None", *, redraws: bool, all_lines: bool = False) -> None:
        """`console` is None where nothing is to be shown; `all_lines` shows every line in a terminal, too."""
        self._what, self._console, self._redraws = what, console, redraws
        self._all_lines = all_lines or not redraws
        self._start = time.monotonic()
        self._state, self._cell, self._last = "", "", ""
        self._bars: dict[str, str] = {}

    @property
    def wants_log(self) -> bool:
        """Whether somebody sees what is handed over."""
        return self._console is not None

    def __call__(self, state: str) -> None:
        """Show how far the run is, in one word or two."""
        if state != self._state and self._console is not None and not self._redraws:
            self._print(f"{INDENT}{self._what}: {state} after {time.monotonic() - self._start:.0f} s")
        self._state = state

    def show(self, said: Iterable[Said]) -> None:
        """Show what the log says."""
        for one in said:
            if one.kind == "cell":
                self._cell, self._bars = one.text, {}
                if not self._redraws:
                    self._print(f"{INDENT}{one.text}")
                continue
            if one.kind == "progress":
                self._bars.pop(one.subject, None)  # the newest come last
                self._bars[one.subject] = one.text
                for old in list(self._bars)[:-MOST_BARS]:
                    del self._bars[old]
            if one.passing:
                continue
            self._last = "" if one.kind == "notice" else one.text
            if one.kind == "notice" or self._all_lines:
                self._print(f"{MARGIN}{one.text}")

    def remark(self, text: str) -> None:
        """Say something about the log itself."""
        self._print(f"{INDENT}{text}")

    def _print(self, line: str) -> None:
        if self._console is not None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __rich__(self) -> "Group":
        """Draw what is redrawn: at most eight lines, each cut at the right edge."""
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        passed = int(time.monotonic() - self._start)
        clock = f"{passed // 3600}:{passed // 60 % 60:02}:{passed % 60:02}"
        lines = [self._cell, *self._bars.values(), self._last if self._last not in self._bars.values() else ""]
        below = [Text(f"{INDENT}{line}", no_wrap=True, overflow="ellipsis") for line in lines if line]
        if below and self._last and self._last not in self._bars.values():
            below[-1].stylize("dim")
        return Group(Spinner("dots", Text(f"    {self._what}: {self._state}  {clock}")), *below)


class KeptLines(RunView):
    """Shows nothing and keeps the lines, for `--json`."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__("", None, redraws=False)
        self.lines: list[str] = []
        self.remarks: list[str] = []

    @property
    def wants_log(self) -> bool:
        """Somebody reads what is kept."""
        return True

    def show(self, said: Iterable[Said]) -> None:
        """Keep the lines."""
        self.lines += [one.text for one in said if one.kind != "cell" and not one.passing]

    def remark(self, text: str) -> None:
        """Keep what is said about the log."""
        self.remarks.append(text)


@contextmanager
def watching_run(what: str, quiet: bool = False, *, all_lines: bool = False) -> Iterator[RunView]:
    """Show a run while the block goes on; what is redrawn vanishes at its end."""
    if quiet:
        yield RunView(what, None, redraws=False)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        yield RunView(what, console, redraws=False)
        return
    view = RunView(what, console, redraws=True, all_lines=all_lines)
    with Live(view, console=console, transient=True, refresh_per_second=4):
        yield view

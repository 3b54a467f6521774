"""What a person sees while something takes longer than two seconds: a bar, or a line with the time that has passed.

Where the output is not a terminal (a log, CI) nothing is redrawn: lines are printed as they come.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ShowState = Callable[[str], None]  # shows how far something elsewhere is


@contextmanager
def counting(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; the caller is given `advance(done, total)`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("      {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=quiet) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show what is waited for and for how long; the caller is given `say(line)`, each line stays on the screen."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("    {task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=quiet) as progress:
        progress.add_task(what, total=None)
        yield lambda line: None if quiet else progress.console.print(f"      {line}", highlight=False, markup=False)


@contextmanager
def watching(what: str, quiet: bool = False) -> Iterator[ShowState]:
    """Show how long something elsewhere has taken and its state; the caller is given `show_state(state)`.

    Where nothing is redrawn, a line is printed whenever the state changes.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("    {task.description}"), TimeElapsedColumn())
    console, start, shown = Console(), time.monotonic(), ""
    lines = not quiet and not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet or lines) as progress:
        task = progress.add_task(what, total=None)

        def show_state(state: str) -> None:
            nonlocal shown
            progress.update(task, description=f"{what}: {state}")
            if lines and state != shown:
                print(f"      {what}: {state} after {time.monotonic() - start:.0f} s", flush=True)
            shown = state

        yield show_state


@dataclass
class Steps:
    """Prints one line when a step begins and one when it ends, and remembers the seconds."""

    total: int
    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict)
    started: int = 0

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[Callable[[str], None]]:
        """Time one step; the caller is given `note(text)`, and the last note stands on the line that ends it."""
        self.started += 1
        notes: list[str] = []
        if not self.quiet:
            print(f"[{self.started}/{self.total}] {name}: {what}", flush=True)
        start, ending = time.perf_counter(), "stopped after"
        try:
            yield notes.append
            ending = "done in"
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 1)
            if not self.quiet:
                result = f": {notes[-1]}" if notes else ""
                print(f"      {ending} {self.seconds[name]:.1f} s{result}", flush=True)

    def skip(self, steps: int, why: str) -> None:
        """Say in one line that some steps have nothing to do."""
        first, self.started = self.started + 1, self.started + steps
        if not self.quiet:
            numbers = f"{first}" if steps == 1 else f"{first}-{self.started}"
            print(f"[{numbers}/{self.total}] nothing to do: {why}", flush=True)

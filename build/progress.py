"""What a person sees while something takes longer than two seconds: a bar, or a line with the time that has passed.

Where the output is no terminal (a log, CI) nothing is redrawn: lines are printed as they come.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


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

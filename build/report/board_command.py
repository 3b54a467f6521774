"""The verb `board`: what a CV is worth on the board, as a sentence, a page, or JSON for scripts."""

import json
from pathlib import Path

from build.core.errors import UsageError
from build.core.pages import require_place
from build.scores.board import Board, board, read_published
from build.scores.board_page import page
from build.scores.cross_validation import cross_validation
from build.scores.ledger import LEDGER, read_scores
from kernel_src.runtime.files import write_text


def run(scores: Path, published: Path, cv: float | None, experiment: str, html: Path | None, as_json: bool) -> None:
    """Hold CV against public, and say what a new model may expect.

    Raises:
        UsageError: both or neither of CV and experiment make sense, a file is missing, or nothing is trained here.
        CheckFailed: a file cannot be read.
    """
    if cv is not None and experiment:
        raise UsageError("give --cv or --experiment, not both: an experiment has its CV in its bundle")
    require_place(html)
    formula = ""
    if experiment:
        from build.report.places import find_run

        found = cross_validation(find_run(experiment))
        cv, formula = found.r2, found.formula
    if scores != LEDGER and not scores.is_file():
        raise UsageError(f"no ledger {scores}: `make push-inference` records the first row")
    result = board(read_scores(scores), read_published(published) if published.is_file() else [], cv, formula)
    if html is not None:
        write_text(html, page(result))
    if as_json:
        print(json.dumps(result.as_json(), indent=2, allow_nan=False))
        return
    show(result)
    if html is not None:
        print(f"written: {html}")


def show(result: Board) -> None:
    """Print the pairs, and last of all the expectation."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    pairs = Table(box=None, padding=(0, 1, 0, 0), title="CV against public")
    pairs.add_column("model", overflow="fold")
    for column in ("CV", "95 %", "public", "private", "public − CV"):
        pairs.add_column(column, justify="right", no_wrap=True)
    for one in result.points:
        known = one.low is not None and one.high is not None
        interval = f"[{one.low:.3f}, {one.high:.3f}]" if known else ""
        pairs.add_row(one.name, f"{one.cv:.4f}", interval, f"{one.public:.4f}", "", f"{one.public - one.cv:+.3f}")
    for other in result.published:
        numbers = ["" if value is None else f"{value:.3f}" for value in (other.cv, other.public, other.private)]
        gap = "" if other.cv is None or other.public is None else f"{other.public - other.cv:+.3f}"
        pairs.add_row(f"({other.series}: {other.model})", numbers[0], "", *numbers[1:], gap, style="dim")
    console.print(pairs)
    lines = list(result.notes)
    if result.by_others:
        told = result.by_others
        lines.append(
            f"by the {told.points} published pairs alone: {told.estimate:.2f} [{told.low:.2f}, {told.high:.2f}]; other "
            "models, other formulas: nothing is decided by that"
        )
    for line in (*lines, result.words()):
        console.print(line, highlight=False, markup=False, soft_wrap=True)

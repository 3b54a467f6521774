"""`make scores`: the ledger as a table, and CV against the public score as a page (build/scores/board.py).

Pending rows, and private scores that have come out since, are asked for first. The table is printed in any case; that
the site could not be asked is a failure only if a score is being waited for.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed
from build.core.foreign_text import shown, shown_value
from build.kaggle.weights import BUNDLES, DEMO_BUNDLE
from build.scores.cross_validation import with_interval
from build.scores.ledger import LEDGER, PENDING, Score, append_score, read_scores, refresh
from kernel_src.competitions.biomass.constants import SLUG
from kernel_src.runtime.files import write_text

CHART = Path("out", "push", "scores.html")
WIDTH = 200  # characters, in a log


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The ledger, as far as it could be brought up to date."""

    scores: list[Score]  # all rows, oldest first
    new: list[Score]  # the rows that the site changed
    page: Path | None  # CV against public; None where no row has both
    failed: CheckFailed | None  # why the site could not be asked

    @property
    def is_awaited(self) -> bool:
        """Whether a score is still being waited for."""
        return any(score.status == PENDING for score in self.scores)

    @property
    def ok(self) -> bool:
        """Whether nothing is lacking that could have been had."""
        return not (self.failed and self.is_awaited)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "ok": self.ok,
            "scores": shown_value([asdict(score) for score in self.scores]),
            "refreshed": [score.submission_ref for score in self.new],
            "chart": str(self.page) if self.page else None,
            "problems": [problem.as_json() for problem in self.failed.problems] if self.failed else [],
        }


def refresh_ledger(*, offline: bool = False) -> Refreshed:
    """Bring the ledger up to date and draw it.

    Raises:
        CheckFailed: the ledger cannot be read.
    """
    new: list[Score] = []
    failed: CheckFailed | None = None
    if read_scores() and not offline:
        try:
            new = ask_site()
        except CheckFailed as error:
            failed = error
    fill_intervals(read_scores())
    scores = read_scores()
    return Refreshed(scores=scores, new=new, page=draw(scores, CHART), failed=failed)


def show_refreshed(ledger: Refreshed) -> None:
    """Print the table, what is new, where the page is, and, as a warning, why the site could not be asked."""
    show_scores(ledger.scores)
    for score in ledger.new:
        print(f"new: submission {score.submission_ref} is {score.status}, public {_number(score.public)}")
    if ledger.scores:
        lacking = "no page yet: no row has both CV and a public score"
        print(f"CV against public: {ledger.page}" if ledger.page else lacking)
    if ledger.failed and ledger.ok:
        print(f"not refreshed: {ledger.failed.problems[0]}", file=sys.stderr)


def ask_site() -> list[Score]:
    """Ask for the submissions and bring the ledger up to date; return the rows that changed.

    Raises:
        CheckFailed: no credentials, no response, or a ledger that cannot be read.
    """
    from build.kaggle.client import open_client

    return refresh(open_client().submissions(SLUG))


def fill_intervals(scores: Sequence[Score]) -> None:
    """Store the interval of rows that lack it, where their bundle and a training table still lie here."""
    for score in scores:
        filled = with_interval(score, [BUNDLES / score.experiment, DEMO_BUNDLE])
        if filled != score:
            append_score(filled)


_HEADINGS: tuple[tuple[str, Any], ...] = (
    ("time", "left"),
    ("experiment", "left"),
    ("kernel", "right"),
    ("ref", "right"),
    ("CV", "right"),
    ("95 %", "left"),
    ("public", "right"),
    ("private", "right"),
    ("status", "left"),
    ("note", "left"),
)


def show_scores(scores: Sequence[Score]) -> None:
    """Print the ledger, oldest first."""
    from rich.console import Console
    from rich.table import Table

    if not scores:
        print(f"{LEDGER} has no row yet: `make push-inference EXPERIMENT=…` records the first")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in _HEADINGS:
        table.add_column(name, justify=justify, no_wrap=name != "note")
    for score in scores:
        table.add_row(*_cells(score))
    # Where the output is not a terminal rich would cut the table to 80 columns.
    width = None if sys.stdout.isatty() else WIDTH
    Console(width=width, highlight=False, markup=False).print(table)


def _cells(score: Score) -> list[str]:
    low, high = score.cv_low, score.cv_high
    return [
        shown(score.time[:16].replace("T", " ")),
        shown(score.experiment),
        f"v{score.kernel_version}" if score.kernel_version else "",
        str(score.submission_ref or ""),
        _number(score.cv),
        f"{low:.3f} to {high:.3f}" if low is not None and high is not None else "",
        _number(score.public),
        _number(score.private),
        score.status,
        shown(score.note),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def draw(scores: Sequence[Score], path: Path) -> Path | None:
    """Write the page with CV against public; None where no row has both."""
    from build.scores.board import PUBLISHED, board, points_of, read_published
    from build.scores.board_page import page

    if not points_of(scores):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page(board(scores, read_published(PUBLISHED) if PUBLISHED.is_file() else [])))
    return path

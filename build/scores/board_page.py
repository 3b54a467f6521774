"""CV against public as a drawing, and the page around it."""

import html
from collections.abc import Sequence

from build.core.pages import table, web_page, wide
from build.core.plots import Panel
from build.scores.board import Board, Expectation, Point, Published

WIDTH, HEIGHT = 640, 420
LEAST_SHOWN = -0.2  # a score, or an end of an interval, below that is drawn there
NAME = "From CV to board"


def page(board: Board) -> str:
    """Return the whole page."""
    return web_page(NAME, f'<p class="decision">{html.escape(board.words())}</p>{body(board, "h2")}')


def body(board: Board, heading: str = "h3") -> str:
    """Return the drawing and the tables, as HTML; `heading` is the tag of its headings."""
    own = wide("own submissions", _own(board.points)) if board.points else "<p>None with both yet.</p>"
    notes = "".join(f'<p class="small">{html.escape(note)}.</p>' for note in board.notes)
    expected = f"<{heading}>What is expected</{heading}>{_rules(board.expected)}" if board.expected else ""
    return f"""
{wide("CV against public score", chart(board))}
<p class="small">Filled: own submissions, grey if their CV has another formula than the newest; the bar is the 95 %
interval of CV over groups. Hollow: published by others, a
square where only the private score is known; their CV have other formulas and other folds. Dashed: public = CV. The
public score has an interval too, which nobody outside can compute: the photographs behind it are not known.</p>
{notes}{expected}
<{heading}>Own submissions</{heading}>{own}
<{heading}>Published by others</{heading}>{wide("published", _published(board.published))}
{_others(board.by_others)}
"""


def chart(board: Board) -> str:
    """Draw the points with the intervals of CV, the published ones hollow, and the expectation if there is one."""
    others = [(one, one.cv, one.public if one.public is not None else one.private) for one in board.published]
    hollow = [(one, cv, score) for one, cv, score in others if cv is not None and score is not None]
    own, expected = board.points, board.expected
    xs = [value for one in own for value in (one.cv, one.low, one.high) if value is not None]
    xs += [cv for _, cv, _ in hollow] + ([expected.cv] if expected else [])
    ys = [one.public for one in own] + [score for _, _, score in hollow]
    ys += [expected.low, expected.high] if expected else []
    if not xs:
        return ""
    xs, ys = ([max(LEAST_SHOWN, min(value, 1.0)) for value in values] for values in (xs, ys))
    x_ends, y_ends = (min(xs), max(xs)), (min(ys), max(ys))
    panel = Panel(x_ends, y_ends, "CV, out of fold", "public score", width=WIDTH, height=HEIGHT)
    same = max(panel.x_ends[0], panel.y_ends[0]), min(panel.x_ends[1], panel.y_ends[1])
    if same[0] < same[1]:
        panel.line(same, same, "zero")
    for other, cv, score in hollow:
        (panel.circle if other.public is not None else panel.square)(cv, score, "other")
        panel.text(cv, score, other.model, "quiet")
    for one in own:
        if one.low is not None and one.high is not None:
            panel.line((one.low, one.high), (one.public, one.public), "reach")
        panel.circle(one.cv, one.public, "own" if one.formula == board.formula else "unlike")
        panel.text(one.cv, one.public, one.name)
    if expected:
        panel.line((expected.cv, expected.cv), (expected.low, expected.high), "expected")
        panel.circle(expected.cv, expected.estimate, "expected")
        panel.text(expected.cv, expected.estimate, f"expected {expected.estimate:.3f}")
    drawn = panel.svg("; ".join(f"{p.name}: CV {p.cv:.3f}, public {p.public:.3f}" for p in own) or "no own submission")
    if not panel.unnamed:
        return drawn
    names = html.escape(", ".join(panel.unnamed))
    return f'{drawn}<p class="small">Drawn without their names, for want of room: {names}.</p>'


def _rules(expected: Expectation) -> str:
    rows = [[rule, f"{error:.4f}"] for rule, error in expected.errors.items()]
    taken = [rule == expected.rule for rule in expected.errors]
    return (
        f"<p>{html.escape(expected.words())}.</p>{wide('rules', table(['rule', 'leave-one-out error'], rows, taken))}"
    )


def _own(points: Sequence[Point]) -> str:
    rows = [
        [
            one.name,
            f"{one.cv:.4f}",
            f"{one.low:.3f} to {one.high:.3f}" if one.low is not None and one.high is not None else "",
            f"{one.public:.4f}",
            f"{one.public - one.cv:+.3f}",
            one.formula or "not recorded",
        ]
        for one in points
    ]
    return table(["model", "CV", "95 %", "public", "public − CV", "formula of CV"], rows)


def _published(published: Sequence[Published]) -> str:
    rows = [
        [f"{one.series}: {one.model}", *(_number(score) for score in (one.cv, one.public, one.private))]
        + [one.cv_formula, one.source]
        for one in published
    ]
    return table(["model", "CV", "public", "private", "what its CV is", "source"], rows)


def _others(expected: Expectation | None) -> str:
    if expected is None:
        return ""
    return (
        f'<p class="small">By the {expected.points} published pairs alone this CV would give {expected.estimate:.2f} '
        f"[{expected.low:.2f}, {expected.high:.2f}]: other models, other formulas. Nothing is decided by that.</p>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

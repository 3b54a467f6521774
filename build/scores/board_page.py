"""CV against public as a drawing, and the page around it."""

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from build.core.pages import render, web_page
from build.core.plots import INK, MARK, MILD, WARN, dots, name_points, plot
from build.scores.board import Board
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SHOWN = -0.2  # a score, or an end of an interval, below that is drawn there
MARKERS = {"circle": "o", "square": "s"}


def page(board: Board) -> str:
    """Return the whole page."""
    return web_page(
        "From CV to board", render("build/scores/board_page.html.jinja", board=board, h="h2", **chart(board))
    )


def chart(board: Board) -> dict[str, Any]:
    """Draw the points with the intervals of CV, the published ones hollow, and the expectation if there is one.

    Beside the picture stand the names for which it has no room.
    """
    others = [(one, one.cv, one.public if one.public is not None else one.private) for one in board.published]
    hollow = [(one, cv, score) for one, cv, score in others if cv is not None and score is not None]
    expected = board.expected
    if not board.points and not hollow and not expected:
        return {"chart": Markup(), "unnamed": []}
    unnamed: list[str] = []

    def at(value: float) -> float:
        return max(LEAST_SHOWN, min(value, review().best)) if rules().metric.higher_is_better else value

    def draw(axes: "Axes") -> None:
        names: list[tuple[float, float, str, str]] = []
        for other, cv, score in hollow:
            shape = "circle" if other.public is not None else "square"
            look: dict[str, Any] = {"facecolor": "none", "edgecolor": MILD, "linewidth": 1.5, "gid": shape}
            axes.scatter(at(cv), at(score), s=64, marker=MARKERS[shape], **look)
            names.append((at(cv), at(score), other.model, MILD))
        for one in board.points:
            x, y, own = at(one.cv), at(one.public), one.formula == board.formula
            if one.low is not None and one.high is not None:
                axes.hlines(y, at(one.low), at(one.high), color=MARK, linewidth=2, gid="reach")
            dots(axes, [x], [y], MARK if own else MILD, 8, alpha=1, zorder=4, gid="own" if own else "unlike")
            names.append((x, y, one.name, INK))
        if expected:
            x, y = at(expected.cv), at(expected.estimate)
            axes.vlines(x, at(expected.low), at(expected.high), color=WARN, linewidth=2, gid="expected")
            dots(axes, [x], [y], WARN, 8, alpha=1, zorder=4)
            names.append((x, y, f"expected {expected.estimate:.3f}", WARN))
        axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # public = CV does not widen them
        same = max(axes.get_xlim()[0], axes.get_ylim()[0]), min(axes.get_xlim()[1], axes.get_ylim()[1])
        if same[0] < same[1]:
            axes.plot(same, same, color=WARN, linewidth=1, linestyle="--")
        unnamed.extend(name_points(axes, names))

    label = "; ".join(f"{one.name}: CV {one.cv:.3f}, public {one.public:.3f}" for one in board.points)
    drawn = plot(draw, label or "no own submission", "CV, out of fold", "public score", width=640, height=420)
    return {"chart": drawn, "unnamed": unnamed}

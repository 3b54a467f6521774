"""Plots: every label has its own place, or is told apart from those that have one."""

import itertools
import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from build.core.pages import find_loads, web_page
from build.core.plots import BOTTOM, INK, LABEL, LEFT, RIGHT, TOP, dots, log_scale, name_points, plot, text_width
from tests.browser import INSTALL, Browser, find_chromium

WIDTH, HEIGHT = 640, 420
NAMES = (
    *("v5", "frozen_dinov2", "oof_21_vit_huge_plus_patch16_dinov3", "expected 0.731", "EMA + TTA, WWWW @ 1024 px"),
    *("MOOQ 0123456789", "äöü ÄÖÜ √²", "the quick brown fox jumps over"),
)


def scatter(axes: Axes, points: np.ndarray) -> list[str]:
    """Name each point, and return the names without a place."""
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    return name_points(axes, [(x, y, name, INK) for (x, y), name in zip(points, names(len(points)), strict=True)])


@cache
def empty() -> Axes:
    """Axes of the size of the board's."""
    size = (WIDTH - LEFT - RIGHT) / WIDTH, (HEIGHT - TOP - BOTTOM) / HEIGHT
    return Figure((WIDTH / 72, HEIGHT / 72), dpi=72).add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, *size))


def panel(points: np.ndarray) -> tuple[Axes, list[str]]:
    """The axes with these points named alone, and the names without a place."""
    for text in list(empty().texts):
        text.remove()
    return empty(), scatter(empty(), points)


def names(count: int) -> list[str]:
    return [f"{NAMES[i % len(NAMES)]} {i}" for i in range(count)]


def boxes(axes: Axes) -> dict[str, tuple[float, float, float, float]]:
    """Left, bottom, right and top of each label, by the widths that the plot reckons with."""
    placed = [(text.get_text(), *text.get_position()) for text in axes.texts]
    return {name: (x, y, x + text_width(name), y + LABEL) for name, x, y in placed}


def overlapping(found: dict[str, tuple[float, float, float, float]]) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (a, p), (b, q) in itertools.combinations(found.items(), 2)
        if min(p[2], q[2]) - max(p[0], q[0]) > 0.11 and min(p[3], q[3]) - max(p[1], q[1]) > 0.11
    ]


def crowds() -> list[tuple[str, np.ndarray]]:
    """Points strewn over the plot, along its diagonal, in a heap, all in one place, and in its corners."""
    found = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        count = int(random.integers(1, 60))
        shared = random.random((count, 1))
        found += [
            ("strewn", random.random((count, 2))),
            ("diagonal", np.clip(shared + random.normal(0, 0.02, (count, 2)), 0, 1)),
            ("heap", np.clip(random.random(2) + random.normal(0, 0.03, (count, 2)), 0, 1)),
            ("one place", np.tile(random.random(2), (count, 1))),
            ("corners", random.integers(0, 2, (count, 2)).astype(float)),
        ]
    return found


def test_no_label_lies_on_another_or_leaves_the_frame_and_those_without_room_are_told() -> None:
    for kind, points in crowds():
        axes, unnamed = panel(points)
        found = boxes(axes)
        assert not overlapping(found), kind
        for name, (left, bottom, right, top) in found.items():
            assert left >= LEFT - 0.1 and right <= WIDTH + 0.1, (kind, name)
            assert bottom >= BOTTOM - 0.1 and top <= HEIGHT - TOP + 0.1, (kind, name)
        assert sorted([*found, *unnamed]) == sorted(names(len(points))), f"{kind}: named or told, each once"


def test_a_few_points_apart_are_all_named_beside_their_points() -> None:
    points = np.array([[0.1, 0.1], [0.5, 0.5], [0.3, 0.9], [0.9, 0.2]])
    axes, unnamed = panel(points)
    assert unnamed == []
    placed = zip(axes.transData.transform(points)[::3], list(boxes(axes).values())[::3], strict=True)
    for (x, y), (left, bottom, right, _) in placed:
        assert min(abs(left - x), abs(right - x)) == pytest.approx(8, abs=0.1)
        assert bottom == pytest.approx(y - 4, abs=0.1)


def test_a_plot_has_no_link_no_id_and_the_pages_colours_and_is_the_same_each_time() -> None:
    """Several lie in one page: an id would be there twice, and a link may load."""

    def draw(axes: Axes) -> None:
        points = np.random.default_rng(0).random((40, 2)) + 0.1
        scatter(axes, points)
        dots(axes, *points.T, INK)
        axes.set_ylim(0.1, 1.2)
        axes.text(0.1, 0.1, '$a$ <b>&"\' id="x_1"')
        log_scale(axes)

    drawn = plot(draw, 'said "so" <b>', "x<i>", "y")
    assert drawn == plot(draw, 'said "so" <b>', "x<i>", "y")
    assert not find_loads(drawn) and not re.search(r"<use|<defs|url\(|href| id=(?!\"x_1)", drawn)
    assert "var(--ink)" in drawn and "#0000" not in drawn
    assert "<b>" not in drawn and "<i>" not in drawn and "$a$ &lt;b&gt;&amp;" in drawn and ' id="x_1"' in drawn
    assert drawn.startswith('<svg viewBox="0 0 320 250" role="img" aria-label="said &#34;so&#34; &lt;b&gt;">')


@pytest.mark.full
@pytest.mark.skipif(not find_chromium(), reason=INSTALL)
def test_in_a_browser_labels_are_no_wider_than_the_plot_reckons_with(tmp_path: Path) -> None:
    plots = []
    for _, points in crowds()[:50]:
        drawing = partial(scatter, points=points)
        plots.append(plot(drawing, "", "CV", "public", width=WIDTH, height=HEIGHT))
    page = tmp_path / "page.html"
    page.write_text(web_page("Plots", Markup().join(plots)))
    with Browser() as browser:
        browser.go(page.as_uri())
        found = browser.evaluate(
            "[...document.querySelectorAll('svg')].map(svg => [...svg.querySelectorAll('.label')].map(e => "
            "{ const r = e.getBBox(); return [e.textContent.trim(), r.x, r.y, r.x + r.width, r.y + r.height] }))"
        )
    for labels in found:
        assert all(right - left <= text_width(name) for name, left, _, right, _ in labels)
        # Lines of 13 px hold letters of 12: their boxes, with room for accents, may touch.
        drawn = {
            name: (left, (top + bottom) / 2 - 5, right, (top + bottom) / 2 + 5)
            for name, left, top, right, bottom in labels
        }
        assert not overlapping(drawn)
        assert all(left >= LEFT - 1 and right <= WIDTH + 1 for left, _, right, _ in drawn.values())

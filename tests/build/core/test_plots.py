"""Plots: every label has its own place, or is told apart from those that have one."""

import html
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from build.core.pages import web_page
from build.core.plots import BOTTOM, LABEL, LEFT, TOP, Panel, text_width
from tests.browser import INSTALL, Browser, find_chromium

LABELS = re.compile(r'<text class="label [^"]*" x="([\d.]+)"( text-anchor="end")? y="([\d.]+)">([^<]*)</text>')
NAMES = (
    *("v5", "frozen_dinov2", "oof_21_vit_huge_plus_patch16_dinov3", "expected 0.731", "EMA + TTA, WWWW @ 1024 px"),
    *("MOOQ 0123456789", "äöü ÄÖÜ √²", "the quick brown fox jumps over"),
)


def panel(points: np.ndarray) -> Panel:
    """A plot of the size of the board's with a name at each point."""
    drawn = Panel((0.0, 1.0), (0.0, 1.0), "CV", "public", width=640, height=420)
    for i, (x, y) in enumerate(points):
        drawn.circle(x, y, "own")
        drawn.text(x, y, f"{NAMES[i % len(NAMES)]} {i}")
    return drawn


def names(count: int) -> list[str]:
    return [f"{NAMES[i % len(NAMES)]} {i}" for i in range(count)]


def boxes(drawn: Panel) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each label, by the widths that the plot reckons with."""
    found = {}
    for x, at_end, base, text in LABELS.findall(drawn.svg("")):
        name = html.unescape(text)
        wide = text_width(name)
        left = float(x) - wide if at_end else float(x)
        found[name] = left, float(base) - LABEL, left + wide, float(base)
    return found


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
        drawn = panel(points)
        found = boxes(drawn)
        assert not overlapping(found), kind
        for name, (left, top, right, bottom) in found.items():
            assert left >= LEFT - 0.1 and right <= 640.1, (kind, name)
            assert top >= TOP - 0.1 and bottom <= 420 - BOTTOM + 0.1, (kind, name)
        assert sorted([*found, *drawn.unnamed]) == sorted(names(len(points))), f"{kind}: named or told, each once"


def test_a_few_points_apart_are_all_named_beside_their_points() -> None:
    drawn = panel(np.array([[0.1, 0.1], [0.5, 0.5], [0.3, 0.9], [0.9, 0.2]]))
    assert drawn.unnamed == []
    for (x, y), (left, _, right, bottom) in zip(
        [(0.1, 0.1), (0.9, 0.2)], list(boxes(drawn).values())[::3], strict=True
    ):
        assert min(abs(left - drawn.x(x)), abs(right - drawn.x(x))) == pytest.approx(8, abs=0.1)
        assert bottom == pytest.approx(drawn.y(y) + 4, abs=0.1)


@pytest.mark.full
@pytest.mark.skipif(not find_chromium(), reason=INSTALL)
def test_in_a_browser_labels_are_no_wider_than_the_plot_reckons_with(tmp_path: Path) -> None:
    plots = [panel(points).svg("") for _, points in crowds()[:50]]
    page = tmp_path / "page.html"
    page.write_text(web_page("Plots", "".join(plots)))
    with Browser() as browser:
        browser.go(page.as_uri())
        found = browser.evaluate(
            "[...document.querySelectorAll('svg')].map(svg => [...svg.querySelectorAll('.label')].map(e => "
            "{ const r = e.getBBox(); return [e.textContent, r.x, r.y, r.x + r.width, r.y + r.height] }))"
        )
    for labels in found:
        assert all(right - left <= text_width(name) for name, left, _, right, _ in labels)
        # Lines of 13 px hold letters of 12: their boxes, with room for accents, may touch.
        drawn = {
            name: (left, (top + bottom) / 2 - 5, right, (top + bottom) / 2 + 5)
            for name, left, top, right, bottom in labels
        }
        assert not overlapping(drawn)
        assert all(left >= LEFT - 1 and right <= 641 for left, _, right, _ in drawn.values())

"""The comparison as one HTML page: no script, no external resource, readable on a phone and in the dark."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build.core.pages import table, web_page, wide
from build.core.plots import text_width
from build.scores.comparison import Comparison, Pair, Slice, decision

FIRST_PAIRS = 15  # the others are folded up


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the drawing of scores has what, px."""

    left: int
    right: int
    width: int
    row: int
    name: int  # from the top of a row to the line of its name
    line: int  # and to its interval
    letters: int  # of a name, at most


DESK = Layout(left=260, right=90, width=860, row=24, name=16, line=12, letters=38)
PHONE = Layout(left=4, right=52, width=360, row=40, name=14, line=26, letters=44)  # each name above its interval
TOP = 62


def page(comparison: Comparison) -> str:
    """Return the whole page."""
    validation, names = comparison.validation, comparison.validation.names
    rows = [names[i] for i in comparison.ranking]
    scores = (comparison.models, *comparison.targets.values())
    targets = table(
        ["model", "official, all", *comparison.targets],
        [
            [names[i], *(f"{v[i].estimate:.3f} [{v[i].low:.2f}, {v[i].high:.2f}]" for v in scores)]
            for i in comparison.ranking
        ],
    )
    best = comparison.ranking[0]
    ordered = sorted(comparison.pairs, key=lambda pair: best not in (pair.a, pair.b))
    first = wide("pairs", pairs_table(comparison, ordered[:FIRST_PAIRS]))
    others = wide("more pairs", pairs_table(comparison, ordered[FIRST_PAIRS:]))
    more = f"<details><summary>{len(ordered) - FIRST_PAIRS} more pairs</summary>{others}</details>"
    pairs = first + more * (len(ordered) > FIRST_PAIRS)
    states, dates = slices_table(comparison, rows, comparison.states), slices_table(comparison, rows, comparison.dates)
    warnings = "".join(f"<li>{html.escape(one)}</li>" for one in comparison.warnings)
    body = f"""
<p>Official weighted R² in grams, over {len(validation.image_ids)} images of {len(set(validation.groups))}
State+Sampling_Date groups. Intervals are meant to hold the truth in 95 of 100 draws of such groups (group jackknife);
where the competition's own 30 groups were drawn again they held it in about 90.</p>
<p class="decision">{html.escape(decision(comparison))}</p>
{f'<h2>Warnings</h2><ul class="warnings">{warnings}</ul>' if warnings else "<p>No warnings.</p>"}
<h2>Scores</h2>{wide("scores", forest(rows_of(comparison), comparison.floors))}
<p class="small">Dashed: what no photograph is needed for: {floor_text(comparison)}</p>
<h2>Differences of pairs</h2>{pairs}
<p class="small">Bold: the interval keeps clear of zero. With many pairs one in twenty does so by luck; the decision
above shares that chance among all others (Bonferroni), so a bold pair may still be one that cannot be told.</p>
<h2>All targets, and each (ordinary R²)</h2>{wide("targets", targets)}
<h2>Per state</h2>{wide("states", states)}
<h2>Per date</h2>{wide("dates", dates)}
<p class="small">Root of the metric-weighted mean squared error in grams; in brackets its share of all.</p>
"""
    return web_page(f"Comparison of {len(names)} model{'s' if len(names) > 1 else ''}", body)


def pairs_table(comparison: Comparison, pairs: Sequence[Pair]) -> str:
    """Write a table with a line per pair; bold where the interval keeps clear of zero."""
    names = comparison.validation.names
    return table(
        ["b − a", "difference [95 %]", "b better"],
        [
            [
                f"{names[p.b]} − {names[p.a]}",
                f"{p.difference.estimate:+z.4f} [{p.difference.low:+z.4f}, {p.difference.high:+z.4f}]",
                f"{p.difference.probability:.1%}",
            ]
            for p in pairs
        ],
        [p.difference.carried for p in pairs],
    )


def floor_text(comparison: Comparison) -> str:
    """Write the reference points as a sentence of HTML."""
    return html.escape("; ".join(f"{name} {value:.3f}" for name, value in comparison.floors.items())) + "."


@dataclass(frozen=True)
class Row:
    """One model in the drawing of scores."""

    name: str
    estimate: float
    low: float | None = None  # None: the interval is not known
    high: float | None = None


def rows_of(comparison: Comparison) -> list[Row]:
    """Return a row per model, best first."""
    names, models = comparison.validation.names, comparison.models
    return [Row(names[i], models[i].estimate, models[i].low, models[i].high) for i in comparison.ranking]


def forest(rows: Sequence[Row], floors: Mapping[str, float]) -> str:
    """Draw a point and an interval per model, and the floors as lines: once for a desk, once for a phone."""
    return f'<div class="desk">{_drawn(rows, floors, DESK)}</div><div class="phone">{_drawn(rows, floors, PHONE)}</div>'


def _drawn(rows: Sequence[Row], floors: Mapping[str, float], layout: Layout) -> str:
    known = [value for row in rows for value in (row.estimate, row.low, row.high) if value is not None]
    ends = [*floors.values(), *known]
    low, high = max(min(ends), -1.0) - 0.03, max(ends) + 0.02
    right = layout.width - layout.right

    def x(value: float) -> float:
        return layout.left + (min(max(value, low), high) - low) / (high - low) * (right - layout.left)

    bottom = TOP + layout.row * len(rows)
    lines = [f'<line class="axis" x1="{layout.left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    parts = []
    for i, (name, value) in enumerate(sorted(floors.items(), key=lambda item: item[1])):
        shown, at = f"{value:.3f} {name}", x(value)
        fits = at + 3 + text_width(shown) <= layout.width
        place = f'x="{at + 3:.1f}"' if fits else f'x="{at - 3:.1f}" text-anchor="end"'
        lines.append(f'<line class="floor" x1="{at:.1f}" x2="{at:.1f}" y1="{16 + 15 * i}" y2="{bottom}"/>')
        parts.append(f'<text class="floor-name" {place} y="{24 + 15 * i}">{html.escape(shown)}</text>')
    for number, row in enumerate(rows):
        y = TOP + layout.row * number
        shown = row.name if len(row.name) <= layout.letters else f"{row.name[: layout.letters - 1]}…"
        title = f"<title>{html.escape(row.name)}</title>"
        parts.append(f'<text class="label" x="0" y="{y + layout.name}">{html.escape(shown)}{title}</text>')
        y += layout.line
        if row.low is not None and row.high is not None:
            parts.append(f'<line class="reach" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"/>')
        parts += [
            f'<circle cx="{x(row.estimate):.1f}" cy="{y}" r="4"/>',
            f'<text x="{right + 8}" y="{y + 4}">{row.estimate:.3f}</text>',
        ]
    text = "; ".join(f"{row.name} {row.estimate:.3f}" for row in rows)
    return (
        f'<svg viewBox="0 0 {layout.width} {bottom + 8}" role="img" aria-label="{html.escape(text)}">'
        f"{''.join(lines)}{''.join(parts)}</svg>"
    )


def slices_table(comparison: Comparison, rows: Sequence[str], slices: Sequence[Slice]) -> str:
    """Write a table with a line per state or date, a column per model."""
    order = comparison.ranking
    body = [
        [
            one.name,
            str(one.images),
            f"{one.truth_g:.0f}",
            *(f"{one.errors_g[i]:.1f} ({one.shares[i]:.0%})" for i in order),
        ]
        for one in slices
    ]
    return table(["", "images", "mean Total, g", *rows], body)

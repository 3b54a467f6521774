"""The comparison as one HTML page: no script, no external resource, readable on a phone and in the dark."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build.validation.comparison import Comparison, Slice, decision
from build.web_page import table, web_page, wide

LEFT, RIGHT, WIDTH, ROW, TOP = 260, 90, 860, 24, 62


def page(comparison: Comparison) -> str:
    """Return the whole page."""
    validation, names = comparison.validation, comparison.validation.names
    rows = [names[i] for i in comparison.ranking]
    targets = table(
        ["model", *comparison.targets],
        [
            [names[i], *(f"{v[i].estimate:.3f} [{v[i].low:.2f}, {v[i].high:.2f}]" for v in comparison.targets.values())]
            for i in comparison.ranking
        ],
    )
    pairs = table(
        ["b − a", "difference", "95 % interval", "b better"],
        [
            [
                f"{names[p.b]} − {names[p.a]}",
                f"{p.difference.estimate:+.4f}",
                f"[{p.difference.low:+.4f}, {p.difference.high:+.4f}]",
                f"{p.difference.probability:.1%}",
            ]
            for p in comparison.pairs
        ],
        [p.difference.carried for p in comparison.pairs],
    )
    states, dates = slices_table(comparison, rows, comparison.states), slices_table(comparison, rows, comparison.dates)
    warnings = "".join(f"<li>{html.escape(one)}</li>" for one in comparison.warnings)
    body = f"""
<p>Official weighted R² in grams, over {len(validation.image_ids)} images of {len(set(validation.groups))}
State+Sampling_Date groups. Intervals hold the truth in 95 of 100 draws of such groups (group jackknife).</p>
<p class="decision">{html.escape(decision(comparison))}</p>
{f'<h2>Warnings</h2><ul class="warnings">{warnings}</ul>' if warnings else "<p>No warnings.</p>"}
<h2>Scores</h2>{wide("scores", forest(rows_of(comparison), comparison.floors))}
<p class="small">Dashed: what no photograph is needed for. {floor_text(comparison)}</p>
<h2>Differences of pairs</h2>{wide("pairs", pairs)}
<p class="small">Bold: the interval keeps clear of zero. With many pairs one in twenty does so by luck.</p>
<h2>Per target (ordinary R²)</h2>{wide("targets", targets)}
<h2>Per state</h2>{wide("states", states)}
<h2>Per date</h2>{wide("dates", dates)}
<p class="small">Root of the metric-weighted mean squared error in grams; in brackets its share of all.</p>
"""
    return web_page(f"Comparison of {len(names)} model{'s' if len(names) > 1 else ''}", body)


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
    """Draw a point and an interval per model, and the floors as lines."""
    known = [value for row in rows for value in (row.estimate, row.low, row.high) if value is not None]
    ends = [*floors.values(), *known]
    low, high = max(min(ends), -1.0) - 0.03, max(ends) + 0.02

    def x(value: float) -> float:
        return LEFT + (min(max(value, low), high) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    bottom = TOP + ROW * len(rows)
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>']
    for i, (name, value) in enumerate(sorted(floors.items(), key=lambda item: item[1])):
        parts += [
            f'<line class="floor" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{16 + 15 * i}" y2="{bottom}"/>',
            f'<text class="floor-name" x="{x(value) + 3:.1f}" y="{24 + 15 * i}">{value:.3f} {html.escape(name)}</text>',
        ]
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        shown = row.name if len(row.name) <= 38 else f"{row.name[:37]}…"
        parts.append(f'<text x="0" y="{y + 4}">{html.escape(shown)}<title>{html.escape(row.name)}</title></text>')
        if row.low is not None and row.high is not None:
            parts.append(f'<line class="reach" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"/>')
        parts += [
            f'<circle cx="{x(row.estimate):.1f}" cy="{y}" r="4"/>',
            f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4}">{row.estimate:.3f}</text>',
        ]
    text = "; ".join(f"{row.name} {row.estimate:.3f}" for row in rows)
    return f'<svg viewBox="0 0 {WIDTH} {bottom + 8}" role="img" aria-label="{html.escape(text)}">{"".join(parts)}</svg>'


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

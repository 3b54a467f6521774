"""The comparison as one HTML page, and the drawing of scores that the report shows too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from build.core.pages import render, web_page
from build.scores.comparison import Comparison, decision

FIRST_PAIRS = 15  # the others are folded up


def page(comparison: Comparison) -> str:
    """Return the whole page."""
    names, best = comparison.validation.names, comparison.ranking[0]
    body = render(
        "build/scores/page.html.jinja",
        c=comparison,
        decision=decision(comparison),
        names=names,
        ranked=[names[i] for i in comparison.ranking],
        pairs=sorted(comparison.pairs, key=lambda pair: best not in (pair.a, pair.b)),
        first_pairs=FIRST_PAIRS,
        **forest(rows_of(comparison), comparison.floors),
    )
    return web_page(f"Comparison of {len(names)} model{'s' if len(names) > 1 else ''}", body)


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


def forest(rows: Sequence[Row], floors: Mapping[str, float]) -> dict[str, Any]:
    """Return what the macro `forest` draws: models, floors from the lowest, and where on its axis a value lies."""
    known = [value for row in rows for value in (row.estimate, row.low, row.high) if value is not None]
    ends = [*floors.values(), *known]
    low, high = max(min(ends), -1.0) - 0.03, max(ends) + 0.02
    at: Callable[[float], str] = lambda value: f"{(min(max(value, low), high) - low) / (high - low):.2%}"  # noqa: E731
    text = "; ".join(f"{name} {value:.3f}" for name, value in floors.items())
    return {"rows": rows, "floors": sorted(floors.items(), key=lambda item: item[1]), "at": at, "floor_text": text}

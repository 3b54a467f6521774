"""The comparison as one HTML page, and the drawing of scores that the report shows too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from build.core.pages import render, web_page
from build.scores.comparison import Comparison, decision
from build.scores.words import error_words, gain_words, groups_name, metric_name, units_word, with_unit
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

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
        **page_words(),
        **forest(rows_of(comparison), comparison.floors),
    )
    return web_page(f"Comparison of {len(names)} model{'s' if len(names) > 1 else ''}", body)


def page_words() -> dict[str, Any]:
    """Return the competition's words for pages of scores."""
    main = review().short(facts().targets[review().main])
    return {
        "metric": metric_name(),
        "score_words": review().score_words,
        "groups_name": groups_name(),
        "units": units_word(),
        "interval_note": review().interval_note,
        "mean_main": "" if facts().are_classes else with_unit(f"mean {main}"),
        "error_words": f"{error_words()[:1].upper()}{error_words()[1:]}",
        "gain_words": gain_words(),
        "has_groups": review().has_groups,
        "are_classes": facts().are_classes,
        "unit": facts().unit,
        "many_targets": len(facts().targets) > 1,
        "unit_words": "in grams" if facts().unit == "g" else f"in {facts().unit}" if facts().unit else "",
        "inputs_words": review().inputs_words or ", ".join(facts().inputs),
        "more_is_better": rules().metric.higher_is_better,
    }


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
    low, high = _ends([*floors.values(), *known])
    at: Callable[[float], str] = lambda value: f"{(min(max(value, low), high) - low) / (high - low):.2%}"  # noqa: E731
    text = "; ".join(f"{name} {value:.3f}" for name, value in floors.items())
    return {"rows": rows, "floors": sorted(floors.items(), key=lambda item: item[1]), "at": at, "floor_text": text}


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return where the axis begins and ends; a score far below zero is drawn at the border."""
    if rules().metric.higher_is_better:
        return max(min(values), -1.0) - 0.03, max(values) + 0.02
    room = 0.05 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room

"""The bench's page: one self-contained HTML file, its plots drawn from the results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from build.core.pages import render, web_page
from build.core.plots import INK, MARK, plot

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

    from bench.run import Part, Target


def page(results: Mapping[str, Any], targets: Sequence[Target], parts: Sequence[Part]) -> str:
    """Lay all results out: targets first, then every group of figures as bars, notes, the machine."""
    measured, says = dict(_figures(results)), {part.name: part.says for part in parts}
    groups = []
    for name, found in results.items():
        if name in ("machine", "runs", "targets") or not isinstance(found, dict):
            continue
        drawn = [("", bars(group, f"{name} {unit}")) for unit, group in _by_unit({name: found}).items()]
        groups.append((name, drawn, list(dict.fromkeys(_notes(found)))))
    body = render(
        "bench/page.html.jinja",
        targets=[(target, measured.get(target.key), _word(target, measured.get(target.key))) for target in targets],
        groups=groups,
        runs=[(name, says.get(name, ""), run) for name, run in results["runs"].items()],
        machine=results["machine"],
    )
    return web_page("Bench", body)


def bars(group: Mapping[str, Mapping[str, Any]], label: str) -> Markup:
    """Draw one bar per figure, its spread as a whisker, all on one scale."""
    figures = list(group.values())

    def draw(axes: Axes) -> None:
        rows = range(len(figures))
        axes.barh(rows, [figure["value"] for figure in figures], height=0.7, color=MARK, alpha=0.5)
        axes.hlines(rows, *zip(*(figure["spread"] for figure in figures), strict=True), color=INK, linewidth=1)
        end = axes.get_xlim()[1]
        for row, figure in zip(rows, figures, strict=True):
            axes.text(end, row, f"  {figure['value']:g} {figure.get('unit', '×')} (n {figure['n']})", va="center")
        axes.set_yticks(rows, list(group))
        axes.set(ylim=(len(figures) - 0.5, -0.5), xlim=(0, end * 1.4), xticks=())
        axes.grid(False)
        axes.spines[:].set_visible(False)

    return plot(draw, label, width=900, height=24 * len(group) + 44, left=300)


# %%
def _figures(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    from bench.run import figures

    return figures(results, prefix)


def _by_unit(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Group figures by unit, so that no bar of grams stands beside one of seconds."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for key, figure in _figures(results):
        groups.setdefault(figure.get("unit", "×"), {})[key] = figure
    return groups


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if isinstance(value, str):
            yield f"{name}: {value}"
        elif isinstance(value, dict) and not {"value", "n"} <= value.keys():
            yield from _notes(value)


def _word(target: Target, figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "not measured"
    return "not judged" if figure["n"] < target.least_n else "met" if target.is_met(figure["value"]) else "missed"

"""The bench's page: one self-contained HTML file, its plots drawn as SVG from the results alone."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.run import Part, Target

BAR_PX, ROW_PX, LABEL_PX, VALUE_PX = 420, 24, 300, 160
PLOT_PX = (380, 220)
_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top }
.met { color: #276b2c } .missed { color: #b3261e; font-weight: 600 } .note { color: #666 } figure { margin: 1rem 0 }
figure, div { overflow-x: auto }
svg text { font: 12px system-ui, sans-serif; fill: #222 } pre { white-space: pre-wrap }
"""


def page(results: Mapping[str, Any], targets: Sequence[Target], parts: Sequence[Part]) -> str:
    """Lay all results out: targets first, then every group of figures as bars, lines as plots, notes, the machine."""
    body = ["<h1>Bench</h1>", _targets(results, targets)]
    for name, found in results.items():
        if name in ("machine", "runs", "targets") or not isinstance(found, dict):
            continue
        body.append(f"<h2>{html.escape(name)}</h2>")
        body += [bars(group, f"{name} {unit}") for unit, group in _by_unit({name: found}).items()]
        body += [line(key, drawn) for key, drawn in _lines({name: found})]
        body += [f'<p class="note">{html.escape(text)}</p>' for text in dict.fromkeys(_notes(found))]
    body += ["<h2>How it was measured</h2>", _runs(results["runs"], parts), _table(results["machine"])]
    head = f'<!doctype html>\n<html lang="en">{_META}<title>Bench</title>\n<style>{_STYLE}</style>'
    return "\n".join([head, *body, "</html>"]) + "\n"


def bars(group: Mapping[str, Mapping[str, Any]], label: str) -> str:
    """Draw one bar per figure, its spread as a whisker, all on one scale."""
    longest = max(max(figure["value"], figure["spread"][1]) for figure in group.values()) or 1.0
    rows = []
    for i, (key, figure) in enumerate(group.items()):
        y = i * ROW_PX + 4
        low, high, value = (LABEL_PX + BAR_PX * v / longest for v in (*figure["spread"], figure["value"]))
        middle = y + (ROW_PX - 8) / 2
        rows.append(
            f'<text x="0" y="{middle + 4}">{html.escape(key)}</text>'
            f'<rect x="{LABEL_PX}" y="{y}" width="{value - LABEL_PX:.1f}" height="{ROW_PX - 8}" fill="#8fb996"/>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#222"/>'
            f'<text x="{LABEL_PX + BAR_PX + 8}" y="{middle + 4}">'
            f"{figure['value']:g} {html.escape(figure.get('unit', '×'))} (n {figure['n']})</text>"
        )
    size = f'width="{LABEL_PX + BAR_PX + VALUE_PX + 20}" height="{len(group) * ROW_PX + 8}"'
    return f'<figure><svg role="img" aria-label="{html.escape(label)}" {size}>{"".join(rows)}</svg></figure>'


def line(key: str, drawn: Mapping[str, Any]) -> str:
    """Draw measured points and, where it is given as `fit` {slope, intercept}, their line."""
    width, height = PLOT_PX
    xs, ys = drawn["x"], drawn["y"]
    x_top, y_top = max(xs) or 1, max(ys) or 1
    fit = drawn.get("fit")

    def at(x: float, y: float) -> tuple[float, float]:
        return 50 + (width - 70) * x / x_top, height - 40 - (height - 60) * y / y_top

    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="#3f7d4a"/>' for a, b in map(at, xs, ys))
    fitted = ""
    if fit:
        (a, b), (c, d) = at(0, fit["intercept"]), at(x_top, fit["intercept"] + fit["slope"] * x_top)
        fitted = f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" stroke="#999"/>'
    caption = key + (f": {fit['intercept']:.3g} + {fit['slope']:.3g} per {drawn['x_label']}" if fit else "")
    return (
        f'<figure><svg role="img" aria-label="{html.escape(key)}" width="{width}" height="{height}">'
        f'<path d="M50 20V{height - 40}H{width - 20}" fill="none" stroke="#999"/>{fitted}{dots}'
        f'<text x="4" y="14">{html.escape(drawn["y_label"])}, up to {y_top:.3g}</text>'
        f'<text x="{width / 2}" y="{height - 12}">{html.escape(drawn["x_label"])}, up to {x_top:g}</text></svg>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


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


def _lines(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in results.items():
        if isinstance(found, dict) and {"x", "y"} <= found.keys():
            yield f"{prefix}{name}", found
        elif isinstance(found, dict):
            yield from _lines(found, f"{prefix}{name}.")


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        if isinstance(value, str):
            yield f"{name}: {value}"
        elif isinstance(value, dict) and not {"value", "n"} <= value.keys() and "x" not in value:
            yield from _notes(value)


def _targets(results: Mapping[str, Any], targets: Sequence[Target]) -> str:
    measured = dict(_figures(results))
    rows = []
    for target in targets:
        figure = measured.get(target.key)
        if figure is None:
            state = '<td class="note">not measured</td>'
        else:
            met = target.is_met(figure["value"])
            word = "not judged" if figure["n"] < target.least_n else "met" if met else "missed"
            style = "note" if word == "not judged" else word
            state = f'<td class="{style}">{figure["value"]:g} (n {figure["n"]}), {word}</td>'
        rows.append(f"<tr><td>{html.escape(target.says)}</td><td>{target.key}</td><td>{target.bound}</td>{state}</tr>")
    return (
        f"<div><table><tr><th>promise</th><th>key</th><th>bound</th><th>measured</th></tr>{''.join(rows)}</table></div>"
    )


def _runs(runs: Mapping[str, Any], parts: Sequence[Part]) -> str:
    says = {part.name: part.says for part in parts}
    rows = []
    for name, run in runs.items():
        if "failed" in run:
            how = f'<td class="missed"><pre>{html.escape(run["failed"])}</pre></td>'
        else:
            quick = ", quick" if run["quick"] else ""
            how = f"<td>{run['seconds']} s, load before {run['load_before']}{quick}, {run['at']}</td>"
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{html.escape(says.get(name, ''))}</td>{how}</tr>")
    return f"<div><table>{''.join(rows)}</table></div>"


def _table(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in values.items())
    return f"<div><table>{rows}</table></div>"

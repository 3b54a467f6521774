"""The frame of every HTML page that the kit writes: no script, nothing loaded, readable on a phone and in the dark."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
:root { color-scheme: light dark; --ink: #1c2a1c; --paper: #f7f7f2; --mild: #6b756b; --mark: #2f6f2a; --warn: #a4560a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ece2; --paper: #161a16; --mild: #9aa59a; --mark: #7fc276; --warn: #e6a257 } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.decision { font-size: 1.1rem; border-left: 4px solid var(--mark); padding-left: .8rem }
.warnings { border-left: 4px solid var(--warn); padding: .2rem .8rem .2rem 2rem }
.wide { overflow-x: auto } .wide:focus { outline: 2px solid var(--mark) }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
td, th { text-align: right; padding: .15rem .5rem; white-space: nowrap } th { font-weight: 400; color: var(--mild) }
td:first-child, th:first-child { text-align: left }
tr + tr td { border-top: 1px solid color-mix(in srgb, var(--mild) 25%, transparent) }
svg { width: 100%; min-width: 34rem; height: auto; display: block }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .floor { stroke: var(--warn); stroke-dasharray: 4 3 } svg .floor-name { fill: var(--warn); font-size: 11px }
svg .reach { stroke: var(--mark); stroke-width: 2 } svg circle { fill: var(--mark) } svg .axis { stroke: var(--mild) }
.panels, .photos { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)) }
.panels svg { min-width: 0 } figure { margin: 0 } figcaption { font-size: .85rem; font-variant-numeric: tabular-nums }
.photos img { width: 100%; height: auto; display: block }
.c0 { --dot: #2a78b8 } .c1 { --dot: #c9670a } .c2 { --dot: #2f8a4c } .c3 { --dot: #9a4fb5 } .c4 { --dot: #8a7a10 }
.c5 { --dot: #c0405a }
svg path { fill: none; stroke: var(--mild) } svg .grid { opacity: .25 }
svg .dots { stroke: var(--dot); stroke-width: 4.5; stroke-linecap: round; opacity: .75 }
svg .curve { stroke: var(--dot, var(--mark)); stroke-width: 1.5 }
svg .zero { stroke: var(--warn); stroke-dasharray: 4 3 }
.legend span { margin-right: 1rem; white-space: nowrap }
.legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; background: var(--dot);
  margin-right: .3rem }
p.small { color: var(--mild); font-size: .85rem } strong { color: var(--mark) }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own."""

    title: str  # plain text
    body: str  # HTML without scripts; pictures as SVG or as data URIs: nothing is loaded

    def as_html(self) -> str:
        """Return heading and body."""
        return f"<h2>{html.escape(self.title)}</h2>\n{self.body.strip()}"


def web_page(title: str, body: str) -> str:
    """Return a whole page; `title` is plain text and its first heading, `body` is HTML."""
    title = html.escape(title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
{body.strip()}
</body></html>
"""


def wide(label: str, content: str) -> str:
    """Wrap what may be wider than a phone: it scrolls by itself, by finger or arrow keys; `content` is HTML."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(label)}">{content}</div>'


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], bold: Sequence[bool] | None = None) -> str:
    """Write a table of plain text, its first column left; rows marked `bold` have it bold. Put it into `wide`."""
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in heading)
    lines = []
    for i, row in enumerate(rows):
        first, *rest = (html.escape(text) for text in row)
        if bold is not None and bold[i]:
            first = f"<strong>{first}</strong>"
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in (first, *rest)) + "</tr>")
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"

"""The frame of every HTML page that the kit writes: no script, nothing loaded, readable on a phone and in the dark."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import UsageError

STYLE = """
:root { color-scheme: light dark; --ink: #1c2a1c; --paper: #f7f7f2; --mild: #6b756b; --mark: #2f6f2a; --warn: #a4560a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ece2; --paper: #161a16; --mild: #9aa59a; --mark: #7fc276; --warn: #e6a257 } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 1rem; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.decision { font-size: 1.1rem; border-left: 4px solid var(--mark); padding-left: .8rem }
.warnings { border-left: 4px solid var(--warn); padding: .2rem .8rem .2rem 2rem }
.wide { overflow-x: auto } .wide:focus { outline: 2px solid var(--mark) }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
td, th { text-align: right; vertical-align: top; padding: .15rem .5rem }
td { white-space: nowrap } th { font-weight: 400; color: var(--mild); vertical-align: bottom }
td:first-child, th:first-child, .long { text-align: left }
td.long { white-space: normal; min-width: 15rem; overflow-wrap: anywhere }
.named td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 8rem }
.phone { display: none }
@media (max-width: 40rem) { td, th { padding: .15rem .25rem } .desk { display: none }
  td.long { min-width: 12rem } .bracketed { white-space: normal }
  .phone { display: block } .phone svg { min-width: 0 } }
.wide + .wide, .wide + .panels, .panels + .wide { margin-top: 1rem }
tr + tr td { border-top: 1px solid color-mix(in srgb, var(--mild) 25%, transparent) }
svg { width: 100%; min-width: 34rem; height: auto; display: block }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .floor { stroke: var(--warn); stroke-dasharray: 4 3 } svg .floor-name { fill: var(--warn); font-size: 11px }
svg .label, svg .floor-name { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round }
svg .reach { stroke: var(--mark); stroke-width: 2 } svg circle { fill: var(--mark) } svg .axis { stroke: var(--mild) }
.panels, .photos { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)) }
.panels svg { min-width: 0 } figure { margin: 0 } figcaption { font-size: .85rem; font-variant-numeric: tabular-nums }
.photos td, .photos th { padding: .15rem .25rem }
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
svg .other { fill: none; stroke: var(--mild); stroke-width: 1.5 } svg .quiet { fill: var(--mild); font-size: 11px }
svg .unlike { fill: var(--mild) } svg path.expected { stroke: var(--warn); stroke-width: 2 }
svg circle.expected { fill: var(--warn) }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1rem } a { color: var(--mark) }
.past { position: absolute; left: -99rem } .past:focus { position: static }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
summary { cursor: pointer } .next code, pre { white-space: pre-wrap } code, pre { overflow-wrap: anywhere }
p.small { color: var(--mild); font-size: .85rem } strong { color: var(--mark) }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own."""

    title: str  # plain text, unlike any other on its page
    body: str  # HTML without scripts; pictures as SVG or as data URIs: nothing is loaded

    @property
    def anchor(self) -> str:
        """Return what a link to it names."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def as_html(self) -> str:
        """Return heading and body."""
        return f'<h2 id="{self.anchor}">{html.escape(self.title)}</h2>\n{self.body.strip()}'


def web_page(title: str, body: str) -> str:
    """Return a whole page; `title` is plain text and its first heading, `body` is HTML."""
    title = html.escape(title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style>{STYLE}</style></head><body>
<main><h1>{title}</h1>
{body.strip()}
</main></body></html>
"""


def require_place(page: Path | None) -> None:
    """Make sure, before anything is computed, that a page can be written where it was asked for; None: nowhere.

    Raises:
        UsageError: there is no such folder.
    """
    if page is not None and not page.parent.is_dir():
        raise UsageError(f"no folder {page.parent} for the page")


def contents(sections: Sequence[Section]) -> str:
    """Write links to the sections; the first one is a way past them for whoever moves by keys."""
    links = "".join(f'<li><a href="#{one.anchor}">{html.escape(one.title)}</a></li>' for one in sections)
    past = f'<a class="past" href="#{sections[0].anchor}">Past the contents</a>' if sections else ""
    return f'<nav aria-label="Contents">{past}<ul>{links}</ul></nav>'


LONG = 40  # characters: more in a cell is a sentence, or a hash
BRACKETED = re.compile(r"\S+ [\[(]")  # an estimate and its interval, a number and its share
FEW = 4  # columns that a phone has room for
NAME = 16  # characters: more in a first cell is a name that may be broken where there is no room

LOADS = re.compile(
    r"<script|<iframe|<object|<embed|@import|<link(?![^>]*href=\"data:)|url\((?!#|data:)"
    r"|<[a-z]+[^>]*\s(?:src|srcset|poster|xlink:href)\s*=\s*(?![\"']?data:)",
    re.IGNORECASE,
)


def find_loads(page: str) -> list[str]:
    """Return each place where a page would load something or run a script, with what follows it."""
    return [page[found.start() : found.start() + 80] for found in LOADS.finditer(page)]


def wide(label: str, content: str) -> str:
    """Wrap what may be wider than a phone: it scrolls by itself, by finger or arrow keys; `content` is HTML."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(label)}">{content}</div>'


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], bold: Sequence[bool] | None = None) -> str:
    """Write a table of plain text, its first column left; rows marked `bold` have it bold. Put it into `wide`.

    A column that holds a sentence is set left too, and its lines break; numbers with brackets break on a phone if the
    table then fits it.
    """
    few = len(heading) <= FEW
    kinds = [_kind([row[i] for row in rows], first=i == 0, few=few) for i in range(len(heading))]
    cells = "".join(f"<th{kind}>{_breakable(text)}</th>" for kind, text in zip(kinds, heading, strict=True))
    named = ' class="named"' * any(len(row[0]) > NAME for row in rows)
    lines = []
    for i, row in enumerate(rows):
        first, *rest = (html.escape(text) for text in row)
        if bold is not None and bold[i]:
            first = f"<strong>{first}</strong>"
        own = zip(kinds, (first, *rest), strict=True)
        lines.append("<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in own) + "</tr>")
    return f"<table{named}><tr>{cells}</tr>{''.join(lines)}</table>"


def _kind(column: Sequence[str], *, first: bool, few: bool) -> str:
    if any(len(cell) > LONG and (" " in cell or not first) for cell in column):
        return ' class="long"'
    return ' class="bracketed"' * any(few and BRACKETED.match(cell) for cell in column)


def _breakable(heading: str) -> str:
    """Let a long name break at its underscores, so that no column is wider than its numbers for want of room."""
    text = html.escape(heading)
    return text.replace("_", "_<wbr>") if len(heading) > NAME and " " not in heading else text

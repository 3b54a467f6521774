"""What a verb prints: one JSON object for scripts; for people, tables and sentences."""

import json
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """Print one JSON object; NaN, which JSON does not have, is refused."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(
    title: str,
    text: Sequence[str],
    numbers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    dim: Iterable[Sequence[str]] = (),
    wrap: bool = False,
) -> None:
    """Print a table: columns of text, then of numbers, which break only with `wrap`; the dim rows come last."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), title=title or None)
    for heading in text:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")
    for row in rows:
        table.add_row(*row)
    for row in dim:
        table.add_row(*row, style="dim")
    Console().print(table)


def print_line(text: str, style: str | None = None) -> None:
    """Print a sentence as it is: not wrapped, no markup read in it."""
    from rich.console import Console

    Console().print(text, style=style, highlight=False, markup=False, soft_wrap=True)

"""The verb `compare`: a table for people, a page, or JSON for scripts."""

import json
from collections.abc import Sequence
from pathlib import Path

from build.core.pages import require_place
from build.scores.comparison import Comparison, compare_files, decision
from build.scores.page import page
from kernel_src.runtime.files import write_text

MOST_PAIRS = 15  # in the terminal; the page and the JSON have all


def run(given: Sequence[str], train_csv: Path | None, as_json: bool, html: Path | None) -> None:
    """Compare files.

    Raises:
        UsageError, CheckFailed: a file cannot be read, or the truth is missing.
    """
    require_place(html)
    comparison = compare_files(given, train_csv)
    if html is not None:
        write_text(html, page(comparison))
    if as_json:
        print(json.dumps(comparison.as_json(), indent=2, allow_nan=False))
        return
    show(comparison)
    if html is not None:
        print(f"written: {html}")


def show(comparison: Comparison) -> None:
    """Print the tables, the warnings, and last of all the decision."""
    from rich.console import Console
    from rich.table import Table

    console, names = Console(), comparison.validation.names
    images, groups = len(comparison.validation.image_ids), len(set(comparison.validation.groups))
    table = Table(box=None, padding=(0, 1, 0, 0), title=f"official R², {images} images of {groups} groups")
    table.add_column("model", overflow="fold")
    table.add_column("R² [95 %]", justify="right", no_wrap=True)
    for target in comparison.targets:
        table.add_column(target.removeprefix("Dry_").removesuffix("_g"), justify="right", no_wrap=True)
    for i in comparison.ranking:
        model = comparison.models[i]
        own = [f"{values[i].estimate:.3f}" for values in comparison.targets.values()]
        table.add_row(names[i], f"{model.estimate:.3f} [{model.low:.3f}, {model.high:.3f}]", *own)
    for name, value in comparison.floors.items():
        table.add_row(f"({name})", f"{value:.3f}", style="dim")
    console.print(table)
    slices = Table(box=None, padding=(0, 1, 0, 0), title="error by state, g (share of the squared error)")
    for column in ("state", "images", *(names[i] for i in comparison.ranking[:3])):
        slices.add_column(column, justify="left" if column == "state" else "right", overflow="fold")
    for one in comparison.states:
        shown = [f"{one.errors_g[i]:.1f} ({one.shares[i]:.0%})" for i in comparison.ranking[:3]]
        slices.add_row(one.name, str(one.images), *shown)
    console.print(slices)
    worst = sorted(comparison.dates, key=lambda one: -one.shares[comparison.ranking[0]])[:3]
    best = comparison.ranking[0]
    console.print(
        f"dates that cost {names[best]} most: "
        + ", ".join(f"{one.name} {one.shares[best]:.0%} of its squared error ({one.images} images)" for one in worst),
        highlight=False,
        markup=False,
    )
    if len(names) > 1:
        pairs = Table(box=None, padding=(0, 1, 0, 0), title="pairs: R² of b minus R² of a")
        for column in ("a", "b"):
            pairs.add_column(column, overflow="fold")
        for column in ("difference [95 %]", "b better"):
            pairs.add_column(column, justify="right", no_wrap=True)
        for pair in comparison.pairs[:MOST_PAIRS]:
            d = pair.difference
            numbers = f"{d.estimate:+z.4f} [{d.low:+z.4f}, {d.high:+z.4f}]"
            pairs.add_row(names[pair.a], names[pair.b], numbers, f"{d.probability:.1%}")
        console.print(pairs)
        if left := len(comparison.pairs) - MOST_PAIRS:
            if left > 0:
                console.print(f"{left} more pairs: --json or --html show all")
    for warning in comparison.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    console.print(decision(comparison), style="bold", highlight=False, markup=False, soft_wrap=True)

"""The verbs `compare` and `blend`: a table for people, a page, or JSON for scripts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from build.core.options import AsJson

if TYPE_CHECKING:
    from build.scores.comparison import Comparison

Files = Annotated[
    list[str], typer.Argument(metavar="A B …", help="Out-of-fold CSVs or run folders; NAME=PATH gives it a name.")
]
TrainCsv = Annotated[
    Path | None, typer.Option(help="train.csv with the truth; not needed if a file holds truth, State and date.")
]
MOST_PAIRS = 15  # in the terminal; the page and the JSON have all


def compare_verb(
    files: Files,
    train_csv: TrainCsv = None,
    constraints: Annotated[bool, typer.Option("--constraints", help="Also show what each constraint gains.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which out-of-fold file is better, and how surely.

    Official score, paired intervals over groups, leaks.

    Example: python -m build compare out/runs/v5/run out/runs/v7/run --train-csv data/csiro-biomass/train.csv
    """
    from build.core.pages import require_place
    from build.scores.comparison import compare_files
    from build.scores.constraint_comparison import constraint_gains, gain_json, show_gains
    from build.scores.page import page
    from kernel_src.runtime.files import write_text

    require_place(html)
    comparison = compare_files(files, train_csv)
    if html is not None:
        write_text(html, page(comparison))
    if as_json:
        value = comparison.as_json()
        if constraints:
            value["constraints"] = [gain_json(gain) for gain in constraint_gains(comparison.validation)]
        print(json.dumps(value, indent=2, allow_nan=False))
        return
    if constraints:
        show_gains(constraint_gains(comparison.validation), len(comparison.models))
    show_comparison(comparison)
    if html is not None:
        print(f"written: {html}")


def blend_verb(
    files: Files,
    train_csv: TrainCsv = None,
    constraint: Annotated[
        Literal["none", "projection", "biological", "average"], typer.Option(help="Applied after the blend.")
    ] = "projection",
    write: Annotated[str, typer.Option(help="Make what is recommended an ensemble of this name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Blend out-of-fold files, and say what is gained.

    Best single, mean and a nested blend; whether the gain is carried.

    Example: python -m build blend v5=out/v5.csv v7=out/v7.csv --train-csv data/csiro-biomass/train.csv --write v5_v7
    """
    from build.scores.blend_command import run

    run(files, train_csv, constraint, write, as_json)


def show_comparison(comparison: "Comparison") -> None:
    """Print the tables, the warnings, and last of all the decision."""
    from rich.console import Console
    from rich.table import Table

    from build.scores.comparison import decision

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

"""Verbs of experiments: listed, described, looked at."""

from pathlib import Path
from typing import Annotated

import typer

from build.verbs.options import AsJson

verbs = typer.Typer()


@verbs.command("experiments")
def experiments_verb(as_json: AsJson = False) -> None:
    """List the experiments: backbone, parameters, size, folds, bundle, projected T4 minutes, the seed's score.

    Example: python -m build experiments
    """
    from build.weights.experiment_list import run

    run(as_json)


@verbs.command("describe")
def describe_verb(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name, e.g. v8.")],
    as_json: AsJson = False,
) -> None:
    """Count what an experiment is made of, from the network itself: layers, parameters, features, bundle bytes.

    Example: python -m build describe v8 --json
    """
    from build.weights.describe import run_describe

    run_describe(experiment, as_json)


@verbs.command("augment")
def augment_verb(
    experiment: Annotated[str, typer.Option(help="Whose augmentation preset and size.")],
    image: Annotated[Path, typer.Option(help="A photograph.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write; out/augment-<experiment>.png by default.")] = None,
    count: Annotated[int, typer.Option(help="How many augmented pictures, beside the original.")] = 15,
    depth: Annotated[Path | None, typer.Option(help="Folder of a depth model: show the maps that turn along.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet of what an experiment's augmentation makes of one photograph.

    Example: python -m build augment --experiment v8 --image data/csiro-biomass/train/ID1011485656.jpg
    """
    from build.weights.augment import run

    run(experiment, image, out or Path(f"out/augment-{experiment}.png"), count, depth, as_json)


@verbs.command("report")
def report_verb(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name, e.g. v7.")],
    run_folder: Annotated[Path | None, typer.Option("--run", help="Its run/ folder; the newest by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="The competition's folder, for truth and photographs.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; out/reports/<experiment>.html by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained page on an experiment: verdict, scores, folds, curves, diagnostics, bundle, rehearsal.

    Example: python -m build report demo
    """
    from build.report.command import run

    run(experiment, run_folder, data, out, as_json)

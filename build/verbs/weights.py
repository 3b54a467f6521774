"""Verbs of weights: pretrained files and bundles."""

from pathlib import Path
from typing import Annotated

import typer

from build.verbs.options import AsJson

verbs = typer.Typer()


@verbs.command("weights")
def weights_verb(
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name; without it, list them.")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="The downloaded file, or its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; out/weights/<slug> by default.")] = None,
    part: Annotated[str, typer.Option(help="Which weights of a checkpoint that holds several.")] = "",
    as_json: AsJson = False,
) -> None:
    """List where pretrained weights come from, or make a downloaded file into the dataset that experiments name.

    Example: python -m build weights i2b-vit-base-patch14-dinov2 --from ~/Downloads/dinov2-base
    """
    from build.weights.conversion import run

    run(dataset, source, out, part, as_json)


@verbs.command("external")
def external_verb(
    source: Annotated[Path, typer.Option("--from", help="Folder of the unpacked download.")],
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name.")] = "i2b-grassclover",
    out: Annotated[Path | None, typer.Option(help="Where to; out/external/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make downloaded external data (GrassClover) into the flat dataset that training mounts, and read it back.

    Example: python -m build external --from ~/Downloads/GrassClover
    """
    from build.weights.external import run

    run(dataset, source, out, as_json)


@verbs.command("bundle")
def bundle_verb(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run/ folder that the training left.")],
    out: Annotated[Path | None, typer.Option(help="Where to; out/bundles/<experiment> by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Competition folder: measure what half precision costs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a training run into a flat folder ready for a Kaggle dataset: fp16 weights and a manifest.

    Example: python -m build bundle out/rehearsal/working/run --data data/csiro-biomass
    """
    from build.weights.bundle import run

    run(run_folder, out, data, as_json)


@verbs.command("bundle-sizes")
def bundle_sizes_verb(as_json: AsJson = False) -> None:
    """Write the bundles of v4, v5, v7 and v8 with random weights, weigh them, and write docs/bundle-sizes.md.

    Example: python -m build bundle-sizes
    """
    from build.weights.bundle_sizes import run

    run(as_json)

"""The verbs of weights, and of what a model is made of."""

from pathlib import Path
from typing import Annotated

import typer

from build.core.errors import UsageError
from build.core.options import AsJson


def experiments_verb(as_json: AsJson = False) -> None:
    """List the experiments: backbone, size, minutes, score.

    With parameters, folds, bundle, projected minutes on T4s and the seed's score.

    Example: python -m build experiments
    """
    from build.weights.experiment_list import run

    run(as_json)


def describe_verb(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name, e.g. v8.")] = "",
    bundle_sizes: Annotated[
        bool,
        typer.Option("--bundle-sizes", help="Instead, write docs/bundle-sizes.md: v4, v5, v7, v8 beside the seed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count an experiment's layers, parameters and bytes.

    Counted from the network itself, as it is built.

    Example: python -m build describe v8 --json

    Example: python -m build describe --bundle-sizes
    """
    if bool(experiment) == bundle_sizes:
        raise UsageError("describe one EXPERIMENT (`python -m build experiments` lists them), or give --bundle-sizes")
    if bundle_sizes:
        from build.weights.bundle_sizes import run

        run(as_json)
    else:
        from build.weights.describe import run_describe

        run_describe(experiment, as_json)


def augment_verb(
    experiment: Annotated[str, typer.Option(help="Whose augmentation preset and size.")],
    image: Annotated[Path, typer.Option(help="A photograph.")],
    out: Annotated[Path | None, typer.Option(help="The PNG to write; out/augment-<experiment>.png by default.")] = None,
    count: Annotated[int, typer.Option(help="How many augmented pictures, beside the original.")] = 15,
    depth: Annotated[Path | None, typer.Option(help="Folder of a depth model: show the maps that turn along.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet of an experiment's augmentation.

    Example: python -m build augment --experiment v8 --image data/csiro-biomass/train/ID1011485656.jpg
    """
    from build.weights.augment import run

    run(experiment, image, out or Path(f"out/augment-{experiment}.png"), count, depth, as_json)


def weights_verb(
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name; without it, list them.")] = "",
    source: Annotated[Path | None, typer.Option("--from", help="The downloaded file, or its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; out/weights/<slug> by default.")] = None,
    part: Annotated[str, typer.Option(help="Which weights of a checkpoint that holds several.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a downloaded pretrained file into a dataset.

    Without a file it lists where the weights of each experiment come from.

    Example: python -m build weights i2b-vit-base-patch14-dinov2 --from ~/Downloads/dinov2-base
    """
    from build.weights.conversion import run

    run(dataset, source, out, part, as_json)


def external_verb(
    source: Annotated[Path, typer.Option("--from", help="Folder of the unpacked download.")],
    dataset: Annotated[str, typer.Argument(help="Slug that the experiments name.")] = "i2b-grassclover",
    out: Annotated[Path | None, typer.Option(help="Where to; out/external/<slug> by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make downloaded GrassClover into a flat dataset.

    The dataset that training mounts; it is read back.

    Example: python -m build external --from ~/Downloads/GrassClover
    """
    from build.weights.external import run

    run(dataset, source, out, as_json)


def pseudo_label_verb(
    experiment: Annotated[str, typer.Option(help="The recipe to train on the labels.")],
    data: Annotated[Path, typer.Option(help="The competition's folder.")],
    bundle: Annotated[list[Path] | None, typer.Option(help="Folder of a bundle of the same split; repeat.")] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="Folder of photographs; repeat. By default the test set's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to; the folder's name becomes the dataset's.")] = None,
    set_values: Annotated[list[str] | None, typer.Option("--set", help="field=value …, as in the training.")] = None,
    max_spread_g: Annotated[float | None, typer.Option(help="Drop photographs on which the folds differ more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Label unweighed photographs with a bundle.

    Fold by fold: pseudo_labels.csv for another training.

    Example: python -m build pseudo-label --experiment demo --data out/demo/competition --bundle out/demo/bundle
    """
    from build.weights.pseudo_label import run

    run(experiment, data, bundle or [], images or [], out, set_values or [], max_spread_g, as_json)


def bundle_verb(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run/ folder that the training left.")],
    out: Annotated[Path | None, typer.Option(help="Where to; out/bundles/<experiment> by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Competition folder: measure what half precision costs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a training run into a folder for a dataset.

    Weights in fp16, and a manifest.

    Example: python -m build bundle out/rehearsal/working/run --data data/csiro-biomass
    """
    from build.weights.bundle import run

    run(run_folder, out, data, as_json)

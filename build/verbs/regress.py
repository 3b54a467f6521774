"""The verbs of this part, as an app of its own that the command line takes in."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]
# typer wants an Enum where an option is repeated.
Pooling = StrEnum("Pooling", ["own", "cls", "mean", "max", "min", "gem"])
Part = StrEnum("Part", ["whole", "left", "right", "top", "bottom"])


@app.command("features")
def features_verb(
    experiment: Annotated[str, typer.Option(help="Whose backbone, size and normalisation; any experiment's.")],
    out: Annotated[Path, typer.Option(help="The .npz to write: image_id, features, and what made them.")],
    train_csv: Annotated[Path | None, typer.Option(help="train.csv; its photographs lie beside it.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs; without train.csv, all in it.")] = None,
    pretrained: Annotated[list[Path] | None, typer.Option(help="Folder of the backbone's weights dataset.")] = None,
    height: Annotated[list[int] | None, typer.Option(help="A scale: the pictures' height in px; repeat.")] = None,
    part: Annotated[list[Part] | None, typer.Option(help="Of the photograph, a picture of its own; repeat.")] = None,
    layer: Annotated[list[int] | None, typer.Option(help="Counted from the last, which is 1; repeat.")] = None,
    pooling: Annotated[list[Pooling] | None, typer.Option(help="Of each layer; own: the backbone's; repeat.")] = None,
    set_values: Annotated[list[str] | None, typer.Option("--set", help="field=value …, e.g. backbone=…")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photographs at once.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Make frozen features of photographs, once through the backbone for each part and scale, for `regress` to read.

    Example: python -m build features --experiment v7 --train-csv DIR/train.csv --part left --part right --pooling cls
    --pooling mean --pretrained out/weights/i2b-vit-base-patch14-dinov2 --out out/features/v7.npz
    """
    from build.search.regress.extraction import run

    run(
        experiment,
        train_csv=train_csv,
        images=images,
        out=out,
        pretrained=pretrained or [],
        heights_px=height or [],
        parts=[str(one) for one in part or ()],
        layers=layer or [],
        poolings=[str(one) for one in pooling or ()],
        set_values=set_values or [],
        batch_size=batch_size,
        as_json=as_json,
    )


@app.command("regress")
def regress_verb(
    features: Annotated[list[Path], typer.Option(help="An .npz of image_id and features; repeat to join several.")],
    train_csv: Annotated[Path, typer.Option(help="The competition's train.csv.")],
    report: Annotated[Path, typer.Option(help="The JSON to write; predictions go beside it, as .oof.csv.")],
    experiment: Annotated[
        str, typer.Option(help="Keep the regressor in out/regressors/NAME/, from which `bundle` makes a bundle.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the draws, the forest and the networks.")] = 42,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result does not depend on it.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Fit regressors on frozen features, everything chosen inside nested folds; write scores and their interval.

    Example: python -m build regress --features F.npz --train-csv DIR/train.csv --report out/regress.json
    """
    from build.search.regress.command import run

    run(
        as_json,
        features=features,
        train_csv=train_csv,
        report_file=report,
        experiment=experiment,
        seed=seed,
        jobs=jobs,
    )

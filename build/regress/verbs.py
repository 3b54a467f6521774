"""The verb of this part, as an app of its own that the command line takes in."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command("regress")
def regress_verb(
    features: Annotated[list[Path], typer.Option(help="An .npz of image_id and features; repeat to join several.")],
    train_csv: Annotated[Path, typer.Option(help="The competition's train.csv.")],
    report: Annotated[Path, typer.Option(help="The JSON to write; predictions go beside it, as .oof.csv.")],
    experiment: Annotated[str, typer.Option(help="Keep the regressor in out/regressors/NAME/.")] = "",
    seed: Annotated[int, typer.Option(help="Of the draws, the forest and the networks.")] = 42,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result does not depend on it.")] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")
    ] = False,
) -> None:
    """Fit regressors on frozen features, everything chosen inside nested folds; write scores and their interval.

    Example: python -m build regress --features F.npz --train-csv DIR/train.csv --report out/regress.json
    """
    from build.regress.command import run

    run(
        as_json,
        features=features,
        train_csv=train_csv,
        report_file=report,
        experiment=experiment,
        seed=seed,
        jobs=jobs,
    )

"""The verbs of honest validation, as the command line shows them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]
Files = Annotated[
    list[str], typer.Argument(metavar="A B …", help="Out-of-fold CSVs or run folders; NAME=PATH gives it a name.")
]
TrainCsv = Annotated[
    Path | None, typer.Option(help="train.csv with the truth; not needed if a file holds truth, State and date.")
]


@app.command("compare")
def compare_verb(
    files: Files,
    train_csv: TrainCsv = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say which out-of-fold file is better and how sure that is: official score, paired intervals over groups, leaks.

    Example: python -m build compare out/runs/v5/run out/runs/v7/run --train-csv data/csiro-biomass/train.csv
    """
    from build.scores.command import run

    run(files, train_csv, as_json, html)


@app.command("blend")
def blend_verb(
    files: Files,
    train_csv: TrainCsv = None,
    constraint: Annotated[
        Literal["none", "projection", "biological", "average"], typer.Option(help="Applied after the blend.")
    ] = "projection",
    write: Annotated[str, typer.Option(help="Make what is recommended an ensemble of this name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Blend out-of-fold files: best single, mean and a nested blend, with what is gained and whether that is carried.

    Example: python -m build blend v5=out/v5.csv v7=out/v7.csv --train-csv data/csiro-biomass/train.csv --write v5_v7
    """
    from build.scores.blend_command import run

    run(files, train_csv, constraint, write, as_json)


@app.command("constraints")
def constraints_verb(files: Files, train_csv: TrainCsv = None, as_json: AsJson = False) -> None:
    """Say what each constraint gains on out-of-fold files, with paired intervals over groups.

    Example: python -m build constraints out/v5.csv out/v7.csv --train-csv data/csiro-biomass/train.csv
    """
    from build.scores.constraint_comparison import run

    run(files, train_csv, as_json)


@app.command("diagnose")
def diagnose_verb(
    oof_or_run: Annotated[
        str, typer.Argument(metavar="OOF_OR_RUN", help="An out-of-fold CSV or a run's folder; NAME=PATH names it.")
    ],
    train_csv: TrainCsv = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder with the photographs: shows the worst, finds duplicates.")
    ] = None,
    submission: Annotated[Path | None, typer.Option(help="The same model's predictions on the test set.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what one model gets wrong and where: residuals, worst images, calibration, zeros, identities, shift, leaks.

    Example: python -m build diagnose out/runs/v5/run --train-csv data/csiro-biomass/train.csv --html out/v5.html
    """
    from build.report.diagnostics.command import run

    run(oof_or_run, train_csv, images, submission, as_json, html)


@app.command("board")
def board_verb(
    scores: Annotated[Path, typer.Option(help="The ledger.")] = Path("docs/scores.csv"),
    published: Annotated[Path, typer.Option(help="What others have published.")] = Path("docs/published-scores.csv"),
    cv: Annotated[float | None, typer.Option(help="Out-of-fold score of a new model.")] = None,
    experiment: Annotated[str, typer.Option(help="Instead of --cv: an experiment trained here.")] = "",
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold CV against public scores, and say what a new model may expect on the board, with its interval.

    Example: python -m build board --experiment v7 --html board.html
    """
    from build.report.board_command import run

    run(scores, published, cv, experiment, html, as_json)

"""The verbs of honest validation, as the command line shows them."""

from pathlib import Path
from typing import Annotated

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
    from build.validation.command import run

    run(files, train_csv, as_json, html)

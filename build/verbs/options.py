"""Options that several verbs have."""

from typing import Annotated, Literal

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]
Layout = Annotated[
    Literal["new", "legacy"],
    typer.Option(help="Where Kaggle mounts inputs: new (input/datasets/OWNER/SLUG) or legacy."),
]

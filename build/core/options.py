"""Options that verbs of several rooms have."""

from typing import Annotated, Literal

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")]
Parameters = Annotated[bool, typer.Option("--parameters", help="Sync the values of the parameters cell, too.")]
Conflicts = Annotated[
    Literal["file", "source"],
    typer.Option(help="Where conflict markers go: a file in out/sync/conflicts/, or the source itself."),
]

"""Verbs of the way back: what was edited in a notebook returns to the sources."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from build.verbs.options import AsJson

verbs = typer.Typer()

Notebook = Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="Any copy of a built notebook.")]
Parameters = Annotated[bool, typer.Option("--parameters", help="Bring home the values of the parameters cell, too.")]


@verbs.command("sync")
def sync_verb(
    notebook: Notebook,
    parameters: Parameters = False,
    conflicts: Annotated[
        Literal["file", "source"],
        typer.Option(help="Where conflict markers go: a file in out/sync/conflicts/, or the source itself."),
    ] = "file",
    as_json: AsJson = False,
) -> None:
    """Bring a notebook's edits home to kernel_src/, all of them or none.

    Example: python -m build sync notebooks/i2b-v1-infer/i2b-v1-infer.ipynb
    """
    from build.sync.command import run_sync

    run_sync(notebook, as_json, parameters=parameters, conflicts=conflicts)


@verbs.command("diff")
def diff_verb(notebook: Notebook, parameters: Parameters = False, as_json: AsJson = False) -> None:
    """Show what would come home from a notebook; nothing is written.

    Example: python -m build diff notebooks/i2b-v1-infer/i2b-v1-infer.ipynb
    """
    from build.sync.command import run_diff

    run_diff(notebook, as_json, parameters=parameters)


@verbs.command("watch")
def watch_verb(
    experiment: Annotated[
        str, typer.Option(help="Build only this one's notebooks; every experiment's by default.")
    ] = "",
) -> None:
    """Build when a source changes, sync when a notebook is saved; for VS Code and any other editor.

    Example: python -m build watch --experiment v1
    """
    from build.sync.watch import watch

    try:
        watch(experiment=experiment)
    except KeyboardInterrupt:
        print("watching ended")


@verbs.command("pull-kernel")
def pull_kernel_verb(
    experiment: Annotated[str, typer.Option(help="Whose notebook.")],
    kernel: Annotated[str, typer.Option(help="train or infer.")] = "infer",
    parameters: Parameters = False,
    conflicts: Annotated[
        Literal["file", "source"],
        typer.Option(help="Where conflict markers go: a file in out/sync/conflicts/, or the source itself."),
    ] = "file",
    yes: Annotated[bool, typer.Option("--yes", help="Bring it home without asking; the diff is shown anyway.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring home what was edited on Kaggle, once its diff is agreed to: three-way into the sources.

    Example: python -m build pull-kernel --experiment v1
    """
    from build.kaggle.pull import run_pull
    from build.notebooks.builder import check_notebook

    check_notebook(experiment, kernel)
    run_pull(experiment, kernel, as_json, parameters=parameters, conflicts=conflicts, yes=yes)


@verbs.command("lab")
def lab_verb(
    experiment: Annotated[str, typer.Option(help="Open this one's inference notebook.")] = "",
    port: Annotated[int, typer.Option(help="On loopback.")] = 8888,
) -> None:
    """Open JupyterLab on the built notebooks; each save brings the edits home.

    Example: python -m build lab --experiment v1
    """
    from build.sync.lab import run

    run(experiment, port)

"""The verbs of the way back: what was edited in a notebook returns to the sources."""

from pathlib import Path
from typing import Annotated

import typer

from build.core.errors import UsageError
from build.core.options import AsJson, Conflicts, Parameters

Notebook = Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="Any copy of a built notebook.")]


def sync_verb(
    notebook: Notebook,
    parameters: Parameters = False,
    conflicts: Conflicts = "file",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change in the sources; nothing is written.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="Where the files lie of a notebook that `stitch` has made in files mode.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a notebook's edits back into kernel_src/.

    All of them, or none. Those of a notebook in files mode go into its files, below --root.

    Example: python -m build sync notebooks/i2b-demo-infer/i2b-demo-infer.ipynb --dry-run
    """
    from build.sync.adopted_sync import adopted_card, sync_adopted
    from build.sync.file_sync import lacks_root, run_file_sync
    from build.sync.notebook_sync import run_diff, run_sync

    if root is not None:
        run_file_sync(notebook, root, as_json, dry_run=dry_run, conflicts=conflicts)
    elif (card := adopted_card(notebook)) is not None:
        sync_adopted(notebook, card, as_json, dry_run=dry_run, conflicts=conflicts)
    elif lacks_root(notebook):
        raise UsageError(f"{notebook} holds the files of a script → name the folder where they lie: --root DIR")
    elif dry_run:
        run_diff(notebook, as_json, parameters=parameters)
    else:
        run_sync(notebook, as_json, parameters=parameters, conflicts=conflicts)


def watch_verb(
    experiment: Annotated[
        str, typer.Option(help="Build only this one's notebooks; every experiment's by default.")
    ] = "",
) -> None:
    """Build and sync as files are saved, in any editor.

    A changed source is built, a saved notebook synced: for VS Code and any other editor.

    Example: python -m build watch --experiment v1
    """
    from build.sync.watch import watch

    try:
        watch(experiment=experiment)
    except KeyboardInterrupt:
        print("watching ended")


def lab_verb(
    experiment: Annotated[str, typer.Option(help="Open this one's inference notebook.")] = "",
    port: Annotated[int, typer.Option(help="On loopback.")] = 8888,
) -> None:
    """Open JupyterLab on the built notebooks; saving syncs.

    Example: python -m build lab --experiment v1
    """
    from build.sync.lab import run

    run(experiment, port)

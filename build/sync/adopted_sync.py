"""The way back of an adopted kernel's notebook that holds files: into the folder that its card names."""

import contextlib
import io
from pathlib import Path

from build.core.errors import UsageError
from build.notebooks.adopted import adopted_cards
from build.notebooks.base import noted_slug
from build.notebooks.edited_cells import built_from
from build.notebooks.notebook_file import NotANotebook, read_bytes
from build.notebooks.synced import mark_synced
from build.sync.file_sync import look, read_files_notebook, run_file_sync
from build.sync.notebook_sync import ROOT


def adopted_folder(notebook: Path, root: Path = ROOT) -> Path | None:
    """Return where the files lie of the adopted kernel that a notebook is of; None where it holds none or is of none.

    Which one it is of says the note of its build; of a notebook that was built elsewhere, its name.

    Raises:
        CheckFailed: the card of an adopted kernel is not as it should be.
    """
    try:
        content = read_bytes(notebook)
        if read_files_notebook(content) is None:
            return None
    except (NotANotebook, UsageError):  # said by whoever reads it next
        return None
    names = (noted_slug(root, built_from(content)), notebook.stem)
    cards = {card.slug: card for card in adopted_cards(root)}
    return next((cards[name].folder for name in names if name in cards), None)


def sync_adopted(
    notebook: Path,
    folder: Path,
    as_json: bool = False,
    *,
    dry_run: bool = False,
    conflicts: str = "file",
    root: Path = ROOT,
) -> None:
    """Write the edited files of such a notebook into its folder; a build may then write over it.

    Raises:
        CheckFailed: something was refused, or both sides changed the same lines.
        UsageError: there is no such notebook.
    """
    run_file_sync(notebook, folder, as_json, dry_run=dry_run, conflicts=conflicts, root=root)
    if dry_run:
        return
    content, _, left = look(notebook, folder, root)
    if left.complete and not left.texts:
        mark_synced(root, content)


def lines_of_sync(notebook: Path, folder: Path, root: Path = ROOT) -> list[str]:
    """Do the same, and return what it prints line by line, nothing where there was nothing to do.

    Raises:
        CheckFailed: see `sync_adopted`.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        sync_adopted(notebook, folder, root=root)
    return [line for line in printed.getvalue().splitlines() if line.startswith(("changed", "stays"))]

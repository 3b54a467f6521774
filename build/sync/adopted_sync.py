"""The way back of an adopted kernel's notebook that holds files: into the folder that its card names."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

from build.core.errors import UsageError
from build.notebooks.adopted import adopted_cards, stitch_adopted
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.base import noted_slug
from build.notebooks.edited_cells import built_from
from build.notebooks.notebook_file import NotANotebook, read_bytes
from build.notebooks.synced import mark_synced
from build.stitch.file_cells import written_by
from build.sync.file_sync import look, read_files_notebook, run_file_sync
from build.sync.notebook_sync import ROOT
from build.sync.sync_result import SyncResult


def adopted_card(notebook: Path, root: Path = ROOT) -> AdoptedCard | None:
    """Return the card of the adopted kernel that a notebook of files is of; None where it holds none or is of none.

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
    return next((cards[name] for name in names if name in cards), None)


def look_into(notebook: Path, card: AdoptedCard, root: Path = ROOT) -> SyncResult:
    """Find what such a notebook changes; nothing is written.

    Raises:
        CheckFailed: a file that it lists cannot be read, or the sources of today cannot be stitched.
        UsageError: there is no such notebook.
    """
    return look(notebook, card.folder, root, _own_cells(card))[2]


def sync_adopted(
    notebook: Path,
    card: AdoptedCard,
    as_json: bool = False,
    *,
    dry_run: bool = False,
    conflicts: str = "file",
    root: Path = ROOT,
) -> None:
    """Write the edited files of such a notebook into its folder; a build may then write over it.

    Not where a cell that writes no file was edited: the command line, which is the card's, or one of somebody's own.

    Raises:
        CheckFailed: something was refused, or both sides changed the same lines.
        UsageError: there is no such notebook.
    """
    own = _own_cells(card)
    run_file_sync(notebook, card.folder, as_json, dry_run=dry_run, conflicts=conflicts, root=root, own=own)
    if dry_run:
        return
    content, _, left = look(notebook, card.folder, root, own)
    if left.complete and not left.texts:
        mark_synced(root, content)


def lines_of_sync(notebook: Path, card: AdoptedCard, root: Path = ROOT) -> list[str]:
    """Do the same, and return what it prints line by line, nothing where there was nothing to do.

    Raises:
        CheckFailed: see `sync_adopted`.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        sync_adopted(notebook, card, root=root)
    return [line for line in printed.getvalue().splitlines() if line.startswith(("changed", "stays"))]


def _own_cells(card: AdoptedCard) -> list[str]:
    """Return the texts of the cells that write no file, as the build has them."""
    cells = stitch_adopted(replace(card, mode="files")).cells
    return [cell.source for cell in cells if cell.kind != "code" or written_by(cell.source) is None]

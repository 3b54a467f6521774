"""Which edited notebooks were written back whole: a build may overwrite those, as its own."""

import hashlib
import json
from pathlib import Path

from build.core.errors import UsageError
from build.notebooks.edited_cells import parse
from build.notebooks.writing import SYNC
from kernel_src.runtime.files import write_atomically

HOME = SYNC / "home"


def mark_synced(root: Path, content: bytes) -> None:
    """Note that every edit of this notebook is in the sources."""
    path = root / HOME / _digest(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda draft: draft.write_bytes(b""))


def is_synced(root: Path, content: bytes) -> bool:
    """Tell whether every edit of this notebook was brought into the sources; outputs do not count."""
    try:
        return (root / HOME).is_dir() and (root / HOME / _digest(content)).is_file()
    except UsageError:  # what is no notebook brings nothing home
        return False


def _digest(content: bytes) -> str:
    edited = parse(content)
    cells = [[cell.kind, cell.claim, cell.text] for cell in edited.cells]
    return hashlib.sha256(json.dumps([edited.sha256, cells]).encode()).hexdigest()

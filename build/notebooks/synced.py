"""What syncs have noted: the notebooks written back whole, and what the last sync of each file wrote back.

A build may overwrite a notebook that was written back whole, as its own.

A notebook is saved many times before it is built again. From the second save on its build is no longer the nearest
common ancestor: merged from there, a line edited twice would conflict with itself, and a function written back
with the first save could be written back a second time. So each sync leaves the sources as that file had them.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from build.core.errors import UsageError
from build.notebooks.checked import is_relative_name
from build.notebooks.edited_cells import parse
from build.notebooks.writing import SYNC, put

SYNCED, LAST_SYNC = SYNC / "synced", SYNC / "last_sync"


def mark_synced(root: Path, content: bytes) -> None:
    """Note that every edit of this notebook is in the sources."""
    put(root / SYNCED / _digest(content), b"")


def is_synced(root: Path, content: bytes) -> bool:
    """Return whether every edit of this notebook is in the sources; outputs do not count."""
    try:
        return (root / SYNCED).is_dir() and (root / SYNCED / _digest(content)).is_file()
    except UsageError:  # what is not a notebook was never synced
        return False


def recall(root: Path, notebook: Path | None, sha256: str) -> dict[str, str]:
    """Return the sources that the last sync of this file had changed against this build, by their paths."""
    if notebook is None:
        return {}
    try:
        noted = json.loads(_entry(root, notebook).read_bytes())
        texts = dict(noted["sources"]) if noted["build"] == sha256 else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # never synced, or damaged: the build itself is ancestor enough
    return texts if all(is_relative_name(where) and isinstance(text, str) for where, text in texts.items()) else {}


def note(root: Path, notebook: Path, sha256: str, texts: Mapping[str, str]) -> None:
    """Note what was written back; called once it is in the sources: noted before, it would never get there."""
    noted = {"notebook": str(notebook), "build": sha256, "sources": dict(texts)}
    put(_entry(root, notebook), (json.dumps(noted, indent=2) + "\n").encode())


def _entry(root: Path, notebook: Path) -> Path:
    return root / LAST_SYNC / f"{hashlib.sha256(os.fsencode(notebook.resolve())).hexdigest()[:16]}.json"


def _digest(content: bytes) -> str:
    edited = parse(content)
    cells = [[cell.kind, cell.claim, cell.text] for cell in edited.cells]
    return hashlib.sha256(json.dumps([edited.sha256, cells]).encode()).hexdigest()

"""What an earlier sync of the same file wrote back: the last text that notebook and sources had in common.

A notebook is saved many times before it is built again. From the second save on its build is no longer the nearest
common ancestor: merged from there, a line edited twice would conflict with itself, and a function written back
with the first save could be written back a second time. So each sync leaves the sources as that file had them.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from build.notebooks.checked import is_source_name
from build.notebooks.writing import SYNC
from kernel_src.runtime.files import write_json

EARLIER = SYNC / "earlier"


def recall(root: Path, notebook: Path | None, sha256: str) -> dict[str, str]:
    """Return the sources that the last sync of this file had changed against this build, by their paths."""
    if notebook is None:
        return {}
    try:
        noted = json.loads(_entry(root, notebook).read_bytes())
        texts = dict(noted["sources"]) if noted["build"] == sha256 else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # never synced, or damaged: the build itself is ancestor enough
    return texts if all(is_source_name(where) and isinstance(text, str) for where, text in texts.items()) else {}


def note(root: Path, notebook: Path, sha256: str, texts: Mapping[str, str]) -> None:
    """Note what was written back; called once it is in the sources: noted before, it would never get there."""
    entry = _entry(root, notebook)
    entry.parent.mkdir(parents=True, exist_ok=True)
    write_json(entry, {"notebook": str(notebook), "build": sha256, "sources": dict(texts)})


def _entry(root: Path, notebook: Path) -> Path:
    return root / EARLIER / f"{hashlib.sha256(os.fsencode(notebook.resolve())).hexdigest()[:16]}.json"

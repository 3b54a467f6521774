"""What the files of notebooks in files mode were when they were stitched, by content: the base of a three-way merge.

`python -m build stitch` notes them in `out/builds/files/`, for as long as a build is kept, and the notebook that it has
written: one that is not noted was edited. A text is used only if it hashes to the name that it has.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from build.notebooks.base import BUILDS, LIMIT_S
from build.notebooks.writing import SYNC, put
from kernel_src.runtime.manifest import checked_sha256

TEXTS, LAST_SYNC = BUILDS / "files", SYNC / "last_file_sync"


def sha256_of_text(text: str) -> str:
    """Return the hash of a text as a file has it."""
    return hashlib.sha256(text.encode()).hexdigest()


def note_texts(root: Path, texts: Iterable[str]) -> None:
    """Note texts by their hashes; those that nobody has stitched for long are forgotten."""
    for text in texts:
        path = root / TEXTS / sha256_of_text(text)
        if path.is_file():
            os.utime(path)
        else:
            put(path, text.encode())
    for path in (root / TEXTS).glob("*"):
        if time.time() - path.stat().st_mtime > LIMIT_S:
            path.unlink(missing_ok=True)


def noted_text(root: Path, sha256: str) -> str | None:
    """Return the text of a hash, None where it was not noted here or is damaged."""
    try:
        text = (root / TEXTS / checked_sha256(sha256)).read_bytes().decode()
    except (OSError, ValueError):
        return None
    return text if sha256_of_text(text) == sha256 else None


def last_sync(root: Path, notebook: Path, build: str) -> dict[str, str]:
    """Return the files as the last sync of this notebook and build had them, of those that it had edited."""
    try:
        noted = json.loads(_entry(root, notebook).read_bytes())
        texts = {str(path): noted_text(root, sha256) for path, sha256 in dict(noted["files"]).items()}
        same = noted["build"] == build
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}  # never synced, or damaged: the build itself is ancestor enough
    return {path: text for path, text in texts.items() if text is not None} if same else {}


def note_sync(root: Path, notebook: Path, build: str, texts: Mapping[str, str]) -> None:
    """Note what a notebook had edited; called once it is in the files."""
    note_texts(root, texts.values())
    noted = {"build": build, "files": {path: sha256_of_text(text) for path, text in texts.items()}}
    put(_entry(root, notebook), (json.dumps(noted, indent=1) + "\n").encode())


def _entry(root: Path, notebook: Path) -> Path:
    return root / LAST_SYNC / f"{hashlib.sha256(os.fsencode(notebook.resolve())).hexdigest()[:16]}.json"

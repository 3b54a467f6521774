"""## Files

A file is either there whole or not there at all: everything that this notebook saves is written beside its place first
and then renamed over it, so a session that is killed never leaves half a submission or half a checkpoint.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"  # beside the weights of a run, and of the bundle that is made from it
WEIGHTS_SUFFIX = ".safetensors"
BUNDLE_FORMAT = 3  # raised when an older notebook could not read a newer bundle rightly


class WeightsError(Exception):
    """A file holds no weights, or weights that do not fit the model; the message names the file, or the keys."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary sibling of `path`, flush it to disk, then rename it over `path`.

    Raises:
        OSError: the folder is missing, read-only or full; `path` is then as it was.
    """
    # The process id keeps two writers apart; the suffix is kept because some writers choose their format by it.
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(draft)
        draft.chmod(0o644)  # safetensors makes its files private, which a Kaggle dataset must not be
        with draft.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically, with the line ends it has."""
    write_atomically(path, lambda draft: draft.write_bytes(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file, read in blocks: the largest bundle is far larger than the memory."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""How a built notebook shows by itself whether somebody changed it since: a digest of its cells in its own metadata.

The seal also covers kernel-metadata.json beside it. So a fresh clone, which has no record of the last build, can tell
"older than the sources" (safe to write over) from "edited by hand" (not ours to destroy). An editor that merely saves
the notebook in another formatting does not break the seal; changed text, cells, and outputs of a run do.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from build.stitch.notebook import Cell, as_json, indented, metadata_of, write
from build.stitch.template import Stitched

SEAL = "kit"  # key in the notebook's metadata


def dump_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Write a metadata file: readable, in the order of its keys, a newline at the end."""
    return (json.dumps(metadata, ensure_ascii=False, indent=2) + "\n").encode()


def seal(stitched: Stitched, metadata: Mapping[str, Any]) -> bytes:
    """Return the notebook, as nbformat writes it, with digests of its cells and of its kernel-metadata.json in it."""
    cells = f"[{','.join(map(_in_digest, stitched.cells))}]"
    sealed = {"cells_sha256": _sha256(cells), "kernel_metadata_sha256": _digest(metadata)}
    own = metadata_of(stitched.sources[-1], stitched.source_sha256)
    return write([indented(cell) for cell in stitched.cells], own | {SEAL: sealed})


def is_untouched(notebook: bytes) -> bool:
    """Tell whether the cells are still those that were sealed; False also for what is not a sealed notebook."""
    return _look(notebook).untouched


def has_outputs(notebook: bytes) -> bool:
    """Tell whether a notebook holds what a run of it left."""
    return _look(notebook).outputs


def vouches_for(notebook: bytes, metadata: bytes) -> bool:
    """Tell whether `metadata` is the kernel-metadata.json that was written with this notebook."""
    sealed = _look(notebook).kernel_metadata_sha256
    return sealed is not None and sealed == _digest(read_object(metadata))


@dataclass(frozen=True)
class _Look:
    """What can be seen of a notebook."""

    untouched: bool
    outputs: bool
    kernel_metadata_sha256: object


@lru_cache(maxsize=64)  # a build asks several times, and `watch` has asked before
def _look(notebook: bytes) -> _Look:
    content = read_object(notebook)
    sealed = _sealed(content)
    try:
        untouched = bool(sealed.get("cells_sha256") == _digest([_digested(cell) for cell in content["cells"]]))
    except (KeyError, TypeError, RecursionError):  # a notebook without cells, or with cells that are none
        untouched = False
    cells = content.get("cells")
    cells = cells if isinstance(cells, list) else []
    outputs = any(isinstance(cell, dict) and bool(cell.get("outputs")) for cell in cells)
    return _Look(untouched, outputs, sealed.get("kernel_metadata_sha256"))


def read_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object; whatever else it is gives an empty one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # also UnicodeDecodeError; nested too deeply
        return {}
    return value if isinstance(value, dict) else {}


def _sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    metadata = content.get("metadata")
    entry = metadata.get(SEAL) if isinstance(metadata, dict) else None
    return entry if isinstance(entry, dict) else {}


def _digested(cell: Mapping[str, Any]) -> list[Any]:
    # nbformat allows the text as one string or as a list of lines; both mean the same.
    return [cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])]


@lru_cache(maxsize=4096)
def _in_digest(cell: Cell) -> str:
    return _compact(_digested(as_json(cell)))


def _digest(value: object) -> str:
    return _sha256(_compact(value))


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""The hash that names a run: the same experiment, changes, sources and data give the same folder, and go on there."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed
from build.notebooks.builder import KERNELS_FOLDER, ROOT

HASH_CHARS = 12


def run_hash(parts: Mapping[str, Any]) -> str:
    """Return a short hash of what a run is made of."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:HASH_CHARS]


def files_sha256(paths: Iterable[Path], root: Path) -> str:
    """Hash the content of files and folders, with their names below `root`."""
    digest = hashlib.sha256()
    found = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()}
    for file in sorted(found):
        with file.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def sources_sha256(kernel: str, parameters: Mapping[str, object], root: Path = ROOT) -> str:
    """Hash the kernel and every module that it needs, as the stitcher does, so that a bundle names its sources.

    Sources that cannot be stitched yet can be tried here all the same; then everything below kernel_src counts.
    """
    from build.stitch import compose

    try:
        return compose(root / KERNELS_FOLDER / f"{kernel}.py", root, parameters).source_sha256
    except CheckFailed:
        return files_sha256(sorted((root / "kernel_src").rglob("*.py")), root)

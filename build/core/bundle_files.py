"""A bundle as the commands make and check it: files with their manifest, whole or not."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_src.runtime.files import sha256_of
from kernel_src.runtime.manifest import MANIFEST_FILE, damage, damaged_files, read_manifest


def file_entry(path: Path) -> dict[str, Any]:
    """Describe one file as a manifest does: bytes and sha256."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def content_sha256(folder: Path) -> str:
    """Return one hash for the files of a dataset's folder: of its manifest, or of names and contents without one."""
    if (folder / MANIFEST_FILE).is_file():
        return sha256_of(folder / MANIFEST_FILE)
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    listed = "".join(f"{path.name} {sha256_of(path)}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def missing_folds_text(config: Mapping[str, Any]) -> str:
    """Say which folds could not be trained, and why, in one line; empty if the run or the bundle is whole."""
    missing = config.get("missing_folds") or {}
    return "; ".join(f"NOT WHOLE: fold {fold} could not be trained ({why})" for fold, why in missing.items())


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Compare every file of a bundle with its manifest and return the manifest.

    Raises:
        BundleError: naming every file that is missing, of another size, or of another sha256; the manifest lists none.
    """
    manifest = read_manifest(folder)
    if damaged := damaged_files(folder, manifest):
        raise damage(folder, damaged)
    return manifest

"""A bundle as the commands make and check it: files with their manifest, whole or not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_src.runtime.files import sha256_of
from kernel_src.runtime.manifest import damage, damaged_files, read_manifest


def file_entry(path: Path) -> dict[str, Any]:
    """Describe one file as a manifest does: bytes and sha256."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


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

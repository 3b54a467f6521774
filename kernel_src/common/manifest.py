"""## The manifest

A dataset on Kaggle can arrive half uploaded. The bundle therefore names each of its files with size and sha256, and the
first thing a notebook does is compare: it stops in the first seconds with the file's name, not after forty minutes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel_src.common.files import sha256_of

BUNDLE_FORMAT = 1  # raised when an older notebook could not read a newer bundle rightly
MANIFEST_FILE, CONFIG_FILE = "manifest.json", "config.json"
ENTRY_KEYS = {"bytes", "sha256"}  # of each file in the manifest


class BundleError(Exception):
    """A bundle is not what its manifest says; the message names the file and the cure."""


def file_entry(path: Path) -> dict[str, Any]:
    """Describe one file as a manifest does: bytes and sha256."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def missing_folds_text(config: Mapping[str, Any]) -> str:
    """Say which folds could not be trained, and why, in one line; empty if the run or the bundle is whole."""
    missing = config.get("missing_folds") or {}
    return "; ".join(f"NOT WHOLE: fold {fold} could not be trained ({why})" for fold, why in missing.items())


def read_bundle_json(folder: Path, name: str) -> dict[str, Any]:
    """Read the manifest or the config of a bundle.

    Raises:
        BundleError: the file is missing, not JSON, or of a newer format.
    """
    path = folder / name
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: upload the bundle again, whole") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not JSON ({error}): upload the bundle again") from None
    if not isinstance(value, Mapping) or not isinstance(value.get("format"), int):
        raise BundleError(f"{path} has no format number: it is not a bundle of this kit")
    if value["format"] > BUNDLE_FORMAT:
        raise BundleError(
            f"{path} has format {value['format']}, this notebook reads up to {BUNDLE_FORMAT}: "
            "build and push the notebook again with the kit that made the bundle"
        )
    return dict(value)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a bundle's manifest; its entry `files` maps each name to bytes and sha256.

    Raises:
        BundleError: it is missing, unreadable, or lists no files.
    """
    manifest = read_bundle_json(folder, MANIFEST_FILE)
    files = manifest.get("files")
    entries = files.values() if isinstance(files, Mapping) else [None]
    if not all(isinstance(entry, Mapping) and set(entry) >= ENTRY_KEYS for entry in entries):
        raise BundleError(f"{folder / MANIFEST_FILE} lists no files with bytes and sha256: make the bundle again")
    return manifest


def damaged_files(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Compare every file of a bundle with its manifest; map the name of each that differs to what is wrong with it."""
    damaged = {}
    for name, entry in sorted(manifest["files"].items()):
        path = folder / name
        try:
            if not path.is_file():
                damaged[name] = "is missing"
            elif path.stat().st_size != entry["bytes"]:
                damaged[name] = f"has {path.stat().st_size:,} bytes, not {entry['bytes']:,}"
            elif sha256_of(path) != entry["sha256"]:
                damaged[name] = "has another sha256: its bytes were changed"
        except OSError as error:
            damaged[name] = f"cannot be read ({error.strerror})"
    return damaged


def damage(folder: Path, damaged: Mapping[str, str]) -> BundleError:
    """Return the error that names every damaged file and the cure."""
    faults = "; ".join(f"{name} {what}" for name, what in damaged.items())
    return BundleError(f"{folder}: {faults} → upload the bundle again and attach its newest version")


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Compare every file of a bundle with its manifest and return the manifest.

    Raises:
        BundleError: naming every file that is missing, of another size, or of another sha256; the manifest lists none.
    """
    manifest = read_manifest(folder)
    if damaged := damaged_files(folder, manifest):
        raise damage(folder, damaged)
    return manifest

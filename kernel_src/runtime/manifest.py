"""## The manifest

A dataset on Kaggle can arrive half uploaded. The bundle therefore names each of its files with size and sha256, and the
first thing a notebook does is compare: it stops in the first seconds with the file's name, not after forty minutes.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kernel_src.runtime.files import BUNDLE_FORMAT, CONFIG_FILE, WEIGHTS_SUFFIX, sha256_of
from kernel_src.runtime.untrusted import checked_count, checked_file_name, checked_text, parsed_json, plain_file, quoted

MANIFEST_FILE = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
ENTRY_KEYS = {"bytes", "sha256"}  # of each file in the manifest


class BundleError(Exception):
    """A bundle is not what its manifest says; the message names the file and the cure."""


def read_bundle_json(folder: Path, name: str) -> dict[str, Any]:
    """Read the manifest or the config of a bundle; every entry that is there has the form that it must have.

    Raises:
        BundleError: the file is missing, not JSON, of a newer format, or holds an entry of another form.
    """
    path = folder / name
    try:
        text = plain_file(folder, name).read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: upload the bundle again, whole") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): upload the bundle again") from None
    except ValueError as error:
        raise BundleError(f"{path} {error}: upload the bundle again, as plain files") from None
    try:
        value = parsed_json(text)
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError too
        raise BundleError(f"{path} is not JSON ({error}): upload the bundle again") from None
    known = value.get("format") if isinstance(value, dict) else None
    if isinstance(known, bool) or not isinstance(known, int) or known < 1:
        raise BundleError(f"{path} has no format number: it is not a bundle of this kit")
    if known > BUNDLE_FORMAT:
        raise BundleError(
            f"{path} has format {known}, this notebook reads up to {BUNDLE_FORMAT}: "
            "build and push the notebook again with the kit that made the bundle"
        )
    for key, check in (MANIFEST_CHECKS if name == MANIFEST_FILE else CONFIG_CHECKS).items():
        if value.get(key) is not None:
            try:
                check(value[key])
            except ValueError as error:
                raise BundleError(f"{path}: {key}: {error}: make the bundle again") from None
    return dict(value)


# %%
def checked_sha256(value: object) -> str:
    """Return a sha256 in hex; ValueError for anything else."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{quoted(value)} is not a sha256 (64 hex digits)")
    return value


def checked_slug(value: object) -> str:
    """Return a slug as Kaggle makes them, lower-case letters, digits and hyphens inside; else ValueError."""
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise ValueError(f"{quoted(value)} is not a slug (a-z, 0-9, hyphens inside)")
    return value


def checked_number(value: object) -> float:
    """Return a finite number as a float; ValueError for anything else, `"1"`, `True` and NaN too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{quoted(value)} is not a finite number")
    return float(value)


# %%
def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{quoted(value)} has no names")
    return value


def _checked_versions(value: Any) -> None:
    for name, version in _mapping(value).items():
        checked_text(name)
        checked_text(version)


def _checked_folds(value: Any) -> None:
    if not isinstance(value, list):
        raise ValueError(f"{quoted(value)} is not a list of file names")
    for name in value:
        if not checked_file_name(name).endswith(WEIGHTS_SUFFIX):
            raise ValueError(f"{quoted(name)} is not a safetensors file")
    if len(set(value)) < len(value):
        raise ValueError("it names a file twice")


def _checked_scores(value: Any) -> None:
    for scores in (_mapping(value), _mapping(value.get("fp16") or {})):  # as trained, and in half precision
        for name, check in SCORE_CHECKS.items():
            if name in scores:
                check(scores[name])


def _checked_means(value: Any) -> None:
    for values in _mapping(value).values():
        checked_number(values)


def _checked_experiment(value: Any) -> None:
    """Check the name, which becomes part of paths; `predictor_from_json` looks at the rest."""
    if "name" in _mapping(value):
        checked_file_name(value["name"])


# %%
def _checked_companion(value: Any) -> None:
    """Check what names the depth model in the bundle, or the frozen backbone beside it."""
    for key, check in COMPANION_CHECKS.items():
        if _mapping(value).get(key):
            check(value[key])


def _checked_files(value: Any) -> None:
    for name, entry in value.items() if isinstance(value, dict) else ():
        checked_file_name(name)
        if isinstance(entry, dict) and set(entry) >= ENTRY_KEYS:  # else it is reported where the manifest is read
            checked_count(entry["bytes"])
            checked_sha256(entry["sha256"])


SCORE_CHECKS: dict[str, Callable[[Any], object]] = {
    "score": checked_number,
    "metric": checked_text,
    "largest_change_g": checked_number,
    "images": checked_count,
    "formula": checked_text,
}
COMPANION_CHECKS: dict[str, Callable[[Any], object]] = {
    "weights": checked_file_name,
    "config": checked_file_name,
    "sha256": checked_sha256,
    "dataset": checked_slug,
}
MANIFEST_CHECKS: dict[str, Callable[[Any], object]] = {
    "files": _checked_files,
    "dataset": checked_slug,
    "experiment": checked_text,
    "source_sha256": checked_text,
    "versions": _checked_versions,
}
CONFIG_CHECKS: dict[str, Callable[[Any], object]] = {
    "competition": checked_text,
    "experiment": _checked_experiment,
    "preprocessing": _mapping,
    "folds": _checked_folds,
    "oof": _checked_scores,
    "target_mean": _checked_means,
    "depth": _checked_companion,
    "backbone": _checked_companion,
    "source_sha256": checked_text,
    "versions": _checked_versions,
}


def config_entry(folder: Path, config: Mapping[str, Any], name: str, wanted: Sequence[str], why: str) -> dict[str, str]:
    """Return an entry of the config, complete.

    Raises:
        BundleError: something in it is missing.
    """
    found = config.get(name)
    entry = dict(found) if isinstance(found, Mapping) else {}
    if lacking := [key for key in wanted if not entry.get(key)]:
        raise BundleError(f"{folder / CONFIG_FILE}: {why.format(lacking=', '.join(lacking))}")
    return entry


# %%
def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a bundle's manifest; its entry `files` maps each name to bytes and sha256.

    Raises:
        BundleError: it is missing, unreadable, or lists no files; or a name in it is not that of a file in the folder.
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
        try:
            path = plain_file(folder, name)
            if path.stat().st_size != entry["bytes"]:
                damaged[name] = f"has {path.stat().st_size:,} bytes, not {entry['bytes']:,}"
            elif sha256_of(path) != entry["sha256"]:
                damaged[name] = "has another sha256: its bytes were changed"
        except FileNotFoundError:
            damaged[name] = "is missing"
        except ValueError as error:
            damaged[name] = str(error)
        except OSError as error:
            damaged[name] = f"cannot be read ({error.strerror})"
    return damaged


def damage(folder: Path, damaged: Mapping[str, str]) -> BundleError:
    """Return the error that names every damaged file and the cure."""
    faults = "; ".join(f"{name} {what}" for name, what in damaged.items())
    return BundleError(f"{folder}: {faults} → upload the bundle again and attach its newest version")

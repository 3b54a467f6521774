"""Faults of the bundles."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.kernel_src.faults.case import ALL, FIRST_SECOND, OTHER_BUNDLES, Case, Told
from tests.kernel_src.faults.planting import (
    ALONE,
    BEFORE_ALL,
    FIRST,
    SECOND,
    WITH_DEPTH,
    Plant,
    flip_byte,
    rewrite_manifest,
)

Spoil = Callable[[Mapping[str, Path]], object]


def _config(slug: str, change: Callable[[dict], object]) -> Spoil:
    """Change a bundle's config and let its manifest agree: made wrongly, not damaged on the way."""

    def spoil(folders: Mapping[str, Path]) -> None:
        path = folders[slug] / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))
        rewrite_manifest(folders[slug])

    return spoil


def _flipped(slug: str, *names: str) -> Spoil:
    return lambda folders: [flip_byte(folders[slug] / name) for name in names]


def _cut(slug: str, name: str) -> Spoil:
    """Cut a file short and let the manifest agree."""

    def spoil(folders: Mapping[str, Path]) -> None:
        path = folders[slug] / name
        path.write_bytes(path.read_bytes()[:100])
        rewrite_manifest(folders[slug])

    return spoil


def _flip_a_mean(folders: Mapping[str, Path]) -> None:
    """Change a digit of the training means: still JSON, but wrong."""
    path = folders[ALONE] / "config.json"
    text = path.read_text()
    at = text.index('"Dry_Total_g": 40.0')
    path.write_text(text[:at] + '"Dry_Total_g": 90.0' + text[at + 19 :])


INTACT = "what of it is intact, else the other bundles"
PAIR = (FIRST, SECOND)
DEPTH_PAIR = (FIRST, WITH_DEPTH)


def _bundle(
    fault: str, spoil: Spoil, *told: Told, strict: str, bundles: tuple[str, ...] = PAIR, **more: object
) -> Case:
    plant = Plant(bundles=bundles, spoil=spoil)
    return Case(
        fault=fault, kind="bundle", plant=plant, strict=strict, rerun=told, **({"strict_cell": FIRST_SECOND} | more)
    )


def _gone(slug: str, what: str) -> Told:
    return Told(part="bundle", what=f"{slug} cannot be used: {what}", fallback=OTHER_BUNDLES)


def _damaged(slug: str, what: str) -> Told:
    return Told(part="bundle", what=f"{slug}: {what}", fallback=INTACT)


SHA = "has another sha256"
UNREADABLE_FOLD = """
def sha256_of(path, healthy=sha256_of):
    if path.name == "fold0.safetensors":
        raise OSError(5, "Input/output error", str(path))
    return healthy(path)
"""
BUNDLES = [
    _bundle(
        "a flipped byte in one fold",
        _flipped(ALONE, "fold0.safetensors"),
        _damaged(ALONE, f"fold0.safetensors {SHA}"),
        strict=f"fold0.safetensors {SHA}",
        bundles=(ALONE,),
        by="fold 1",
    ),
    _bundle(
        "flipped bytes in all folds of one bundle of two",
        _flipped(FIRST, "fold0.safetensors", "fold1.safetensors"),
        _damaged(FIRST, f"fold0.safetensors {SHA}: its bytes were changed; fold1.safetensors {SHA}"),
        strict=f"fold1.safetensors {SHA}",
        by=SECOND,
    ),
    _bundle(
        "a flipped byte in the config of one bundle of two",
        _flipped(FIRST, "config.json"),
        _damaged(FIRST, f"config.json {SHA}"),
        _gone(FIRST, ""),
        strict=f"config.json {SHA}",
        by=SECOND,
    ),
    _bundle(
        "no manifest in one bundle of two",
        lambda folders: (folders[FIRST] / "manifest.json").unlink(),
        _gone(FIRST, f"the dataset {FIRST} is not mounted"),
        strict=f"{FIRST} cannot be used",
        by=SECOND,
    ),
    _bundle(
        "one dataset of two not attached",
        lambda folders: shutil.rmtree(folders[FIRST]),
        _gone(FIRST, f"the dataset {FIRST} is not mounted"),
        strict=f"attach the dataset {FIRST}",
        by=SECOND,
    ),
    _bundle(
        "another file where one fold should be, its hash right",
        _cut(ALONE, "fold0.safetensors"),
        Told(part="fold", what=ALONE, fallback="the other folds"),
        strict=f"fold: {ALONE}",
        strict_cell="Predict",
        bundles=(ALONE,),
        by="fold 1",
    ),
    Case(
        fault="a disk that fails while one fold is read",
        kind="bundle",
        plant=Plant(cell=UNREADABLE_FOLD, before=BEFORE_ALL),
        strict="fold0.safetensors cannot be read (Input/output error)",
        strict_cell=FIRST_SECOND,
        rerun=(_damaged(ALONE, "fold0.safetensors cannot be read (Input/output error)"),),
        by="fold 1",
    ),
    _bundle(
        "the only bundle: every fold has a flipped byte",
        _flipped(ALONE, "fold0.safetensors", "fold1.safetensors"),
        _damaged(ALONE, f"fold0.safetensors {SHA}"),
        strict=f"fold0.safetensors {SHA}",
        bundles=(ALONE,),
        mean=ALL,
    ),
    _bundle(
        "the only bundle: a wrong digit in its training means",
        _flip_a_mean,
        _damaged(ALONE, f"config.json {SHA}"),
        _gone(ALONE, ""),
        strict=f"config.json {SHA}",
        bundles=(ALONE,),
        mean=ALL,
        by="no bundle",
    ),
    _bundle(
        "a wrong hash in every bundle",
        lambda folders: [flip_byte(folders[slug] / "fold1.safetensors") for slug in PAIR],
        _damaged(FIRST, f"fold1.safetensors {SHA}"),
        _damaged(SECOND, f"fold1.safetensors {SHA}"),
        strict=f"fold1.safetensors {SHA}",
        by="fold 0",
    ),
    _bundle(
        "a column missing in the bundle's training means",
        _config(ALONE, lambda config: config["target_mean"].pop("GDM_g")),
        _gone(ALONE, "'GDM_g'"),
        strict="'GDM_g'",
        bundles=(ALONE,),
        mean=ALL,
        by="no bundle",
    ),
    _bundle(
        "training means that are not grams",
        _config(ALONE, lambda config: config["target_mean"].update(GDM_g=-1.0)),
        Told(part="bundle", what="are not what the targets can be", fallback=OTHER_BUNDLES),
        strict="are not what the targets can be",
        bundles=(ALONE,),
        mean=ALL,
        by="no bundle",
    ),
    _bundle(
        "depth model missing in one bundle of two",
        lambda folders: (folders[WITH_DEPTH] / "depth.safetensors").unlink(),
        _damaged(WITH_DEPTH, "depth.safetensors is missing"),
        _gone(WITH_DEPTH, ""),
        strict="depth.safetensors is missing",
        bundles=DEPTH_PAIR,
        by=FIRST,
    ),
    _bundle(
        "depth model corrupt in one bundle of two",
        _flipped(WITH_DEPTH, "depth.safetensors"),
        _damaged(WITH_DEPTH, f"depth.safetensors {SHA}"),
        _gone(WITH_DEPTH, ""),
        strict=f"depth.safetensors {SHA}",
        bundles=DEPTH_PAIR,
        by=FIRST,
    ),
    _bundle(
        "depth model corrupt in the only bundle",
        _flipped(WITH_DEPTH, "depth.safetensors"),
        _damaged(WITH_DEPTH, f"depth.safetensors {SHA}"),
        _gone(WITH_DEPTH, ""),
        strict=f"depth.safetensors {SHA}",
        bundles=(WITH_DEPTH,),
        mean=ALL,
    ),
]

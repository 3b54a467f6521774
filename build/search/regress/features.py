"""Reading features: `.npz` files with `image_id` (n,) and `features` (n, F), joined by image."""

import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from build.core.errors import UsageError

# What NumPy and zipfile raise for a folder, an empty file, one that was cut, and one that is something else.
UNREADABLE = (
    ValueError,
    zipfile.BadZipFile,
    AttributeError,
    TypeError,
    OSError,
    EOFError,
    zlib.error,
    NotImplementedError,
)
CURE = "a features file is an .npz of image_id (n,) and features (n, F): `python -m build features` makes one"


def read_features(path: Path) -> dict[str, np.ndarray]:
    """Read one file as image id → features (F,), float64.

    Raises:
        UsageError: it is missing, no such file, holds an image twice, or a number that is not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = sorted(archive)
            lacking = {"image_id", "features"} - set(names)
            if lacking:
                raise UsageError(f"{path} lacks {', '.join(sorted(lacking))}, it has {', '.join(names)}: {CURE}")
            image_ids, features = archive["image_id"], archive["features"]
        if getattr(features, "dtype", np.dtype(object)).kind not in "fiu":
            raise UsageError(f"{path}: its features are {_kind_of(features)}, not real numbers: {CURE}")
        if getattr(image_ids, "dtype", np.dtype(object)).kind not in "USiu":
            raise UsageError(f"{path}: its image_id is {_kind_of(image_ids)}, not text: {CURE}")
        image_ids, features = image_ids.astype(str), features.astype(float)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: {CURE}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: its image_id holds bytes that are no ASCII text: {CURE}") from None
    except UNREADABLE as error:
        what = "it holds Python objects or is no .npz" if "allow_pickle" in str(error) else str(error)
        raise UsageError(f"{path} cannot be read ({what}): {CURE}") from None
    if image_ids.ndim != 1 or features.ndim != 2 or len(image_ids) != len(features) or not features.size:
        raise UsageError(f"{path}: image_id is {image_ids.shape} and features {features.shape}: {CURE}")
    unique, counts = np.unique(image_ids, return_counts=True)
    if (counts > 1).any():
        raise UsageError(f"{path}: {unique[counts > 1][0]} appears twice; which of its rows is meant?")
    if (bad := ~np.isfinite(features).all(1)).any():
        raise UsageError(
            f"{path}: {bad.sum()} images have a feature that is NaN or infinite, first {image_ids[bad][0]}: "
            "half precision overflows in some backbones, make them in fp32"
        )
    return dict(zip(image_ids, features, strict=True))


def _kind_of(array: Any) -> str:
    return f"of type {array.dtype}" if isinstance(array, np.ndarray) else "no array"


def provenance_for(paths: Sequence[Path], experiment: str) -> dict[str, Any]:
    """Return what the one features file of an experiment says of its making, which a notebook will repeat.

    Raises:
        UsageError: there are several files, it does not say, or it was made for another experiment or for none of ours.
    """
    from build.core.settings import find_recipe
    from build.search.regress.extraction import PROVENANCE

    if len(paths) != 1:
        raise UsageError("--experiment takes one --features file: `python -m build features` puts all blocks into one")
    if not find_recipe(experiment, "to fit a regressor for").is_frozen:
        raise UsageError(f"{experiment} is fine-tuned; a regressor belongs to an experiment with head=RegressorHead(…)")
    read_features(paths[0])
    with np.load(paths[0], allow_pickle=False) as archive:
        made_by = json.loads(str(archive[PROVENANCE])) if PROVENANCE in archive else {}
    if not made_by:
        raise UsageError(f"{paths[0]} does not say what made it, so no notebook can make the same: {CURE}")
    if (name := made_by["experiment"]["name"]) != experiment:
        raise UsageError(f"{paths[0]} was made for {name}: make it again with --experiment {experiment}")
    return dict(made_by)


def features_for(paths: Sequence[Path], image_ids: Sequence[str]) -> np.ndarray:
    """Return the features of these images, (n, F), those of several files side by side; other images are ignored.

    Raises:
        UsageError: a file cannot be read or lacks an image.
    """
    blocks = []
    for path in paths:
        of = read_features(path)
        if lacking := [image_id for image_id in image_ids if image_id not in of]:
            raise UsageError(
                f"{path} lacks {len(lacking)} of {len(image_ids)} images, first {lacking[0]}; "
                f"it has {next(iter(of))}: image_id is the photograph's name without .jpg"
            )
        blocks.append(np.stack([of[image_id] for image_id in image_ids]))
    return np.concatenate(blocks, 1)

"""Photographs, a bundle of two folds, and what it predicts in one plain pass."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
from kernel_src.bundle.bundles import BundleRecipe, read_recipe
from kernel_src.runtime.manifest import read_manifest
from tests.kernel_src.tiny import CPU


@pytest.fixture
def paths(tiny_competition: Path, tmp_path: Path) -> list[Path]:
    return [
        Path(shutil.copy(path, tmp_path / path.name)) for path in sorted((tiny_competition / "train").iterdir())[:12]
    ]


@pytest.fixture
def recipe(whole_bundle: Path) -> BundleRecipe:
    return read_recipe(whole_bundle, read_manifest(whole_bundle))


@pytest.fixture
def plain(whole_bundle: Path, paths: list[Path]) -> np.ndarray:
    """What the folds predict, (folds, images, 5), in one plain pass in this process."""
    (grams,) = predict_bundles([load_bundle(whole_bundle)], paths, device=CPU, batch_size=4)
    return grams

"""A bundle with a depth model, for what reads bundles."""

from pathlib import Path

import pytest

from build.weights.bundle import make_bundle
from build.weights.random_weights import random_run
from tests.tiny_depth import TINY_DEPTH, write_tiny_depth


@pytest.fixture(scope="session")
def whole_depth_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, never write it."""
    folder = tmp_path_factory.mktemp("depth-bundles")
    random_run(folder / "run", TINY_DEPTH, write_tiny_depth(folder / "hub"))
    make_bundle(folder / "run", folder / "bundle", slug="i2b-tiny-depth-weights")
    return folder / "bundle"

"""The promise of the whole kit: the notebook computes what the package computes, to the last bit."""

from pathlib import Path

import pytest

from build.weights.bundle import make_bundle
from tests.kernel_src.kernels.running import RUNNERS, TINY, lay_out_kaggle

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_competition: Path) -> dict[str, Path]:
    """Train and infer once from the package and once from the notebook; return the working folders."""
    folders = {}
    for name, run in RUNNERS.items():
        home = tmp_path_factory.mktemp(name)
        training = lay_out_kaggle(home / "train", tiny_competition, {})
        run("train", {"EXPERIMENT": "demo", "CHANGES": TINY}, training, home / "scratch")
        bundle = home / "bundle"
        make_bundle(training / "kaggle/working/run", bundle, slug="i2b-demo-weights")
        inference = lay_out_kaggle(home / "infer", tiny_competition, {"i2b-demo-weights": bundle})
        run("infer", {"BUNDLES": {"i2b-demo-weights": 1.0}}, inference, home / "scratch")
        folders[name] = home
    return folders


def same_bytes(runs: dict[str, Path], path: str) -> bool:
    return (runs["package"] / path).read_bytes() == (runs["notebook"] / path).read_bytes()


def test_trained_weights_are_equal_bit_for_bit(runs: dict[str, Path]) -> None:
    for fold in (0, 1):
        assert same_bytes(runs, f"train/kaggle/working/run/fold{fold}.safetensors")


def test_out_of_fold_predictions_are_equal_bit_for_bit(runs: dict[str, Path]) -> None:
    assert same_bytes(runs, "train/kaggle/working/run/oof.csv")


def test_submissions_are_equal_bit_for_bit(runs: dict[str, Path]) -> None:
    assert same_bytes(runs, "infer/kaggle/working/submission.csv")


def test_bundles_are_equal_bit_for_bit(runs: dict[str, Path]) -> None:
    for name in ("fold0.safetensors", "fold1.safetensors", "config.json", "manifest.json"):
        assert same_bytes(runs, f"bundle/{name}"), name

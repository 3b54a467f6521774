"""The promise of the whole kit: the notebook computes what the package computes, to the last bit.

The package has all optional parts, the notebook those of its card.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from build.weights.bundle import make_bundle
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from tests.kernel_src.kernels.frozen import NAME, WEIGHTS_SLUG, make_frozen_bundle
from tests.kernel_src.kernels.running import RUNNERS, TINY, lay_out_kaggle
from tests.kernel_src.kernels.twins import tiny_twin, twin_datasets

pytestmark = pytest.mark.full
Runs = dict[str, Path]  # "package" and "notebook" → the folder of its runs


def train_and_infer(
    run: Callable[..., str], name: str, changes: Mapping[str, object], datasets: Runs, competition: Path, home: Path
) -> None:
    """Train an experiment with changes, make its bundle and infer, all below `home`."""
    training = lay_out_kaggle(home / "train", competition, datasets)
    parameters = kernel_card(name, "train").parameters | {"CHANGES": dict(changes)}
    del parameters["SOURCE_SHA256"]  # which only the notebook would know
    run("train", parameters, training, home / "scratch")
    make_bundle(training / "kaggle/working/run", home / "bundle", slug=bundle_slug(name))
    inference = lay_out_kaggle(home / "infer", competition, {bundle_slug(name): home / "bundle"})
    run("infer", kernel_card(name, "infer").parameters, inference, home / "scratch")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_competition: Path) -> Runs:
    homes = {way: tmp_path_factory.mktemp(way) for way in RUNNERS}
    for way, run in RUNNERS.items():
        train_and_infer(run, "demo", TINY, {}, tiny_competition, homes[way])
    return homes


@pytest.fixture(scope="module")
def depth(tmp_path_factory: pytest.TempPathFactory, tiny_competition: Path) -> Runs:
    v8 = EXPERIMENTS["v8"]
    datasets = twin_datasets(v8, tmp_path_factory.mktemp("datasets"))
    homes = {way: tmp_path_factory.mktemp(way) for way in RUNNERS}
    for way, run in RUNNERS.items():
        train_and_infer(run, "v8", tiny_twin(v8), datasets, tiny_competition, homes[way])
    return homes


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory, tiny_competition: Path) -> Runs:
    """The bundle is made here once; the two ways infer with it."""
    homes = {way: tmp_path_factory.mktemp(way) for way in RUNNERS}
    with pytest.MonkeyPatch.context() as patch:
        weights, bundle = make_frozen_bundle(tiny_competition, tmp_path_factory.mktemp("frozen"), patch)
    for way, run in RUNNERS.items():
        mounted = {bundle_slug(NAME): bundle, WEIGHTS_SLUG: weights}
        kaggle = lay_out_kaggle(homes[way] / "infer", tiny_competition, mounted)
        run("infer", kernel_card(NAME, "infer").parameters, kaggle, homes[way] / "scratch")
    return homes


def same_bytes(runs: Runs, path: str) -> bool:
    return (runs["package"] / path).read_bytes() == (runs["notebook"] / path).read_bytes()


@pytest.mark.parametrize("kind", ["plain", "depth"])
def test_trained_weights_are_equal_bit_for_bit(kind: str, request: pytest.FixtureRequest) -> None:
    for fold in (0, 1):
        assert same_bytes(request.getfixturevalue(kind), f"train/kaggle/working/run/fold{fold}.safetensors")


@pytest.mark.parametrize("kind", ["plain", "depth"])
def test_out_of_fold_predictions_are_equal_bit_for_bit(kind: str, request: pytest.FixtureRequest) -> None:
    assert same_bytes(request.getfixturevalue(kind), "train/kaggle/working/run/oof.csv")


@pytest.mark.parametrize("kind", ["plain", "depth", "frozen"])
def test_submissions_are_equal_bit_for_bit(kind: str, request: pytest.FixtureRequest) -> None:
    assert same_bytes(request.getfixturevalue(kind), "infer/kaggle/working/submission.csv")


@pytest.mark.parametrize("kind", ["plain", "depth"])
def test_bundles_are_equal_bit_for_bit(kind: str, request: pytest.FixtureRequest) -> None:
    names = ["fold0.safetensors", "fold1.safetensors", "config.json", "manifest.json"]
    for name in names + (["depth.safetensors"] if kind == "depth" else []):
        assert same_bytes(request.getfixturevalue(kind), f"bundle/{name}"), name

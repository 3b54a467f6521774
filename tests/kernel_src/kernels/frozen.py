"""The tiny twin of `frozen_dinov2`: its recipe on timm's own test net, from photographs to a bundle."""

from pathlib import Path

import pytest
import timm
import torch

from build.search.regress import candidates, command, nested, report
from build.search.regress.command import regress
from build.search.regress.extraction import make_features, photographs_of
from build.weights.bundle import make_bundle
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.training.checkpoint import save_tensors

NAME, WEIGHTS_SLUG = "frozen_dinov2", "i2b-test-vit"
TWIN = changed(
    EXPERIMENTS[NAME],
    {"encoder.timm": "test_vit", "encoder.weights": WEIGHTS_SLUG, "pictures.height_px": 32, "pictures.width_px": 32},
)


def quick_families(patch: pytest.MonkeyPatch) -> None:
    """Two families are enough to see what comes of them; one is linear, one has support vectors."""
    two = tuple(family for family in candidates.FAMILIES if family.name in ("ridge", "rbf"))
    for function in (nested.fit_regressor, nested.nested_predictions):
        patch.setitem(function.__kwdefaults__, "families", two)
    patch.setattr(report, "FAMILIES", two)


def write_weights(folder: Path, seed: int = 0) -> Path:
    """Write the dataset of the backbone's weights, which names itself by its folder."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    save_tensors(folder / "model.safetensors", timm.create_model("test_vit", num_classes=0).state_dict())
    return folder


def make_frozen_bundle(
    competition: Path, home: Path, patch: pytest.MonkeyPatch, twin: Experiment = TWIN
) -> tuple[Path, Path]:
    """Go from the photographs to the bundle by features, regress and bundle; return weights dataset and bundle."""
    patch.setitem(EXPERIMENTS, twin.name, twin)
    patch.setattr(command, "REGRESSORS", home / "regressors")
    quick_families(patch)
    weights, train_csv = write_weights(home / WEIGHTS_SLUG), competition / "train.csv"
    make_features(
        twin,
        photographs_of(train_csv, None),
        weights / "model.safetensors",
        home / "features.npz",
        batch_size=4,
        quiet=True,
    )
    regress([home / "features.npz"], train_csv, home / "regress.json", twin.name, jobs=1, quiet=True)
    bundle = home / bundle_slug(twin.name)
    make_bundle(home / "regressors" / twin.name, bundle, slug=bundle_slug(twin.name))
    return weights, bundle

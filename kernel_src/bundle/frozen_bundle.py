"""## Bundles of frozen features

An experiment without fine-tuning brings one regressor as its only fold; its backbone is attached beside the bundle, and
must be the very file that the regressor was fitted with.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernel_src.models.frozen_features import device_for, load_frozen_features, regressor_head
from kernel_src.models.frozen_net import FrozenNet
from kernel_src.models.regressor import load_regressor
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.device import Spread
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.manifest import BundleError, config_entry
from kernel_src.runtime.parts import OptionalPart
from kernel_src.runtime.weight_files import weights_sha256
from kernel_src.runtime.weight_sources import find_weights

BACKBONE_ENTRIES = ("dataset", "sha256")  # of the config's "backbone", where nothing is fine-tuned


def frozen_backbone(folder: Path, config: Mapping[str, Any]) -> Path:
    """Find the weights of the frozen backbone among what is attached, and make sure that they are the right ones.

    Raises:
        BundleError: the config does not say which, they are not attached, or others are.
    """
    why = (
        "nothing is fine-tuned here, but the entry backbone lacks {lacking}: "
        "make the bundle again from what `python -m build regress` left"
    )
    entry = config_entry(folder, config, "backbone", BACKBONE_ENTRIES, why)
    try:
        weights = find_weights(entry["dataset"])
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: the backbone is not in the bundle, and not attached: {error}") from None
    try:
        found = weights_sha256(weights)
    except WeightsError as error:
        raise BundleError(f"{folder}: the backbone that is attached beside it cannot be used: {error}") from None
    if found != entry["sha256"]:
        raise BundleError(
            f"{weights} is not the backbone that the regressor was fitted with (sha256 {found[:12]}…, not "
            f"{entry['sha256'][:12]}…): attach that one, or make features, regressor and bundle again with this one"
        )
    return weights


def frozen_nets(
    experiment: Predictor, backbone: Path, files: Sequence[Path], spread: Spread | None = None
) -> list[FrozenNet]:
    """Load the regressors in `files` and the one backbone that they share; see `load_frozen_features` for `spread`."""
    if not files:
        return []
    features = load_frozen_features(experiment, backbone, spread)
    return [FrozenNet(features, load_regressor(file)).eval() for file in files]


def frozen_line(recipe: Any, share: float) -> str:
    """Describe a BundleRecipe of frozen features in a line."""
    experiment = recipe.experiment
    pictures = ", ".join(f"{one.part} {one.height_px}x{one.width_px}" for one in recipe.framings)
    return (
        f"{experiment.name}: a regressor on frozen features of {experiment.encoder.timm}, pictures {pictures} px "
        f"{recipe.preprocessing.interpolation}, layers {', '.join(map(str, experiment.encoder.layers))} from the "
        f"last, poolings {', '.join(regressor_head(experiment).pool)}, seen upright, share {share:g}, "
        f"out-of-fold R² {recipe.oof_score:.4f}, fitted by sources {recipe.source_sha256[:12]}"
    )


class FrozenParts(OptionalPart):
    """What a bundle of frozen features asks for."""

    part = "frozen"
    device_for = staticmethod(device_for)
    frozen_backbone = staticmethod(frozen_backbone)
    frozen_nets = staticmethod(frozen_nets)
    frozen_line = staticmethod(frozen_line)

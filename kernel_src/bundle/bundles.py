"""## The bundle of weights

Read side: verify the manifest, rebuild the model from the config, load every fold strictly. A key that is missing stays
random without an error in a lenient loader, and nobody learns of it. The frozen depth model lies in the bundle once,
beside the folds that share it. An experiment without fine-tuning brings one regressor as its only fold; its backbone is
attached beside the bundle, and must be the very file that the regressor was fitted with.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_src.data.images import Framing
from kernel_src.data.preprocessing import Preprocessing, framings_of, preprocessing_from_json
from kernel_src.models.backbones import check_backbone
from kernel_src.models.depth import DepthEstimator, load_depth
from kernel_src.models.frozen_features import load_frozen_features
from kernel_src.models.frozen_net import FrozenNet
from kernel_src.models.model import BiomassNet, GramsNet, load_fold
from kernel_src.models.regressor import load_regressor
from kernel_src.recipes.experiment import Experiment, experiment_from_json
from kernel_src.runtime.files import sha256_of
from kernel_src.runtime.manifest import CONFIG_FILE, BundleError, read_bundle_json, verify_manifest
from kernel_src.runtime.weight_sources import find_weights

BACKBONE_ENTRIES = ("dataset", "sha256")  # of the config's "backbone", where nothing is fine-tuned
DEPTH_ENTRIES = ("weights", "config", "sha256")  # of the config's "depth": two file names, and the hash of the weights


@dataclass(frozen=True, kw_only=True)
class BundleRecipe:
    """What a bundle's config says, before any weight is loaded."""

    folder: Path
    experiment: Experiment
    preprocessing: Preprocessing
    folds: tuple[str, ...]  # file names
    depth: Mapping[str, str]  # DEPTH_ENTRIES of the depth model; empty: the experiment needs none
    backbone: Path | None  # the weights of the frozen backbone, where nothing is fine-tuned
    oof_r2: float
    source_sha256: str  # of the sources that trained it

    @property
    def framings(self) -> tuple[Framing, ...]:
        """How its photographs become pictures, as in training."""
        return framings_of(self.experiment, self.preprocessing)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One experiment, ready to predict."""

    folder: Path
    experiment: Experiment
    preprocessing: Preprocessing
    models: list[GramsNet]  # one per fold
    oof_r2: float
    source_sha256: str  # of the sources that trained it
    depth: DepthEstimator | None = None  # frozen, shared by all folds; None: the experiment needs none
    depth_sha256: str = ""

    @property
    def fine_tuned(self) -> list[BiomassNet]:
        """The models that have heads: all of them, or none."""
        return [model for model in self.models if isinstance(model, BiomassNet)]

    @property
    def framings(self) -> tuple[Framing, ...]:
        """How its photographs become pictures, as in training."""
        return framings_of(self.experiment, self.preprocessing)


def read_recipe(folder: Path, manifest: Mapping[str, Any]) -> BundleRecipe:
    """Read what a bundle holds; `manifest` is its own, and covers every file that the config names.

    Raises:
        BundleError: config or manifest lack an entry, contradict each other, or are newer than this notebook; the
            experiment is not one that this notebook knows; or the frozen backbone is not attached, or is another.
    """
    config = read_bundle_json(folder, CONFIG_FILE)
    lacking = [key for key in ("experiment", "preprocessing", "folds", "oof") if not config.get(key)]
    lacking += ["oof.r2"] if config.get("oof") and "r2" not in config["oof"] else []
    lacking += [key for key in ("source_sha256",) if not manifest.get(key)]
    if lacking:
        raise BundleError(f"{folder}: config.json or manifest.json lacks {', '.join(lacking)}: make the bundle again")
    try:
        experiment = experiment_from_json(config["experiment"])
        check_backbone(experiment.backbone)
        preprocessing = preprocessing_from_json(config["preprocessing"])
    except ValueError as error:
        raise BundleError(f"{folder / CONFIG_FILE}: {error}") from None
    depth = _depth_entry(folder, config) if experiment.depth else {}
    named = {CONFIG_FILE, *config["folds"], *(depth[key] for key in ("weights", "config") if depth)}
    if unlisted := sorted(named - set(manifest["files"])):
        raise BundleError(f"{folder}: the manifest does not cover {', '.join(unlisted)}: make the bundle again")
    if depth and (found := manifest["files"][depth["weights"]]["sha256"]) != depth["sha256"]:
        raise BundleError(
            f"{folder / depth['weights']} is not the depth model that config.json names (sha256 {found[:12]}…, not "
            f"{depth['sha256'][:12]}…): it belongs to another bundle; make the bundle again from its run"
        )
    return BundleRecipe(
        folder=folder,
        experiment=experiment,
        preprocessing=preprocessing,
        folds=tuple(config["folds"]),
        depth=depth,
        backbone=_frozen_backbone(folder, config) if experiment.is_frozen else None,
        oof_r2=config["oof"]["r2"],
        source_sha256=manifest["source_sha256"],
    )


def load_recipe(
    recipe: BundleRecipe,
    depth_models: dict[str, DepthEstimator] | None = None,
    folds: Sequence[int] | None = None,
) -> Bundle:
    """Load a bundle's weights, of all folds or of some of them, strictly.

    `depth_models` holds by sha256 those that are loaded already, and takes up the one of this bundle.

    Raises:
        WeightsError: the weights do not fit the model that the config describes.
    """
    estimator = None
    if recipe.depth:
        loaded = {} if depth_models is None else depth_models
        if recipe.depth["sha256"] not in loaded:
            weights, config = (recipe.folder / recipe.depth[key] for key in ("weights", "config"))
            loaded[recipe.depth["sha256"]] = load_depth(weights, config)
        estimator = loaded[recipe.depth["sha256"]]
    wanted = range(len(recipe.folds)) if folds is None else folds
    return Bundle(
        folder=recipe.folder,
        experiment=recipe.experiment,
        preprocessing=recipe.preprocessing,
        models=_models(recipe, [recipe.folder / recipe.folds[fold] for fold in wanted]),
        oof_r2=recipe.oof_r2,
        source_sha256=recipe.source_sha256,
        depth=estimator,
        depth_sha256=recipe.depth.get("sha256", ""),
    )


def _models(recipe: BundleRecipe, files: Sequence[Path]) -> list[GramsNet]:
    """Load the networks of some folds, or the regressors and the one backbone that they share."""
    if recipe.backbone is None:
        return [load_fold(recipe.experiment, file) for file in files]
    if not files:
        return []
    features = load_frozen_features(recipe.experiment, recipe.framings, recipe.backbone)
    return [FrozenNet(features, load_regressor(file)).eval() for file in files]


def load_bundle(folder: Path, depth_models: dict[str, DepthEstimator] | None = None) -> Bundle:
    """Verify and load a bundle; see `load_recipe` for `depth_models`.

    Raises:
        BundleError: a file is missing or altered, config or manifest lack an entry, or the format is newer than this
            notebook.
        WeightsError: the weights do not fit the model that the config describes.
    """
    return load_recipe(read_recipe(folder, verify_manifest(folder)), depth_models)


def load_bundles(folders: Iterable[Path]) -> list[Bundle]:
    """Load several bundles; a depth model that several carry is loaded once and shared by them.

    Raises:
        BundleError, WeightsError: see `load_bundle`.
    """
    depth_models: dict[str, DepthEstimator] = {}
    return [load_bundle(folder, depth_models) for folder in folders]


def _entry(folder: Path, config: Mapping[str, Any], name: str, wanted: Sequence[str], why: str) -> dict[str, str]:
    """Return an entry of the config, complete.

    Raises:
        BundleError: something in it is missing.
    """
    found = config.get(name)
    entry = dict(found) if isinstance(found, Mapping) else {}
    if lacking := [key for key in wanted if not entry.get(key)]:
        raise BundleError(f"{folder / CONFIG_FILE}: {why.format(lacking=', '.join(lacking))}")
    return entry


def _depth_entry(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    why = (
        "the experiment needs depth, but its entry depth lacks {lacking}: "
        "make the bundle again from a run that holds depth.safetensors and depth_config.json"
    )
    return _entry(folder, config, "depth", DEPTH_ENTRIES, why)


def _frozen_backbone(folder: Path, config: Mapping[str, Any]) -> Path:
    """Find the weights of the frozen backbone among what is attached, and make sure that they are the ones.

    Raises:
        BundleError: the config does not say which, they are not attached, or others are.
    """
    why = (
        "nothing is fine-tuned here, but the entry backbone lacks {lacking}: "
        "make the bundle again from what `python -m build regress` left"
    )
    entry = _entry(folder, config, "backbone", BACKBONE_ENTRIES, why)
    try:
        weights = find_weights(entry["dataset"])
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: the backbone is not in the bundle, and not attached: {error}") from None
    if (found := sha256_of(weights)) != entry["sha256"]:
        raise BundleError(
            f"{weights} is not the backbone that the regressor was fitted with (sha256 {found[:12]}…, not "
            f"{entry['sha256'][:12]}…): attach that one, or make features, regressor and bundle again with this one"
        )
    return weights

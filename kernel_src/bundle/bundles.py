"""## The bundle of weights

Read side: verify the manifest, rebuild the model from the config, load every fold strictly. A key that is missing would
stay random without an error in a lenient loader. The frozen depth model lies in the bundle once,
beside the folds that share it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from torch import nn

import kernel_src.bundle.frozen_bundle  # noqa: F401  # part: frozen
import kernel_src.models.depth  # noqa: F401  # part: depth
from kernel_src.competitions.held_facts import facts
from kernel_src.data.images import Framing
from kernel_src.data.preprocessing import Preprocessing
from kernel_src.data.symmetries import views_from_json
from kernel_src.models.model import TargetsNet, load_fold
from kernel_src.models.prediction import Member
from kernel_src.recipes.parts import parts_to_compete, parts_to_predict
from kernel_src.recipes.predictor import Predictor, predictor_from_json, require_suited
from kernel_src.runtime.device import Spread
from kernel_src.runtime.files import BUNDLE_FORMAT, CONFIG_FILE
from kernel_src.runtime.manifest import BundleError, checked_number, config_entry, read_bundle_json
from kernel_src.runtime.parts import held_parts, optional_part, require_parts
from kernel_src.runtime.untrusted import checked_text, quoted

DEPTH_ENTRIES = ("weights", "config", "sha256")  # of the config's "depth": two file names, and the hash of the weights


@dataclass(frozen=True, kw_only=True)
class BundleRecipe:
    """What a bundle's config says, before any weight is loaded."""

    folder: Path
    experiment: Predictor
    preprocessing: Preprocessing
    symmetries: tuple[tuple[int, bool], ...]  # that predictions are averaged over, upright first
    folds: tuple[str, ...]  # file names
    depth: Mapping[str, str]  # DEPTH_ENTRIES of the depth model; empty: the experiment needs none
    backbone: Path | None  # the weights of the frozen backbone, where nothing is fine-tuned
    oof_score: float
    source_sha256: str  # of the sources that trained it
    oof_metric: str = "score"  # what `oof_score` is, as people write it
    spread: Spread | None = None  # the devices that its frozen backbone is spread over when it is loaded

    @property
    def framings(self) -> tuple[Framing, ...]:
        """How its photographs become pictures, as in training."""
        return framings_of(self.experiment, self.preprocessing)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One experiment, ready to predict."""

    folder: Path
    experiment: Predictor
    preprocessing: Preprocessing
    symmetries: tuple[tuple[int, bool], ...]
    models: list[TargetsNet]  # one per fold
    oof_score: float
    source_sha256: str  # of the sources that trained it
    depth: nn.Module | None = None  # a DepthEstimator, frozen, shared by all folds; None: the experiment needs none
    depth_sha256: str = ""

    @property
    def framings(self) -> tuple[Framing, ...]:
        """How its photographs become pictures, as in training."""
        return framings_of(self.experiment, self.preprocessing)


# %%
def read_recipe(folder: Path, manifest: Mapping[str, Any]) -> BundleRecipe:
    """Read what a bundle holds; `manifest` is its own, and covers every file that the config names.

    Raises:
        BundleError: config or manifest lack an entry, contradict each other, or are newer than this notebook; the
            experiment has fields that this notebook lacks, or needs a part that it lacks; or the frozen backbone is not
            attached, or is another.
    """
    config = read_bundle_json(folder, CONFIG_FILE)
    if config["format"] < BUNDLE_FORMAT:
        raise BundleError(
            f"{folder / CONFIG_FILE} has format {config['format']}, of an older kit: its experiment is written down in "
            "other fields. Train again, or infer with the notebook of the kit that made the bundle"
        )
    here = facts().competition
    if (own := config.get("competition", here)) != here:
        raise BundleError(f"{folder / CONFIG_FILE} is of the competition {own}: attach a bundle of {here}")
    lacking = [key for key in ("experiment", "preprocessing", "views", "folds", "oof") if not config.get(key)]
    lacking += ["oof.score"] if config.get("oof") and "score" not in config["oof"] else []
    lacking += [key for key in ("source_sha256",) if not manifest.get(key)]
    if lacking:
        raise BundleError(f"{folder}: config.json or manifest.json lacks {', '.join(lacking)}: make the bundle again")
    try:
        experiment = predictor_from_json(config["experiment"])
        symmetries = views_from_json(config["views"], experiment.pictures.canvas_px)
        require_suited(experiment, facts())
        require_parts([*parts_to_compete(facts()), *parts_to_predict(experiment)], held_parts())
        check_backbone(experiment.encoder.timm)
        preprocessing = preprocessing_from_json(config["preprocessing"])
        metric = checked_text(config["oof"].get("metric", BundleRecipe.oof_metric))
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
        symmetries=symmetries,
        folds=tuple(config["folds"]),
        depth=depth,
        backbone=optional_part("frozen").frozen_backbone(folder, config) if experiment.is_frozen else None,
        oof_score=config["oof"]["score"],
        oof_metric=metric,
        source_sha256=manifest["source_sha256"],
    )


def check_backbone(name: str) -> None:
    """Refuse a backbone that this timm does not have; nothing is built.

    Raises:
        ValueError: no network has the name, or the network no such weights after the point.
    """
    try:
        known = timm.is_model(name) and timm.get_pretrained_cfg(name) is not None
    except RuntimeError as error:
        raise ValueError(f"backbone={quoted(name)}: {error}") from None
    if not known:
        raise ValueError(f"backbone={quoted(name)} is not a network of timm {timm.__version__}")


# %%
def preprocessing_from_json(values: Mapping[str, Any]) -> Preprocessing:
    """Rebuild it from its JSON.

    Raises:
        ValueError: an entry is missing or impossible.
    """
    if lacking := [name for name in ("mean", "std", "interpolation") if name not in values]:
        raise ValueError(f"preprocessing lacks {', '.join(lacking)}: written by an older kit, make the bundle again")
    return Preprocessing(
        mean=_three_numbers(values["mean"]),
        std=_three_numbers(values["std"]),
        interpolation=checked_text(values["interpolation"]),
    )


def _three_numbers(values: Any) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ValueError(f"{quoted(values)} is not three numbers")
    red, green, blue = map(checked_number, values)
    return red, green, blue


def framings_of(experiment: Predictor, preprocessing: Preprocessing) -> tuple[Framing, ...]:
    """Return the pictures that a network sees of a photograph: one, or for frozen features each part at each scale."""
    if not experiment.is_frozen:
        return (preprocessing.canvas_framing(experiment.pictures),)
    return preprocessing.part_framings(experiment.pictures)


# %%
def load_recipe(
    recipe: BundleRecipe,
    depth_models: dict[str, nn.Module] | None = None,
    folds: Sequence[int] | None = None,
) -> Bundle:
    """Load a bundle's weights, of all folds or of some of them, strictly.

    `depth_models` holds by sha256 those that are loaded already; the one of this bundle is added.

    Raises:
        WeightsError: the weights do not fit the model that the config describes.
    """
    estimator = None
    if recipe.depth:
        loaded = {} if depth_models is None else depth_models
        if recipe.depth["sha256"] not in loaded:
            weights, config = (recipe.folder / recipe.depth[key] for key in ("weights", "config"))
            loaded[recipe.depth["sha256"]] = optional_part("depth").load_depth(weights, config)
        estimator = loaded[recipe.depth["sha256"]]
    wanted = range(len(recipe.folds)) if folds is None else folds
    files = [recipe.folder / recipe.folds[fold] for fold in wanted]
    models: list[TargetsNet]
    if recipe.backbone is None:
        models = [load_fold(recipe.experiment, file) for file in files]
    else:
        frozen_nets = optional_part("frozen").frozen_nets
        models = frozen_nets(recipe.experiment, recipe.backbone, files, recipe.spread)
    return Bundle(
        folder=recipe.folder,
        experiment=recipe.experiment,
        symmetries=recipe.symmetries,
        preprocessing=recipe.preprocessing,
        models=models,
        oof_score=recipe.oof_score,
        source_sha256=recipe.source_sha256,
        depth=estimator,
        depth_sha256=recipe.depth.get("sha256", ""),
    )


def _depth_entry(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    why = (
        "the experiment needs depth, but its entry depth lacks {lacking}: "
        "make the bundle again from a run that holds depth.safetensors and depth_config.json"
    )
    return config_entry(folder, config, "depth", DEPTH_ENTRIES, why)


def member_of(bundle: Bundle, framings: Sequence[Framing]) -> Member:
    """Describe how a bundle sees a batch in the given framings: its own framings, preprocessing, views and depth."""
    experiment = bundle.experiment
    return Member(
        models=bundle.models,
        preprocessing=bundle.preprocessing,
        symmetries=bundle.symmetries,
        framings=tuple(map(list(framings).index, bundle.framings)),
        estimator=bundle.depth,
        depth_channels=experiment.depth_channels,
        depth_views=experiment.depth_views,
    )

"""## The bundle of weights

Read side: verify the manifest, rebuild the model from the config, load every fold strictly. A key that is missing stays
random without an error in a lenient loader, and nobody learns of it.
"""

from dataclasses import dataclass
from pathlib import Path

from kernel_src.common.experiment import Experiment, experiment_from_json
from kernel_src.common.manifest import CONFIG_FILE, BundleError, read_bundle_json, verify_manifest
from kernel_src.common.model import BiomassNet, load_fold
from kernel_src.common.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One experiment, ready to predict."""

    folder: Path
    experiment: Experiment
    preprocessing: Preprocessing
    models: list[BiomassNet]  # one per fold
    oof_r2: float
    source_sha256: str  # of the sources that trained it


def load_bundle(folder: Path) -> Bundle:
    """Verify and load a bundle.

    Raises:
        BundleError: a file is missing or altered, config or manifest lack an entry, or the format is newer than this
            notebook.
        WeightsError: the weights do not fit the model that the config describes.
    """
    manifest = verify_manifest(folder)
    config = read_bundle_json(folder, CONFIG_FILE)
    lacking = [key for key in ("experiment", "preprocessing", "folds", "oof") if not config.get(key)]
    lacking += [key for key in ("source_sha256",) if key not in manifest]
    if lacking:
        raise BundleError(f"{folder}: config.json or manifest.json lacks {', '.join(lacking)}: make the bundle again")
    if unlisted := sorted({CONFIG_FILE, *config["folds"]} - set(manifest["files"])):
        raise BundleError(f"{folder}: the manifest does not cover {', '.join(unlisted)}: make the bundle again")
    experiment = experiment_from_json(config["experiment"])
    return Bundle(
        folder=folder,
        experiment=experiment,
        preprocessing=Preprocessing(
            mean=tuple(config["preprocessing"]["mean"]), std=tuple(config["preprocessing"]["std"])
        ),
        models=[load_fold(experiment, folder / name) for name in config["folds"]],
        oof_r2=config["oof"]["r2"],
        source_sha256=manifest["source_sha256"],
    )

"""The folders behind a notebook's datasets: which bundle on this machine is meant by which slug on Kaggle."""

import json
from pathlib import Path

from build.core.bundle_files import verify_manifest
from build.core.errors import UsageError
from build.weights.conversion import WEIGHTS_FOLDER
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.kernel_cards import KernelCard, bundle_slug
from kernel_src.runtime.manifest import MANIFEST_FILE, BundleError
from kernel_src.runtime.weight_sources import how_to_get

BUNDLES = Path("out", "bundles")  # <experiment>/, by `make push-training` or `python -m build bundle`
DEMO, DEMO_BUNDLE, DEMO_PRETRAINED = "demo", Path("out", "demo", "bundle"), Path("out", "demo", "pretrained")


def find_folder(slug: str, experiment: str) -> Path | None:
    """Find the folder whose manifest names the dataset `slug`, the experiment's own bundle first.

    Pretrained weights are not a bundle: `python -m build weights` leaves them under their own name.
    """
    folders = [BUNDLES / experiment, *sorted(BUNDLES.glob("*/")), DEMO_BUNDLE, DEMO_PRETRAINED, WEIGHTS_FOLDER / slug]
    return next((folder for folder in folders if _dataset_of(folder) == slug), None)


def find_bundles(card: KernelCard) -> dict[str, Path]:
    """Map each of our datasets that an inference mounts to its folder, every file compared with its manifest.

    Datasets of other accounts (owner/slug) are left out: they are not ours to push.

    Raises:
        UsageError: one is missing or damaged; says how to make it.
    """
    found = {slug: find_folder(slug, card.experiment) for slug in card.datasets if "/" not in slug}
    if missing := [slug for slug, folder in found.items() if folder is None]:
        raise UsageError("\n".join(_how_to_make(slug, card) for slug in missing))
    bundles = {slug: folder for slug, folder in found.items() if folder}
    for folder in bundles.values():
        try:
            verify_manifest(folder)
        except BundleError as error:
            raise UsageError(f"{error} → make the bundle again, do not edit it") from None
    return bundles


def _how_to_make(slug: str, card: KernelCard) -> str:
    if slug not in card.bundles:
        return f"no folder for {slug}, the weights of a frozen backbone: {how_to_get(slug)}"
    if slug == bundle_slug(DEMO):
        return f"no bundle for {slug}: run `make demo`, which leaves {DEMO_BUNDLE}"
    experiment = card.experiment
    if experiment in EXPERIMENTS and EXPERIMENTS[experiment].is_frozen:
        return (
            f"no bundle for {slug}: `make push-training EXPERIMENT={experiment}` makes its features, "
            f"`python -m build regress --experiment {experiment} …` fits the regressor, "
            f"then `python -m build bundle out/regressors/{experiment}`"
        )
    return (
        f"no bundle for {slug}: train on Kaggle with `make push-training EXPERIMENT={experiment}`, which leaves "
        f"{BUNDLES / experiment}, or `python -m build bundle RUN` with the run/ folder of a training of your own"
    )


def _dataset_of(folder: Path) -> str:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""
    return str(manifest.get("dataset", "")) if isinstance(manifest, dict) else ""

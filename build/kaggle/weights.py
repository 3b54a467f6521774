"""The folders behind a notebook's datasets: which bundle on this machine is meant by which slug on Kaggle."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build.adopt.wheels import WHEELS_FOLDER
from build.core.bundle_files import verify_manifest
from build.core.choosing import demo_folder
from build.core.errors import UsageError
from build.notebooks.adopted_card import AdoptedCard, wheels_slug
from build.run.mock import dataset_slug
from build.weights.conversion import WEIGHTS_FOLDER
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard, bundle_slug
from kernel_src.runtime.manifest import MANIFEST_FILE, BundleError
from kernel_src.runtime.weight_sources import how_to_get

BUNDLES = Path("out", "bundles")  # <experiment>/, by `make push-training` or `python -m build bundle`
DEMO, DEMO_BUNDLE = "demo", Path("out", "demo", "bundle")


def find_folder(slug: str, experiment: str) -> Path | None:
    """Find the folder whose manifest names the dataset `slug`, the experiment's own bundle first.

    Pretrained weights are not a bundle: `python -m build weights` leaves them under their own name.
    """
    demo = demo_folder()
    folders = [BUNDLES / experiment, *sorted(BUNDLES.glob("*/"))]
    folders += [demo / DEMO_BUNDLE.name, *sorted(demo.glob("bundles/*/")), demo / "pretrained"]
    folders += [WEIGHTS_FOLDER / slug, WHEELS_FOLDER / slug]
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


@dataclass(frozen=True, kw_only=True)
class Attached:
    """The folders on this machine behind the datasets of an adopted kernel."""

    own: dict[str, Path]  # slug → folder, pushed before the notebook
    foreign: dict[str, Path]  # of other accounts: for the rehearsal alone
    missing: list[str]  # others' datasets without a folder here


def find_attached(card: AdoptedCard, given: Sequence[Path]) -> Attached:
    """Give each dataset of an adopted kernel its folder: one of those that were given, or where the kit leaves such.

    Raises:
        UsageError: one of the account's own has none, or a folder was given that nothing asks for.
    """
    if absent := [str(folder) for folder in given if not folder.is_dir()]:
        raise UsageError(f"--weights {', '.join(absent)}: no such folder")
    named = {dataset_slug(folder): folder for folder in given}
    slugs = {name.rpartition("/")[2]: name for name in card.datasets}
    if unknown := [slug for slug in named if slug not in slugs]:
        listed = ", ".join(slugs) or "it attaches none"
        raise UsageError(f"--weights {named[unknown[0]]} is the dataset {unknown[0]!r}; {card.slug} attaches: {listed}")
    found = {slug: named.get(slug) or find_folder(slug, card.slug) for slug in slugs}
    if lost := [slug for slug, folder in found.items() if folder is None and "/" not in slugs[slug]]:
        again = "adopt it again with --wheels, or " if wheels_slug(card.slug) in lost else ""
        how = f"{again}give --weights FOLDER (make: WEIGHTS=), called so or with a manifest that names it"
        raise UsageError(f"no folder for {', '.join(lost)}, which {card.slug} attaches → {how}")
    there = {slug: folder for slug, folder in found.items() if folder}
    return Attached(
        own={slug: folder for slug, folder in there.items() if "/" not in slugs[slug]},
        foreign={slug: folder for slug, folder in there.items() if "/" in slugs[slug]},
        missing=[slugs[slug] for slug, folder in found.items() if folder is None],
    )


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

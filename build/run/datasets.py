"""Which folders a kernel needs beside the competition's data, held against those that were given."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from build.core.errors import UsageError
from build.run.mock import dataset_slug
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.weight_sources import SOURCE_OF, how_to_get


def needed_by(experiment: Experiment) -> dict[str, str]:
    """Map the slug of each dataset that training mounts to what it is for."""
    needed = {
        experiment.starting_weights: f"starting weights of {experiment.backbone}",
        experiment.depth: "the frozen depth model",
        experiment.external_data: "external photographs, which "
        f"`python -m build external {experiment.external_data} --from DOWNLOAD` makes",
        experiment.pseudo_labels: "what `python -m build pseudo-label` leaves",
    }
    return {slug: what for slug, what in needed.items() if slug}


def bundles_needed_by(name: str) -> dict[str, str]:
    """Map the slug of each dataset that inference with an experiment or ensemble mounts to what it is for."""
    from kernel_src.recipes.experiments import EXPERIMENTS
    from kernel_src.recipes.kernel_cards import bundle_slug, frozen_backbones, kernel_card

    made_by = {
        bundle_slug(experiment): f"`python -m build bundle out/regressors/{experiment}`"
        if recipe.is_frozen
        else f"`make train EXPERIMENT={experiment}`"
        for experiment, recipe in EXPERIMENTS.items()
    }
    needed = {slug: f"the bundle that {made_by[slug]} makes" for slug in kernel_card(name, "infer").bundles}
    return needed | dict.fromkeys(frozen_backbones(name), "weights of the frozen backbone")


def match_datasets(needed: Mapping[str, str], folders: Sequence[Path], option: str) -> dict[str, Path]:
    """Give each needed dataset its folder, found by the slug that the folder's own files name, or its own name.

    The weights that the package registry carries are made where they are needed and not given.

    Raises:
        UsageError: with every dataset that lacks a folder and where to get it, and every folder that nothing asks for.
    """
    from build.weights.pretrained import LITE0_SLUG, lite0_dataset

    reasons = [f"{folder} does not exist: {option} is for folders" for folder in folders if not folder.is_dir()]
    given = {dataset_slug(folder): folder for folder in folders if folder.is_dir()}
    if LITE0_SLUG in needed and LITE0_SLUG not in given:
        given[LITE0_SLUG] = lite0_dataset(Path("out/weights") / LITE0_SLUG)
    for slug, what in needed.items():
        if slug not in given:
            close = difflib.get_close_matches(slug, given, n=1)
            hint = f" ({given[close[0]]} is called {close[0]!r})" if close else ""
            cure = f"{how_to_get(slug)}; then " if slug in SOURCE_OF else ""
            reasons.append(f"no folder for the dataset {slug}, {what}{hint} → {cure}give {option}DIR")
    reasons += [
        f"{folder} is the dataset {slug!r}, which nothing here asks for; asked for: {', '.join(needed) or 'none'}"
        for slug, folder in given.items()
        if slug not in needed
    ]
    if reasons:
        raise UsageError("\n".join(reasons))
    return given

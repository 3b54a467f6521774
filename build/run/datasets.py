"""Which folders a kernel needs beside the competition's data, held against those that were given."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from build.core.errors import Problem, UsageError
from build.run.mock import dataset_slug
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.weight_sources import SOURCE_OF, how_to_get


def needed_by(experiment: Experiment) -> dict[str, str]:
    """Map the slug of each dataset that training mounts to what it is for."""
    depth, external, pseudo = experiment.depth, experiment.data.external, experiment.data.pseudo
    needed = {experiment.encoder.weights: f"starting weights of {experiment.encoder.timm}"}
    if depth:
        needed[depth.weights] = "the frozen depth model"
    if external:
        made_by = f"`python -m build external {external.dataset} --from DOWNLOAD`"
        needed[external.dataset] = f"external photographs, which {made_by} makes"
    if pseudo:
        needed[pseudo.dataset] = "what `python -m build pseudo-label` leaves"
    return {slug: what for slug, what in needed.items() if slug}


def bundles_needed_by(name: str) -> dict[str, str]:
    """Map the slug of each dataset that inference with an experiment or ensemble mounts to what it is for."""
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.competitions.kernel_cards import bundle_slug, frozen_backbones, kernel_card

    made_by = {
        bundle_slug(experiment): f"`python -m build bundle out/regressors/{experiment}`"
        if recipe.is_frozen
        else f"`make train EXPERIMENT={experiment}`"
        for experiment, recipe in EXPERIMENTS.items()
    }
    needed = {slug: f"the bundle that {made_by[slug]} makes" for slug in kernel_card(name, "infer").bundles}
    return needed | dict.fromkeys(frozen_backbones(name), "weights of the frozen backbone")


def match_datasets(needed: Mapping[str, str], folders: Sequence[Path], option: str) -> dict[str, Path]:
    """Give each needed dataset its folder; the weights that the package registry carries are made where none is given.

    Raises:
        UsageError: with every dataset that lacks a folder and where to get it, and every folder that nothing asks for.
    """
    from build.weights.pretrained import LITE0_SLUG, lite0_dataset

    if LITE0_SLUG in needed and LITE0_SLUG not in {dataset_slug(folder) for folder in folders}:
        folders = [*folders, lite0_dataset(Path("out/weights") / LITE0_SLUG)]
    given, problems = match_folders(needed, folders, option)
    if problems:
        raise UsageError("\n".join(map(str, problems)))
    return given


def match_folders(
    needed: Mapping[str, str], folders: Sequence[Path], option: str, metadata: Path | None = None
) -> tuple[dict[str, Path], list[Problem]]:
    """Map the slug that each folder's own files name, or its own name, to the folder; and say what does not fit.

    `needed` maps each slug to what it is for; `metadata` is the file that lists them, where one does.
    """
    where, cure = str(metadata or ""), f"leave this {option.strip(' =')} out"
    if metadata:
        cure = f"Kaggle would not mount it either: name it among the kernel's datasets and run `make build`, or {cure}"
    given: dict[str, Path] = {}
    problems = []
    for folder in folders:
        slug = dataset_slug(folder)
        if not folder.is_dir():
            problems.append(Problem(what=f"{folder} does not exist: {option} is for folders"))
        elif slug in given:
            problems.append(
                Problem(what=f"{given[slug]} and {folder} are both dataset {slug!r}", cure="pass one of them")
            )
        else:
            given[slug] = folder
    there = f" (given: {', '.join(given)})" if given else ""
    for slug in [slug for slug in needed if slug not in given]:
        source = f"{how_to_get(slug)}; then " if slug in SOURCE_OF else ""
        how = f"whose dataset-metadata.json or manifest.json names {slug!r}, or called so itself"
        what = f"no folder for the dataset {slug}, {needed[slug]}{there}"
        problems.append(Problem(what=what, where=where, cure=f"{source}give {option}DIR, {how}"))
    for slug in [slug for slug in given if slug not in needed]:
        what = f"{given[slug]} is the dataset {slug!r}, which nothing here asks for"
        problems.append(Problem(what=f"{what}; asked for: {', '.join(needed) or 'none'}", where=where, cure=cure))
    return given, problems

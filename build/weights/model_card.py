"""The model card of a weight dataset: README.md beside the weights, so that whoever meets the dataset alone knows it.

What, trained on what, folds, scores with interval and floors, use and limits, licence, hashes. It is written from the
bundle's own config, so it names no account, no path and no date: the same run gives the same card. The manifest lists
it like every other file, since the manifest's hash stands for all bytes of a dataset (build/kaggle/dataset_folders.py);
so the card itself can name all hashes but its own and the manifest's. Inference never reads it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.notebooks.metadata import DATASET_METADATA, OWN_WEIGHTS_LICENCE
from build.scores.cross_validation import CrossValidation, is_frozen
from build.scores.real_table import is_competitions_own
from kernel_src.competition.constants import (
    COMPETITION_TITLE,
    COMPETITION_URL,
    DATA_LICENCE,
    QUADRAT,
    TARGETS,
)
from kernel_src.competition.floors import REFERENCE_POINTS
from kernel_src.runtime.manifest import missing_folds_text
from kernel_src.runtime.weight_sources import WEIGHT_SOURCES

CARD_FILE = "README.md"


def model_card(
    config: Mapping[str, Any],
    files: Mapping[str, Mapping[str, Any]],
    cv: CrossValidation,
    *,
    slug: str,
    licence: str,
) -> str:
    """Write the card of a bundle; `files` are its other files as a manifest describes them."""
    experiment = config["experiment"]
    parts = [
        f"# {slug}",
        f"> Weights of the experiment `{experiment['name']}`: grams of dry matter from one photograph of a pasture.",
        "## What",
        _what(config),
        "## Trained on",
        _trained_on(config, cv),
        "## Folds",
        _folds(experiment, cv),
        "## Scores",
        _scores(config, cv),
        "## Intended use and limits",
        _use(config, cv),
        "## Licence",
        _licence(experiment, licence, is_competitions_own(config.get("target_mean_g", {}))),
        "## Files",
        _files(files),
    ]
    return "\n\n".join(parts) + "\n"


def licence_of(slug: str, root: Path) -> str:
    """Return the licence that the committed datasets_meta/<slug>/ names, where a person may have chosen one."""
    path = root / "datasets_meta" / slug / DATASET_METADATA
    if not path.is_file():
        return OWN_WEIGHTS_LICENCE
    return str(json.loads(path.read_bytes())["licenses"][0]["name"])


# %%
def _what(config: Mapping[str, Any]) -> str:
    experiment = config["experiment"]
    versions = ", ".join(f"{name} {number}" for name, number in config.get("versions", {}).items())
    size = f"pictures of {experiment.get('image_height_px')} x {experiment.get('image_width_px')} px"
    backbone = f"`{experiment.get('backbone', 'not told')}`"
    if is_frozen(experiment):
        made_of = f"A regressor on frozen features of {backbone}, {size}; the backbone's own weights are not in here"
        stored = "safetensors, no pickles; full precision; `regress.json` says how it was chosen"
    else:
        made_of = f"{len(config['folds'])} networks, one per fold, averaged: {backbone}, {size}, a head per target"
        if missing := missing_folds_text(config):
            made_of += f". {missing}"
        stored = "safetensors, no pickles; matrices in half precision, vectors in single"
    lines = [
        made_of,
        f"Predicts {', '.join(f'`{target}`' for target in TARGETS)} in grams per quadrat ({QUADRAT})",
        stored,
        f"Trained from sources `{config.get('source_sha256', 'unknown')}` with {versions}",
    ]
    if config.get("depth"):
        lines.insert(1, f"beside a frozen depth model (`{experiment['depth']}`), stored once")
    return _list(lines)


def _trained_on(config: Mapping[str, Any], cv: CrossValidation) -> str:
    experiment = config["experiment"]
    groups = f" of {cv.groups} State+Sampling_Date groups" if cv.groups else ""
    judged = f"{cv.images} photographs{groups} were judged out of fold"
    if is_competitions_own(config.get("target_mean_g", {})):
        lines = [f"The training photographs of [{COMPETITION_TITLE}]({COMPETITION_URL}): {judged}"]
    else:
        lines = [
            f"Photographs in the layout of {COMPETITION_TITLE}, but not its own: the targets' means differ from those "
            f"of its train.csv (the kit's demo paints its photographs); {judged}"
        ]
    start = experiment.get("starting_weights")
    begun = "Frozen backbone:" if is_frozen(experiment) else "Started from"
    lines.append(f"{begun} {_source(start)}" if start else "Started from random weights")
    if experiment.get("external_data"):
        factor = experiment.get("external_area_factor")
        lines.append(f"External photographs, for training only: `{experiment['external_data']}`, grams times {factor}")
    if experiment.get("pseudo_labels"):
        lines.append(
            f"Pseudo-labels, for training only: `{experiment['pseudo_labels']}`, weight {experiment['pseudo_weight']}"
        )
    return _list(lines)


def _source(dataset: str) -> str:
    found = next((source for source in WEIGHT_SOURCES if source.dataset == dataset), None)
    if found is None:
        return f"`{dataset}`"
    return f"`{dataset}` ({found.hub}, {found.licence})" if found.hub else f"`{dataset}` ({found.licence})"


def _folds(experiment: Mapping[str, Any], cv: CrossValidation) -> str:
    if is_frozen(experiment):
        return f"{cv.folds}. The regressor in here was fitted on all groups afterwards."
    inner = experiment.get("inner_folds")
    epoch = f"one of {inner} inner folds of the training rows picks the epoch" if inner else "the last epoch is kept"
    return f"{cv.folds}. Whole State+Sampling_Date groups lie in one fold; {epoch}."


def _scores(config: Mapping[str, Any], cv: CrossValidation) -> str:
    interval = (
        f"95 % interval {cv.low:.3f} to {cv.high:.3f}, group jackknife over {cv.groups} groups"
        if cv.low is not None and cv.high is not None
        else "interval not computed: no train.csv with these images was at hand"
    )
    rows = [("**out of fold**", f"**{cv.r2:.4f}**", f"{cv.formula}; {interval}")]
    if half := config["oof"].get("fp16"):
        change = f"largest change of a prediction {half['largest_change_g']:g} g"
        rows.append(("the same in half precision", f"{half['r2']:.4f}", change))
    where = "on the same images" if cv.floors else "on the 357 real training images"
    for name, value in (cv.floors or REFERENCE_POINTS).items():
        rows.append((name, f"{value:.3f}", f"needs no photograph; {where}"))
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"| | R² | |\n|---|---|---|\n{body}"


def _use(config: Mapping[str, Any], cv: CrossValidation) -> str:
    name = config["experiment"]["name"]
    return _list(
        [
            f"Made for the inference notebook of `{name}` in {COMPETITION_TITLE}: it compares every file with "
            "`manifest.json`, loads strictly, and enforces the two identities afterwards",
            f"Photographs taken from above of one {QUADRAT}; another quadrat, height or camera is another task",
            f"The score is that of visits which the fold had not seen, {cv.images} images in all; other states, "
            "seasons and species may be far worse, and here private scores lay about 0.10 below the public ones",
            "No single prediction is good enough to manage a paddock by: a few photographs carry half the error",
        ]
    )


def _licence(experiment: Mapping[str, Any], licence: str, real: bool) -> str:
    other = " (the competition's rules decide what may be done with weights trained on its data)"
    lines = [f"These weights: `{licence}`{other if licence == OWN_WEIGHTS_LICENCE else ''}"]
    if real:
        lines.append(f"The photographs, which are not part of this dataset: {DATA_LICENCE}")
    for key in ("starting_weights", "depth"):
        found = next((one for one in WEIGHT_SOURCES if one.dataset == experiment.get(key)), None)
        if found:
            lines.append(f"`{found.dataset}`: {found.licence}")
    return _list(lines)


def _files(files: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "\n".join(
        f"| `{name}` | {entry['bytes']:,} | `{entry['sha256']}` |" for name, entry in sorted(files.items())
    )
    return (
        f"| file | bytes | sha256 |\n|---|---|---|\n{rows}\n\n`manifest.json` lists these and this card; a notebook "
        "that finds a file of another hash says so and does not use it."
    )


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)

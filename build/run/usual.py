"""What a command works on where that was not typed: the first experiment, its folder, and weights found here."""

from pathlib import Path
from typing import Any

from build.core.choosing import demo_folder, first_experiment, usual_data
from build.run.mock import dataset_slug
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import kernel_card, kernels_of, members_of

WEIGHTS_OPTIONS = ("weights", "bundle")  # of the verbs that mount bundles


def fill_in(values: dict[str, Any], *, folders: bool) -> list[str]:
    """Put what is usual in the place of what was not given, the folders too; return each as NAME=value."""
    taken = []
    named = next(name for name in ("experiment", "subject") if name in values)
    if not values[named]:
        values[named] = first_experiment()
        taken.append(f"EXPERIMENT={values[named]}")
    if folders and values["data"] is None:
        values["data"] = usual_data(values[named])
        taken.append(f"DATA={values['data']}")
    for name in WEIGHTS_OPTIONS:
        if folders and name in values and not values[name]:
            values[name] = usual_weights(values[named], values.get("kernel", "infer"))
            taken += [f"WEIGHTS={folder}" for folder in values[name]]
    return taken


def usual_weights(experiment: str, kernel: str, root: Path = Path()) -> list[Path]:
    """Return the folders on this machine that hold what a notebook mounts, as far as they are there."""
    if experiment not in {**EXPERIMENTS, **ENSEMBLES} or kernel not in kernels_of(experiment):
        return []  # an adopted kernel's, or none: whoever builds it says so
    wanted, demo = kernel_card(experiment, kernel).datasets, root / demo_folder()
    places = [demo / "bundle", *(demo / "bundles" / one.name for one in members_of(experiment))]
    places += [root / "out" / "bundles" / one.name for one in members_of(experiment)]
    if kernel != "infer":
        places = [demo / "pretrained", *(root / "out" / "weights" / slug for slug in wanted)]
    found = {dataset_slug(place): place for place in reversed(places) if place.is_dir()}
    return [found[slug] for slug in wanted if slug in found]

"""What is searched, as data: a range or choices per field of an experiment, restrictable on the command line."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build.core.errors import UsageError
from build.core.settings import FIELD_TYPES, parse_value
from kernel_src.recipes.experiment import AUGMENTATIONS, LOSSES, OPTIMIZERS, Experiment

if TYPE_CHECKING:
    from optuna import Trial

SIZE = "image_px"  # the height; the width keeps the experiment's shape, both are made whole patches
# What picks an epoch cuts trials short; an experiment trains on all rows to its last epoch, which scores more.
PICKER = ("inner_folds", "patience_epochs")
NO_SEARCH = (
    *("seed", "split_seed", "folds", "train_folds", "split", *PICKER),
    *("machine_shape", "session_limit_s", "tta"),
)


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A number between two others, drawn evenly or evenly in its logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


Space = Mapping[str, Choice | Range]
# The parts of the seed's own search: optimiser, rates, loss, backbone, size, augmentation. A field that the experiment
# does not use (a rate of its own for the backbone) is left out; --space adds backbones, each with its own weights.
SPACE: dict[str, Choice | Range] = {
    "optimizer": Choice(OPTIMIZERS),
    "learning_rate": Range(1e-5, 3e-3, log=True),
    "backbone_learning_rate": Range(1e-6, 3e-4, log=True),
    "weight_decay": Range(1e-6, 1e-1, log=True),
    "loss": Choice(LOSSES),
    "backbone": Choice(()),
    SIZE: Choice((384, 448, 512)),
    "augmentation": Choice(tuple(name for name in AUGMENTATIONS if name != "none")),
}


def space_for(experiment: Experiment, restrictions: Iterable[str], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space of one search: the default, restricted by `field=a,b` or `field=low..high`, without `fixed`.

    Naming a field that the default does not have adds it.

    Raises:
        UsageError: with every invalid restriction, or nothing is left to search.
    """
    chosen = dict(SPACE) | {"backbone": Choice((experiment.backbone,))}
    if not experiment.backbone_learning_rate:
        del chosen["backbone_learning_rate"]
    if experiment.image_height_px not in SPACE[SIZE].values:  # type: ignore[union-attr]
        chosen[SIZE] = Choice((experiment.image_height_px,))
    reasons = []
    for word in (word for text in restrictions for word in text.split()):
        name, _, text = word.partition("=")
        try:
            chosen[name] = parse_dimension(name, text)
        except ValueError as error:
            reasons.append(str(error))
    taken = {*fixed, *({SIZE} if {"image_height_px", "image_width_px"} & set(fixed) else ())}
    chosen = {name: dimension for name, dimension in chosen.items() if name not in taken}
    if not reasons and all(isinstance(d, Choice) and len(d.values) < 2 for d in chosen.values()):
        reasons.append("nothing is left to search: every field has one value")
    if reasons:
        raise UsageError("\n".join(reasons))
    return chosen


def parse_dimension(name: str, text: str) -> Choice | Range:
    """Read `1e-5..1e-3` or `mse,log1p` for a field.

    Raises:
        ValueError: there is no such field, it must not be searched, or a value does not fit it.
    """
    searchable = [field for field in (*FIELD_TYPES, SIZE) if field not in NO_SEARCH]
    if name in NO_SEARCH:
        raise ValueError(f"{name} is not searched: it would change what is measured, not how well it is done")
    if name not in searchable:
        close = difflib.get_close_matches(name, searchable, n=1)
        raise ValueError(f"an experiment has no field {name!r}" + (f", did you mean {close[0]}?" if close else ""))
    kind = int if name == SIZE else FIELD_TYPES[name]
    if ".." not in text:
        values = tuple(int(v) if name == SIZE else parse_value(name, v) for v in text.split(",") if v)
        if not values or kind not in (str, int, float, bool):
            raise ValueError(f"--space {name}={text}: write e.g. {name}=a,b")
        return Choice(values)
    if kind not in (int, float):
        raise ValueError(f"--space {name}={text}: {name} is not a number and has no range")
    low, high = (float(part) for part in text.split("..", 1))
    if not low < high:
        raise ValueError(f"--space {name}={text}: the range is empty")
    return Range(low, high, log=low > 0 and high / low >= 10, whole=kind is int)


def draw(trial: "Trial", space: Space, experiment: Experiment) -> dict[str, Any]:
    """Let a trial choose, and return its choices as changes to the experiment."""
    changes: dict[str, Any] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            changes[name] = trial.suggest_categorical(name, dimension.values)
        elif dimension.whole:
            changes[name] = trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            changes[name] = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return with_size(changes, experiment)


def with_size(changes: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Replace `image_px` by a height and width that are whole patches of the chosen backbone."""
    sized = {name: value for name, value in changes.items() if name != SIZE}
    if SIZE not in changes:
        return sized
    patch = re.search(r"patch(\d+)", str(changes.get("backbone", experiment.backbone)))
    step = int(patch[1]) if patch else 1
    shape = experiment.image_width_px / experiment.image_height_px
    height = max(step, round(changes[SIZE] / step) * step)
    return sized | {"image_height_px": height, "image_width_px": max(step, round(height * shape / step) * step)}

"""What is searched, as data: a range or choices per path of an experiment, restrictable on the command line."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from build.core.errors import UsageError
from build.core.settings import check_path, parse_value, paths
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import CrossEntropy, InnerFold, Loss, Optimizer
from kernel_src.recipes.spec import KIND, kinds_of, spec_class
from kernel_src.recipes.training_data import AUGMENTATIONS

if TYPE_CHECKING:
    from optuna import Trial

SIZE = "image_px"  # the height; the width keeps the experiment's shape, both are made whole patches
SIDES = ("pictures.height_px", "pictures.width_px")
ENCODER = "encoder.timm"
# They change what is measured, not how well it is done. What picks an epoch cuts trials short and costs score.
NO_SEARCH = ("name", "seed", "data.split", "data.train_folds", "keep.folds", "keep.patience", "machine", "predict.tta")


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
    "optimizer": Choice(tuple(kinds_of(Optimizer))),
    "optimizer.lr": Range(1e-5, 3e-3, log=True),
    "optimizer.backbone_lr": Range(1e-6, 3e-4, log=True),
    "optimizer.weight_decay": Range(1e-6, 1e-1, log=True),
    "loss": Choice(tuple(kinds_of(Loss))),
    ENCODER: Choice(()),
    SIZE: Choice((384, 448, 512)),
    "augment.preset": Choice(tuple(name for name in AUGMENTATIONS if name != "none")),
}


def space_for(experiment: Experiment, restrictions: Iterable[str], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space of one search: the default, restricted by `path=a,b` or `path=low..high`, without `fixed`.

    Naming a path that the default does not have adds it.

    Raises:
        UsageError: with every invalid restriction, or nothing is left to search.
    """
    of_classes = CrossEntropy.__name__
    losses = (of_classes,) if isinstance(experiment.loss, CrossEntropy) else set(kinds_of(Loss)) - {of_classes}
    suiting = Choice(tuple(name for name in kinds_of(Loss) if name in losses))
    chosen = dict(SPACE) | {ENCODER: Choice((experiment.encoder.timm,)), "loss": suiting}
    if not experiment.optimizer.backbone_lr:
        del chosen["optimizer.backbone_lr"]
    if experiment.pictures.height_px not in SPACE[SIZE].values:  # type: ignore[union-attr]
        chosen[SIZE] = Choice((experiment.pictures.height_px,))
    reasons = []
    for word in (word for text in restrictions for word in text.split()):
        name, _, text = word.partition("=")
        try:
            chosen[name] = parse_dimension(name, text)
        except ValueError as error:
            reasons.append(str(error))
    taken = {*fixed, *({SIZE} if set(SIDES) & set(fixed) else ())}
    chosen = {name: dimension for name, dimension in chosen.items() if name not in taken}
    if not reasons and all(isinstance(d, Choice) and len(d.values) < 2 for d in chosen.values()):
        reasons.append("nothing is left to search: every field has one value")
    if reasons:
        raise UsageError("\n".join(reasons))
    return chosen


def parse_dimension(name: str, text: str) -> Choice | Range:
    """Read `1e-5..1e-3` or `SquaredError,Log1pError` for a path.

    Raises:
        ValueError: there is no such path, it must not be searched, or a value does not fit it.
    """
    if any(name == path or name.startswith(f"{path}.") for path in NO_SEARCH):
        raise ValueError(f"{name} is not searched: it would change what is measured, not how well it is done")
    kind = int if name == SIZE else paths()[check_path(name)]
    is_alternative = spec_class(kind) is not None
    if ".." not in text:
        values = tuple(int(v) if name == SIZE else parse_value(name, v) for v in text.split(",") if v)
        if not values or not (kind in (str, int, float, bool) or is_alternative):
            raise ValueError(f"--space {name}={text}: write e.g. {name}=a,b")
        if not all(isinstance(value, str | int | float | None) for value in values):
            raise ValueError(f"--space {name}={text}: name classes only, and their fields by paths of their own")
        return Choice(values)
    if kind not in (int, float):
        raise ValueError(f"--space {name}={text}: {name} is not a number and has no range")
    low, high = (float(part) for part in text.split("..", 1))
    if not low < high:
        raise ValueError(f"--space {name}={text}: the range is empty")
    return Range(low, high, log=low > 0 and high / low >= 10, whole=kind is int)


def picks_epoch(path: str, value: Any) -> bool:
    """Whether a change makes training keep rows back to choose an epoch by: for a search, not for an experiment."""
    kind = value.get(KIND) if isinstance(value, Mapping) else value
    return path == "keep" and kind == InnerFold.__name__ or path in ("keep.folds", "keep.patience")


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
    patch = re.search(r"patch(\d+)", str(changes.get(ENCODER, experiment.encoder.timm)))
    step = int(patch[1]) if patch else 1
    shape = experiment.pictures.width_px / experiment.pictures.height_px
    height = max(step, round(changes[SIZE] / step) * step)
    return sized | dict(zip(SIDES, (height, max(step, round(height * shape / step) * step)), strict=True))

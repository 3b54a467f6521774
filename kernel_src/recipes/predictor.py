"""## What predicts

The part of an experiment that inference needs: what the network sees, what it is made of, and how its answers become
values. Its JSON travels with the weights, and inference rebuilds the very same network from it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from kernel_src.competition.facts import Facts
from kernel_src.recipes.network import (
    DEPTH_VIEWS,
    DenseHead,
    Depth,
    Encoder,
    Head,
    Inputs,
    Perceptron,
    PooledHead,
    RegressorHead,
    not_one_of,
)
from kernel_src.recipes.pictures import Mean, Pictures, SideBySide, Sum
from kernel_src.recipes.spec import ExperimentError, Spec

TTA_SETS = ("trained", "flips", "none")
CONSTRAINTS = ("none", "projection", "biological", "average")
LONGEST_EXPERIMENT_NAME = 37  # its longest slug on Kaggle, the notebook's i2b-NAME-features, may have 50 characters
_EXPERIMENT_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


def checked_experiment_name(name: object) -> str:
    """Return the name of an experiment or ensemble if every name on Kaggle can be made from it.

    Raises:
        ExperimentError: it cannot; names the rule, and the nearest name that follows it.
    """
    if isinstance(name, str) and _EXPERIMENT_NAME.fullmatch(name) and len(name) <= LONGEST_EXPERIMENT_NAME:
        return name
    words = re.findall(r"[a-z0-9]+", str(name).lower())
    near = "_".join(words)[:LONGEST_EXPERIMENT_NAME].strip("_") or "v7_mine"
    raise ExperimentError(
        f"the name {name!r} cannot be an experiment's: lower-case letters and digits, with single _ or - between them, "
        f"{LONGEST_EXPERIMENT_NAME} characters at most, since Kaggle's slugs are made of it; e.g. {near!r}"
    )


# %%
class TestTimeTraining(Spec):
    """The strongest fold learns the test photographs too, as the bundle labels them, in the time that is left.

    Source: the 8th place, 0.2 before and 0.8 after. Where nothing comes of it the predictions before stand.
    """

    epochs: int = 12
    average: int = 4  # of the last epochs, over whose ends the weights are averaged
    share: float = 0.8  # of its predictions in the bundle's
    below_g: float = 0.2  # a component labelled with less is labelled with 0
    pseudo_weight: float = 1.0  # of a test photograph in the loss; a weighed one has 1
    lr_factor: float = 0.1  # times the learning rates of the experiment, all the time

    def check(self) -> Iterator[str]:
        """Epochs to average, shares, positive factors."""
        if not 1 <= self.average <= self.epochs:
            yield f"average={self.average} must be 1 to epochs={self.epochs}"
        if not 0 < self.share <= 1:
            yield f"share={self.share} must lie in (0, 1]"
        if self.below_g < 0:
            yield f"below_g={self.below_g} must be 0 or a positive number"
        for name in ("pseudo_weight", "lr_factor"):
            if getattr(self, name) <= 0:
                yield f"{name}={getattr(self, name)} must be above 0"


class Predict(Spec):
    """How predictions are made of what the network answers."""

    tta: str = "trained"  # symmetries averaged: all that the augmentation showed in training, its flips, or none
    constraint: str = "projection"  # how the two identities are enforced
    adapt: TestTimeTraining | None = None  # after the prediction; None: not done

    def check(self) -> Iterator[str]:
        """Known words."""
        yield from not_one_of("tta", self.tta, TTA_SETS)
        yield from not_one_of("constraint", self.constraint, CONSTRAINTS)


# %%
class Predictor(Spec, kw_only=True):
    """What inference needs of an experiment."""

    name: str  # as typed in EXPERIMENT=…, part of every slug: `checked_experiment_name` has the rule
    encoder: Encoder
    pictures: Pictures = field(default_factory=Pictures)
    head: Head = field(default_factory=PooledHead)
    depth: Depth | None = None
    inputs: Inputs | None = None  # numbers of the table that the heads see too; None: the photograph alone
    predict: Predict = field(default_factory=Predict)

    def __post_init__(self) -> None:
        """Refuse a name that Kaggle would not take, and parts that do not go together.

        Raises:
            ExperimentError: names the experiment and the field.
        """
        checked_experiment_name(self.name)
        try:
            super().__post_init__()
        except ExperimentError as error:
            raise ExperimentError(f"{self.name}: {str(error).removeprefix(f'{type(self).__name__}: ')}") from None

    def check(self) -> Iterator[str]:
        """What two parts together cannot mean."""
        yield from self._check_head()
        if self.depth and not self.pictures.is_whole:
            yield "depth joins the whole photograph: pictures must have the part whole and the scale 1 alone"
        if self.depth and not (isinstance(self.head, PooledHead) and self.head.pool == ("own",)):
            yield 'depth joins the pooled picture: head must be PooledHead(pool=("own",))'

        if self.inputs and self.is_frozen:
            yield "a regressor reads frozen features alone: set inputs to none"
        if self.predict.adapt and (self.is_frozen or self.depth or self.inputs):
            without = "frozen features" if self.is_frozen else "depth" if self.depth else "inputs"
            yield f"predict.adapt trains the network once more, which is not made for {without}: set it to none"

    def _check_head(self) -> Iterator[str]:
        head, join = self.head, self.pictures.join
        if isinstance(head, RegressorHead):
            if not self.encoder.weights:
                yield "frozen features need pretrained weights: name them in encoder.weights"
            if self.depth or self.encoder.freeze:
                yield "frozen features have no depth branch, and encoder.freeze has no meaning"
            if self.pictures.count > 1 and not isinstance(join, SideBySide):
                yield "frozen features stand side by side: pictures.join must be SideBySide()"
        if isinstance(head, PooledHead) and head.pool == ("own",) and self.encoder.layers != (1,):
            yield f'encoder.layers={self.encoder.layers}: the pooling "own" sees the last layer only'
        if isinstance(head, DenseHead) and join and not isinstance(join, Sum if head.reduce == "sum" else Mean):
            yield f"a dense head with reduce={head.reduce!r} joins pictures by {head.reduce.capitalize()}()"

    def objections(self, facts: Facts) -> Iterator[str]:
        """Yield what a competition with these facts does not allow, naming the field and the cure."""
        here, head = facts.competition, self.head
        if facts.are_classes and not isinstance(head, PooledHead):
            yield f"head={head} answers by numbers, and {here} has classes: set it to PooledHead()"
        elif isinstance(head, Perceptron) and head.targets != "five" and not facts.identities:
            yield f'head.targets={head.targets!r} adds parts up, and no target of {here} is a sum: set it to "five"'
        if self.inputs and not facts.inputs:
            yield f"inputs={self.inputs} reads numbers of the table, and {here} has none at test time: set it to none"
        elif self.inputs and (unknown := [name for name in self.inputs.columns if name not in facts.inputs]):
            yield f"inputs.columns names {', '.join(unknown)}; {here} has {', '.join(facts.inputs)}"

    @property
    def is_frozen(self) -> bool:
        """Whether a regressor on frozen features predicts instead of fine-tuned networks."""
        return isinstance(self.head, RegressorHead)

    @property
    def is_plain(self) -> bool:
        """Whether a head per target stands alone on what the encoder itself pools of the whole photograph."""
        head = self.head
        plain_head = isinstance(head, PooledHead) and head.pool == ("own",) and head.targets == "five"
        return plain_head and self.pictures.is_whole

    @property
    def depth_channels(self) -> int:
        """How many channels of depth the network is given; 0 without a depth branch."""
        return self.depth.channels if self.depth else 0

    @property
    def depth_views(self) -> str:
        """How views get their depth map, one of `DEPTH_VIEWS`."""
        return self.depth.views if self.depth else DEPTH_VIEWS[0]


# %%
def require_suited(predictor: Predictor, facts: Facts) -> None:
    """Make sure that a recipe can be used in the competition with these facts.

    Raises:
        ExperimentError: it cannot; names recipe and field, and the cure.
    """
    for objection in predictor.objections(facts):
        raise ExperimentError(f"{predictor.name}: {objection}")


# What else an experiment's JSON holds: how it was trained, which no prediction depends on.
TRAINING_FIELDS = (
    *("data", "augment", "loss", "auxiliary", "optimizer"),
    *("schedule", "batch", "keep", "machine", "seed"),
)


def predictor_from_json(values: Mapping[str, Any]) -> Predictor:
    """Return what predicts of an experiment, from the JSON of the whole.

    Raises:
        ExperimentError: see `Spec.from_json`.
    """
    return Predictor.from_json({name: value for name, value in values.items() if name not in TRAINING_FIELDS})

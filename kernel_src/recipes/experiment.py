"""## The experiment

Every choice that makes one training run differ from another, as one readable value; variants are made with
`dataclasses.replace`, or with `changed` by the path of a field.
"""

from collections.abc import Iterator
from dataclasses import field

from kernel_src.competition.facts import Facts
from kernel_src.recipes.learning import (
    AdamW,
    Auxiliary,
    Batch,
    Bins,
    Cosine,
    CrossEntropy,
    Keep,
    Last,
    Loss,
    Optimizer,
    Schedule,
    SquaredError,
)
from kernel_src.recipes.network import DenseHead, not_one_of
from kernel_src.recipes.predictor import Predictor
from kernel_src.recipes.spec import Spec, default_of
from kernel_src.recipes.training_data import Augment, Data, TokenMix

SPREADS = ("auto", "batch", "folds")


class Machine(Spec):
    """What trains it on Kaggle."""

    shape: str = "NvidiaTeslaT4"  # two T4s
    spread: str = "auto"  # several devices share each batch (`batch`) or take whole folds (`folds`)
    limit_s: float = 0.0  # training saves and stops itself in time before it; 0: no limit

    def check(self) -> Iterator[str]:
        """Known words, a time."""
        yield from not_one_of("spread", self.spread, SPREADS)
        if self.limit_s < 0:
            yield f"limit_s={self.limit_s} must be 0 or a positive number"


class Experiment(Predictor, kw_only=True):
    """One training recipe."""

    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    loss: Loss = field(default_factory=SquaredError)
    auxiliary: tuple[Auxiliary, ...] = ()
    optimizer: Optimizer = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Cosine)
    batch: Batch = field(default_factory=Batch)
    keep: Keep = field(default_factory=Last)
    machine: Machine = field(default_factory=Machine)
    seed: int = 42

    def check(self) -> Iterator[str]:
        """What two parts together cannot mean."""
        yield from super().check()
        if self.is_frozen:
            changed_fields = [f for f in TRAINED_ONLY if getattr(self, f) != default_of(Experiment, f)]
            if changed_fields:
                yield f"nothing is trained: {', '.join(changed_fields)} would have no effect"
            if self.data.external or self.data.pseudo or self.data.train_folds:
                yield "a regressor is fitted on all of the competition's rows: leave data.external, pseudo, train_folds"
        if isinstance(self.augment.mix, TokenMix) and not isinstance(self.head, DenseHead):
            yield "augment.mix=TokenMix() mixes patches: head must be a DenseHead()"
        if self.depth and (self.augment.mix or self.augment.rescale or self.augment.crop):
            yield "depth goes without augment.mix, rescale and crop: the map would not belong to the picture"

    def objections(self, facts: Facts) -> Iterator[str]:
        """Yield what a competition with these facts does not allow, naming the field and the cure."""
        yield from super().objections(facts)
        here, measures_classes = facts.competition, isinstance(self.loss, CrossEntropy)
        if facts.are_classes and not measures_classes and not self.is_frozen:
            yield f"loss={self.loss} measures numbers, and {here} has classes: set it to CrossEntropy()"
        if measures_classes and not facts.are_classes:
            yield f"loss={self.loss} measures classes, and {here} has numbers: set it to SquaredError(), or another"
        if facts.are_classes and any(isinstance(one, Bins) for one in self.auxiliary):
            yield f"auxiliary: Bins() cuts numbers into intervals, and {here} has classes: leave it out"
        if self.loss.identities and not facts.identities:
            yield f"loss.identities={self.loss.identities} weighs broken sums, and {here} has none: set it to 0"
        if self.data.external and not facts.is_amount:
            yield f"data.external scales amounts by the area they lay on, and {here} has none: set it to none"
        if unknown := [name for name in self.data.drop if name not in facts.row_rules]:
            yield f"data.drop names {', '.join(unknown)}; {here} has {', '.join(facts.row_rules) or 'no such rule'}"

    @property
    def predicts_density(self) -> bool:
        """Whether every crop of a photograph has the label of the whole."""
        return isinstance(self.head, DenseHead) and self.head.reduce == "mean"


# Of an experiment whose features are frozen nothing of this is read.
TRAINED_ONLY = ("augment", "loss", "auxiliary", "optimizer", "schedule", "batch", "keep")

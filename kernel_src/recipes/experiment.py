"""## The experiment

Every choice that makes one training run differ from another, as one readable value; variants are made with
`dataclasses.replace`, or with `changed` by the path of a field.
"""

from collections.abc import Iterator
from dataclasses import field

from kernel_src.recipes.learning import (
    AdamW,
    Auxiliary,
    Batch,
    Cosine,
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

    @property
    def predicts_density(self) -> bool:
        """Whether every crop of a photograph has the label of the whole."""
        return isinstance(self.head, DenseHead) and self.head.reduce == "mean"


# Of an experiment whose features are frozen nothing of this is read.
TRAINED_ONLY = ("augment", "loss", "auxiliary", "optimizer", "schedule", "batch", "keep")

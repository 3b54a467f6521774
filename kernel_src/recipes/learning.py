"""## What training minimises, and how

Loss, auxiliary targets, optimiser, schedule, and which weights are kept in the end.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import ClassVar

from kernel_src.recipes.network import not_one_of
from kernel_src.recipes.spec import Spec


def not_from_zero(spec: Spec, *names: str) -> Iterator[str]:
    """Object to fields that are negative."""
    for name in names:
        if getattr(spec, name) < 0:
            yield f"{name}={getattr(spec, name)} must be 0 or a positive number"


def not_above_zero(spec: Spec, *names: str) -> Iterator[str]:
    """Object to fields that are not above 0."""
    for name in names:
        if getattr(spec, name) <= 0:
            yield f"{name}={getattr(spec, name)} must be above 0"


def not_a_share(spec: Spec, *names: str) -> Iterator[str]:
    """Object to fields outside [0, 1)."""
    for name in names:
        if not 0 <= getattr(spec, name) < 1:
            yield f"{name}={getattr(spec, name)} must lie in [0, 1)"


# %%
class Loss(Spec, abstract=True, kw_only=True):
    """How far predictions are from the truth, in standard deviations of each target unless it says otherwise."""

    identities: float = 0.0  # weight of the two identities' violation beside it; 0: the loss ignores them

    def check(self) -> Iterator[str]:
        """A weight."""
        yield from not_from_zero(self, "identities")


class SquaredError(Loss):
    """Squared error."""


class SmoothL1(Loss):
    """Squared up to `beta` standard deviations, a line beyond."""

    beta: float = 1.0
    weights: str = "equal"  # or `metric`: each target as the metric weighs it

    def check(self) -> Iterator[str]:
        """A turning point."""
        yield from super().check()
        yield from not_above_zero(self, "beta")
        yield from not_one_of("weights", self.weights, ("equal", "metric"))


class MetricSquaredError(Loss):
    """What the metric sums, over the variance of the training rows: on all of them at once exactly 1 - R²."""


class BatchR2(Loss):
    """1 - R² of the batch: the metric itself, with the batch's own mean in the denominator."""


class Log1pError(Loss):
    """Squared error of log(1 + target): relative errors count."""


class SqrtError(Loss):
    """Squared error of the square root of the target: between absolute and relative."""


class Uncertainty(Loss):
    """Squared errors, each target weighed by a variance that is learnt with them (Kendall, Gal & Cipolla 2018)."""


class CrossEntropy(Loss):
    """Of classes: the negative logarithm of the true one's probability; no other loss measures those."""

    smoothing: float = 0.0  # share of the truth that is spread evenly over all classes (Szegedy et al. 2016)

    def check(self) -> Iterator[str]:
        """A share."""
        yield from super().check()
        yield from not_a_share(self, "smoothing")


# %%
class Auxiliary(Spec, abstract=True):
    """Something else that training predicts from the same features; no prediction uses it."""


class Bins(Auxiliary):
    """The interval of each target between quantiles of the training rows, by cross entropy."""

    count: int = 7
    weight: float = 0.3

    def check(self) -> Iterator[str]:
        """Two intervals at least."""
        if self.count < 2:
            yield f"count={self.count} must be at least 2"
        yield from not_above_zero(self, "weight")


class Regress(Auxiliary):
    """A number of train.csv, such as Height_Ave_cm or Pre_GSHH_NDVI, by squared error in standard deviations."""

    column: str
    weight: float = 0.1

    def check(self) -> Iterator[str]:
        """A weight."""
        yield from not_above_zero(self, "weight")


class Classify(Auxiliary):
    """A word of train.csv, such as State or Species, by cross entropy."""

    column: str
    weight: float = 0.1

    def check(self) -> Iterator[str]:
        """A weight."""
        yield from not_above_zero(self, "weight")


# %%
class Optimizer(Spec, abstract=True, kw_only=True):
    """What moves the weights."""

    lr: float = 1e-4  # learning rate of the heads, and of the encoder unless the next line says otherwise
    backbone_lr: float = 0.0  # 0: the same as the heads
    layer_decay: float = 1.0  # times the rate for each layer further from the head (BEiT, Bao et al. 2021)
    weight_decay: float = 1e-4  # not applied to biases and norms
    clip_norm: float = 0.0  # largest gradient norm; 0: no clipping

    def check(self) -> Iterator[str]:
        """Rates."""
        yield from not_above_zero(self, "lr")
        yield from not_from_zero(self, "backbone_lr", "weight_decay", "clip_norm")
        if not 0 < self.layer_decay <= 1:
            yield f"layer_decay={self.layer_decay} must lie in (0, 1]"


class AdamW(Optimizer):
    """Loshchilov & Hutter 2019."""


class RMSprop(Optimizer):
    """As in the seed's V2 to V4."""


# %%
class Schedule(Spec, abstract=True, kw_only=True):
    """How long training lasts, and what the learning rate is multiplied by at each step."""

    epochs: int = 50

    def check(self) -> Iterator[str]:
        """At least one epoch."""
        if self.epochs < 1:
            yield f"epochs={self.epochs} must be at least 1"


class Constant(Schedule):
    """The same rate throughout."""


class Cosine(Schedule):
    """Half a cosine, from the whole rate to nothing."""

    length: int = 0  # epochs until nothing; 0: all of them

    def check(self) -> Iterator[str]:
        """A length."""
        yield from super().check()
        yield from not_from_zero(self, "length")


class WarmupCosine(Cosine):
    """A straight line up to the whole rate, then half a cosine."""

    warmup: int = 3  # epochs

    def check(self) -> Iterator[str]:
        """A warm-up."""
        yield from super().check()
        yield from not_from_zero(self, "warmup")


class Steps(Schedule):
    """A smaller rate after each so many epochs."""

    every: int = 10  # epochs
    factor: float = 0.1

    def check(self) -> Iterator[str]:
        """A step."""
        yield from super().check()
        yield from not_above_zero(self, "every", "factor")


# %%
class Keep(Spec, abstract=True):
    """Which weights a fold leaves."""

    picks_epoch: ClassVar[bool] = False  # some of the training rows are kept back to choose by


class Last(Keep):
    """Those of the last step."""


class EMA(Keep):
    """An exponential moving average over the steps."""

    decay: float = 0.99  # share of the old average that each step keeps

    def check(self) -> Iterator[str]:
        """A share."""
        yield from not_a_share(self, "decay")


class SWA(Keep):
    """The plain mean over the ends of the last epochs, batch norms refreshed (Izmailov et al. 2018)."""

    start: float = 0.75  # share of the epochs after which it begins

    def check(self) -> Iterator[str]:
        """A share."""
        yield from not_a_share(self, "start")


class InnerFold(Keep):
    """Those of the epoch that is best on one of so many group folds of the *training* rows.

    It costs score (docs/seed-differences.md): the rows that pick do not train.
    """

    folds: int = 8
    patience: int = 0  # epochs without improvement before training stops; 0: never
    of: Keep = field(default_factory=Last)  # which weights are judged after each epoch
    mean_of: int = 1  # the mean of the weights of so many best epochs
    picks_epoch: ClassVar[bool] = True

    def check(self) -> Iterator[str]:
        """Two folds at least, since one would train on nothing."""
        if self.folds < 2:
            yield f"folds={self.folds}: one fold trains on nothing"
        yield from not_from_zero(self, "patience")
        if self.mean_of < 1:
            yield f"mean_of={self.mean_of} must be at least 1"
        if not isinstance(self.of, Last | EMA):
            yield f"of={self.of} is not Last() or EMA()"


class Batch(Spec):
    """What one optimiser step is made of."""

    size: int = 16  # photographs at once, over all devices together
    accumulate: int = 1  # batches per optimiser step

    def check(self) -> Iterator[str]:
        """At least one of each."""
        if self.size < 1 or self.accumulate < 1:
            yield f"size={self.size} and accumulate={self.accumulate} must be at least 1"

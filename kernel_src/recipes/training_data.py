"""## What training is shown

Which rows train and which judge, and how a photograph is changed before the network sees it.
"""

from collections.abc import Iterator
from dataclasses import field
from typing import ClassVar

from kernel_src.recipes.learning import not_above_zero, not_from_zero
from kernel_src.recipes.network import not_a_dataset, not_one_of
from kernel_src.recipes.spec import Spec, default_of

AUGMENTATIONS = ("none", "conservative", "moderate", "aggressive", "extreme")


class Split(Spec, abstract=True):
    """How the competition's rows are divided into folds; groups always stay whole."""

    rule: ClassVar[str]  # as `fold_numbers` calls it


class GroupSplit(Split):
    """Groups are dealt out so that every fold holds about as many photographs."""

    rule: ClassVar[str] = "group"
    folds: int = 5
    seed: int = 0  # shuffles the groups before they are dealt out; another seed, other folds

    def check(self) -> Iterator[str]:
        """Two folds at least."""
        if self.folds < 2:
            yield f"folds={self.folds}: one fold trains on nothing"
        yield from not_from_zero(self, "seed")


class StratifiedGroupSplit(GroupSplit):
    """Besides, every fold holds about as many photographs of each quartile of the Total."""

    rule: ClassVar[str] = "stratified_group"


class LeaveGroupOut(Split):
    """Each group is a fold of its own."""

    rule: ClassVar[str] = "leave_group_out"


class External(Spec):
    """Other people's photographs; they train and are never validated."""

    dataset: str  # its slug
    area_factor: float = 0.84  # area of a photograph here over there; external targets times this

    def check(self) -> Iterator[str]:
        """A dataset and a factor."""
        if not self.dataset:
            yield "dataset is empty"
        yield from not_a_dataset("dataset", self.dataset)
        yield from not_above_zero(self, "area_factor")


class PseudoLabels(Spec):
    """Photographs that other models have labelled (`python -m build pseudo-label`)."""

    dataset: str = ""  # its slug; empty: they are handed over where training is started
    weight: float = 0.25  # of such a row in the loss, a weighed one has 1

    def check(self) -> Iterator[str]:
        """A dataset and a weight."""
        yield from not_a_dataset("dataset", self.dataset)
        yield from not_above_zero(self, "weight")


class Data(Spec):
    """The rows."""

    split: Split = field(default_factory=GroupSplit)
    train_folds: tuple[int, ...] = ()  # which of the folds are trained; empty: all
    drop: tuple[str, ...] = ()  # rules by which rows do not train, named in the competition's facts; they still judge
    external: External | None = None
    pseudo: PseudoLabels | None = None

    def check(self) -> Iterator[str]:
        """Folds that the split has."""
        last = self.split.folds - 1 if isinstance(self.split, GroupSplit) else None
        if wrong := [fold for fold in self.train_folds if fold < 0 or (last is not None and fold > last)]:
            there = "start at 0" if last is None else f"are 0 to {last}"
            yield f"train_folds={self.train_folds} names {', '.join(map(str, wrong))}; the folds {there}"

    @property
    def folds_trained(self) -> int:
        """How many folds are trained; 1 where only the data decides how many there are."""
        return len(self.train_folds) or (self.split.folds if isinstance(self.split, GroupSplit) else 1)


# %%
class Mix(Spec, abstract=True):
    """How two photographs of a batch become one; their targets are mixed in the same shares."""

    p: float = 0.3  # probability

    def check(self) -> Iterator[str]:
        """A probability."""
        if not 0 < self.p <= 1:
            yield f"p={self.p} must lie in (0, 1]"


class CutMix(Mix):
    """A rectangle of one is pasted into the other, with its targets by area (Yun et al. 2019)."""

    alpha: float = 1.0  # of the Beta distribution that the share is drawn from

    def check(self) -> Iterator[str]:
        """A distribution."""
        yield from super().check()
        yield from not_above_zero(self, "alpha")


class Mixup(Mix):
    """The pixels of both are averaged (Zhang et al. 2018)."""

    alpha: float = 0.4

    def check(self) -> Iterator[str]:
        """A distribution."""
        yield from super().check()
        yield from not_above_zero(self, "alpha")


class TokenMix(Mix):
    """Patches of one replace those of the other after the encoder, so that no border is seen; for a dense head."""

    alpha: float = 1.0

    def check(self) -> Iterator[str]:
        """A distribution."""
        yield from super().check()
        yield from not_above_zero(self, "alpha")


# %%
# What remains of a photograph in training, as shares that the augmentation counts under these keys.
VISIBLE = "visible"  # of its area: what is left of what its targets count
COVERED = "covered"  # of the picture, by the subject: what is left of the mean density over the picture


class Augment(Spec):
    """Changes to each photograph, drawn anew in every epoch.

    What is left of a photograph weighs less: a label is scaled by the share that remains, unless the head predicts a
    density (see `training_photographs`).
    """

    preset: str = "moderate"
    rescale: tuple[float, float] | None = None  # smallest and largest size of the photograph, padded with `pad`
    rescale_p: float = 0.2  # probability
    pad: str = "black"  # or `reflect`
    crop: tuple[float, float] | None = None  # smallest and largest share of the photograph that a random crop keeps
    crop_p: float = 0.5
    stamps_p: float = 0.0  # probability of a painted date stamp, orange as the cameras' own
    spots_p: float = 0.0  # probability of light spots
    mix: Mix | None = None

    def check(self) -> Iterator[str]:
        """Known words and possible ranges."""
        yield from not_one_of("preset", self.preset, AUGMENTATIONS)
        yield from not_one_of("pad", self.pad, ("black", "reflect"))
        for name in ("rescale", "crop"):
            span = getattr(self, name)
            if span is not None and not 0 < span[0] <= span[1] <= 1:
                yield f"{name}={span} must be two numbers in (0, 1], the smaller first"
        for name, loose in (("rescale", "rescale_p"), ("rescale", "pad"), ("crop", "crop_p")):
            if getattr(self, name) is None and getattr(self, loose) != default_of(Augment, loose):
                yield f"{loose}={getattr(self, loose)!r} has no effect without {name}"
        for name in ("rescale_p", "crop_p", "stamps_p", "spots_p"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name}={getattr(self, name)} must lie in [0, 1]"

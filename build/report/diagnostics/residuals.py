"""The errors per target, per part or fold; the images that cost most; how far the identities are broken.

An error is prediction minus truth. Few photographs often carry half of the squared error: ten of 357 in the first
competition. Of classes an error is a class that was not the likeliest, and what an image costs is its squared error
too, over the probabilities of all classes (Brier, Monthly Weather Review 78, 1950): the surer the mistake, the dearer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from build.report.diagnostics.subject import Subject
from build.scores.comparison import Comparison, costs, typical_error
from build.scores.constraint_comparison import AS_IT_IS
from build.scores.intervals import Interval
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import weight_row

SHOWN = 10  # of the worst images
TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class TargetErrors:
    """How one target is met."""

    target: str
    r2: Interval | None  # ordinary R² of this target; None where its truth is constant
    bias: float
    rmse: float
    median: float  # of the absolute error
    slope: float | None  # of the error on the truth; below 0 for every model that is not perfect
    share: float  # of the metric-weighted squared error


@dataclass(frozen=True, kw_only=True)
class Part:
    """The images of one part or one fold."""

    name: str
    images: int
    groups: int  # that they come from
    truth: tuple[float, ...]  # mean of each target
    bias: tuple[float, ...]
    error: float  # root of the metric-weighted mean squared error; of classes the share of wrong
    share: float  # of the metric-weighted squared error of all images; of classes of all that are wrong


def squared_errors(subject: Subject) -> np.ndarray:
    """Return the metric-weighted squared error of each image, (images,)."""
    return subject.errors**2 @ weight_row()


def target_errors(subject: Subject, comparison: Comparison) -> tuple[TargetErrors, ...]:
    """Describe every target; nothing of classes."""
    if facts().are_classes:
        return ()
    errors, truth = subject.errors, subject.validation.truth
    cost = (errors**2).sum(0) * weight_row()
    found = []
    for i, target in enumerate(facts().targets):
        own, around = errors[:, i], truth[:, i] - truth[:, i].mean()
        spread = float(around @ around)
        intervals = comparison.targets.get(target)
        found.append(
            TargetErrors(
                target=target,
                r2=intervals[0] if intervals is not None else None,
                bias=float(own.mean()),
                rmse=float(np.sqrt((own**2).mean())),
                median=float(np.median(np.abs(own))),
                slope=float(around @ own) / spread if spread > 0 else None,
                share=float(cost[i] / max(cost.sum(), 1e-12)),
            )
        )
    return tuple(found)


def parts(subject: Subject, labels: np.ndarray) -> tuple[Part, ...]:
    """Describe the images of each label, labels (images,) in their order."""
    validation = subject.validation
    lost = costs(validation.truth, subject.predicted)
    found = []
    for label in sorted(set(labels.tolist()), key=lambda name: (int(name) if name.isdecimal() else 0, name)):
        own = labels == label
        found.append(
            Part(
                name=str(label),
                images=int(own.sum()),
                groups=len(set(validation.groups[own])),
                truth=tuple(validation.truth[own].mean(0).tolist()),
                bias=tuple(subject.errors[own].mean(0).tolist()),
                error=float(typical_error(lost[own].mean())),
                share=float(lost[own].sum() / max(lost.sum(), 1e-12)),
            )
        )
    return tuple(found)


# %%
@dataclass(frozen=True, kw_only=True)
class ClassErrors:
    """How one class is met."""

    target: str
    images: int  # of this class
    predicted: int  # for which it was the likeliest
    found: float | None  # share of its images; None: there are none
    right: float | None  # share of the images for which it was the likeliest
    instead: tuple[int, ...]  # how many of its images went to each class


def class_errors(subject: Subject) -> tuple[ClassErrors, ...]:
    """Describe every class, a row of the confusion matrix each; nothing where there are none."""
    if not facts().are_classes:
        return ()
    targets = facts().targets
    true, likeliest = subject.validation.truth.argmax(1), subject.predicted.argmax(1)
    counts = np.zeros((len(targets), len(targets)), int)
    np.add.at(counts, (true, likeliest), 1)
    return tuple(
        ClassErrors(
            target=target,
            images=int(counts[i].sum()),
            predicted=int(counts[:, i].sum()),
            found=float(counts[i, i] / counts[i].sum()) if counts[i].sum() else None,
            right=float(counts[i, i] / counts[:, i].sum()) if counts[:, i].sum() else None,
            instead=tuple(counts[i].tolist()),
        )
        for i, target in enumerate(targets)
    )


# %%
@dataclass(frozen=True, kw_only=True)
class WorstImage:
    """One image and what it costs."""

    image_id: str
    group: str
    beside: str | None  # what else is said of it, such as a species
    share: float  # of the metric-weighted squared error
    truth: tuple[float, ...]
    predicted: tuple[float, ...]
    costliest: str  # the target with most of it
    photograph: Path | None


@dataclass(frozen=True, kw_only=True)
class WorstImages:
    """The worst first, and how few of them hold half."""

    images: tuple[WorstImage, ...]
    hold_half: int  # so many of the worst hold at least half of the squared error

    @property
    def share(self) -> float:
        """Return what the images shown hold together."""
        return sum(image.share for image in self.images)


def worst_images(subject: Subject, photographs: Mapping[str, Path], shown: int = SHOWN) -> WorstImages:
    """Rank the images by their metric-weighted squared error; `photographs` are those at hand, by image_id."""
    squares = squared_errors(subject)
    shares = squares / max(float(squares.sum()), 1e-12)
    order = np.argsort(-shares, kind="stable")
    validation, beside = subject.validation, subject.shown_with
    images = []
    for i in order[:shown]:
        image_id = str(validation.image_ids[i])
        images.append(
            WorstImage(
                image_id=image_id,
                group=str(validation.groups[i]),
                beside=None if beside is None else str(beside[i]),
                share=float(shares[i]),
                truth=tuple(validation.truth[i].tolist()),
                predicted=tuple(subject.predicted[i].tolist()),
                costliest=facts().targets[int(np.argmax(subject.errors[i] ** 2 * weight_row()))],
                photograph=photographs.get(image_id),
            )
        )
    half = int(np.searchsorted(np.cumsum(shares[order]), 0.5 - 1e-12)) + 1
    return WorstImages(images=tuple(images), hold_half=min(half, len(order)))


# %%
@dataclass(frozen=True, kw_only=True)
class Violation:
    """One identity."""

    identity: str  # e.g. "total = green + dead"
    broken: int  # images that miss it by more than `Facts.identity_tolerance`
    mean: float  # absolute, over all images
    worst: float


@dataclass(frozen=True, kw_only=True)
class IdentityCheck:
    """The truth, the predictions as they are, or one constraint."""

    of: str
    violations: tuple[Violation, ...]
    negative: int  # values below zero
    moved: float  # mean absolute change of a value against the predictions as they are; of the truth 0


def identity_checks(subject: Subject) -> tuple[IdentityCheck, ...]:
    """Check the truth, the predictions as they are, and each constraint on them; nothing where there is no identity."""
    if not facts().identities:
        return ()
    variants = {TRUTH: subject.validation.truth, AS_IT_IS: subject.predicted}
    variants |= {name: answers().finished(subject.predicted, name) for name in review().constraints}
    return tuple(
        IdentityCheck(
            of=name,
            violations=violations(values),
            negative=int((values < 0).sum()),
            moved=0.0 if name == TRUTH else float(np.abs(values - subject.predicted).mean()),
        )
        for name, values in variants.items()
    )


def violations(values: np.ndarray) -> tuple[Violation, ...]:
    """Measure every identity, (images, targets)."""
    of = {target: values[:, i] for i, target in enumerate(facts().targets)}
    found = []
    for total, summands in facts().identities.items():
        off = np.abs(of[total] - np.sum([of[summand] for summand in summands], axis=0))
        found.append(
            Violation(
                identity=f"{total} = {' + '.join(summands)}",
                broken=int((off > facts().identity_tolerance).sum()),
                mean=float(off.mean()),
                worst=float(off.max()),
            )
        )
    return tuple(found)

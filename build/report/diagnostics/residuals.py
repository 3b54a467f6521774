"""The errors per target, per state, species or fold; the images that cost most; how far the identities are broken.

An error is prediction minus truth, in grams. On the real photographs about ten carry half of the squared error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from build.report.diagnostics.subject import Subject
from build.scores.comparison import Comparison
from build.scores.constraint_comparison import AS_IT_IS
from build.scores.intervals import Interval
from kernel_src.competitions.biomass.constants import IDENTITIES, IDENTITY_TOLERANCE_G, TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.held_rules import weight_row
from kernel_src.recipes.predictor import CONSTRAINTS

SHOWN = 10  # of the worst images
TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class TargetErrors:
    """How one target is met."""

    target: str
    r2: Interval | None  # ordinary R² of this target; None where its truth is constant
    bias_g: float
    rmse_g: float
    median_g: float  # of the absolute error
    slope: float | None  # grams of error per gram of truth; below 0 for every model that is not perfect
    share: float  # of the metric-weighted squared error


@dataclass(frozen=True, kw_only=True)
class Part:
    """The images of one state, one species or one fold."""

    name: str
    images: int
    groups: int  # visits that they come from
    truth_g: tuple[float, ...]  # mean of each target
    bias_g: tuple[float, ...]
    error_g: float  # root of the metric-weighted mean squared error
    share: float  # of the metric-weighted squared error of all images


def squared_errors(subject: Subject) -> np.ndarray:
    """Return the metric-weighted squared error of each image, (images,)."""
    return subject.errors**2 @ weight_row()


def target_errors(subject: Subject, comparison: Comparison) -> tuple[TargetErrors, ...]:
    """Describe every target."""
    errors, truth = subject.errors, subject.validation.truth
    cost = (errors**2).sum(0) * weight_row()
    found = []
    for i, target in enumerate(TARGETS):
        own, around = errors[:, i], truth[:, i] - truth[:, i].mean()
        spread = float(around @ around)
        intervals = comparison.targets.get(target)
        found.append(
            TargetErrors(
                target=target,
                r2=intervals[0] if intervals is not None else None,
                bias_g=float(own.mean()),
                rmse_g=float(np.sqrt((own**2).mean())),
                median_g=float(np.median(np.abs(own))),
                slope=float(around @ own) / spread if spread > 0 else None,
                share=float(cost[i] / max(cost.sum(), 1e-12)),
            )
        )
    return tuple(found)


def parts(subject: Subject, labels: np.ndarray) -> tuple[Part, ...]:
    """Describe the images of each label, labels (images,) in their order."""
    squares, validation = squared_errors(subject), subject.validation
    found = []
    for label in sorted(set(labels.tolist()), key=lambda name: (int(name) if name.isdecimal() else 0, name)):
        own = labels == label
        found.append(
            Part(
                name=str(label),
                images=int(own.sum()),
                groups=len(set(validation.groups[own])),
                truth_g=tuple(validation.truth[own].mean(0).tolist()),
                bias_g=tuple(subject.errors[own].mean(0).tolist()),
                error_g=float(np.sqrt(squares[own].mean())),
                share=float(squares[own].sum() / max(squares.sum(), 1e-12)),
            )
        )
    return tuple(found)


# %%
@dataclass(frozen=True, kw_only=True)
class WorstImage:
    """One image and what it costs."""

    image_id: str
    group: str
    species: str | None
    share: float  # of the metric-weighted squared error
    truth_g: tuple[float, ...]
    predicted_g: tuple[float, ...]
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
    validation, species = subject.validation, subject.species
    images = []
    for i in order[:shown]:
        image_id = str(validation.image_ids[i])
        images.append(
            WorstImage(
                image_id=image_id,
                group=str(validation.groups[i]),
                species=None if species is None else str(species[i]),
                share=float(shares[i]),
                truth_g=tuple(validation.truth[i].tolist()),
                predicted_g=tuple(subject.predicted[i].tolist()),
                costliest=TARGETS[int(np.argmax(subject.errors[i] ** 2 * weight_row()))],
                photograph=photographs.get(image_id),
            )
        )
    half = int(np.searchsorted(np.cumsum(shares[order]), 0.5 - 1e-12)) + 1
    return WorstImages(images=tuple(images), hold_half=min(half, len(order)))


# %%
@dataclass(frozen=True, kw_only=True)
class Violation:
    """One identity."""

    identity: str  # e.g. "GDM_g = Dry_Green_g + Dry_Clover_g"
    broken: int  # images that miss it by more than IDENTITY_TOLERANCE_G
    mean_g: float  # absolute, over all images
    worst_g: float


@dataclass(frozen=True, kw_only=True)
class IdentityCheck:
    """The truth, the predictions as they are, or one constraint."""

    of: str
    violations: tuple[Violation, ...]
    negative: int  # values below zero
    moved_g: float  # mean absolute change of a value against the predictions as they are; of the truth 0


def identity_checks(subject: Subject) -> tuple[IdentityCheck, ...]:
    """Check the truth, the predictions as they are, and each constraint on them."""
    variants = {TRUTH: subject.validation.truth, AS_IT_IS: subject.predicted}
    variants |= {name: constrain(subject.predicted, name) for name in CONSTRAINTS}
    return tuple(
        IdentityCheck(
            of=name,
            violations=violations(grams),
            negative=int((grams < 0).sum()),
            moved_g=0.0 if name == TRUTH else float(np.abs(grams - subject.predicted).mean()),
        )
        for name, grams in variants.items()
    )


def violations(grams: np.ndarray) -> tuple[Violation, ...]:
    """Measure both identities, grams (images, 5)."""
    of = {target: grams[:, i] for i, target in enumerate(TARGETS)}
    found = []
    for total, summands in IDENTITIES.items():
        off = np.abs(of[total] - np.sum([of[summand] for summand in summands], axis=0))
        found.append(
            Violation(
                identity=f"{total} = {' + '.join(summands)}",
                broken=int((off > IDENTITY_TOLERANCE_G).sum()),
                mean_g=float(off.mean()),
                worst_g=float(off.max()),
            )
        )
    return tuple(found)

"""The images that cost most: on the real photographs about ten carry half of the squared error."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from build.report.diagnostics.residuals import squared_errors
from build.report.diagnostics.subject import Subject
from kernel_src.competition.constants import TARGETS
from kernel_src.competition.metric import weight_row

SHOWN = 10


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

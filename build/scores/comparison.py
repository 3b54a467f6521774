"""The comparison: each model's official score, each pair's difference, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from build.core.errors import CheckFailed, Problem
from build.scores.intervals import (
    LEVEL,
    GroupSums,
    Interval,
    difference_interval,
    group_sums,
    groups_missing,
    score_intervals,
)
from build.scores.oof_files import Validation, read_with_truth, validation_of
from build.scores.reference_points import reference_points
from build.scores.warnings import find_warnings
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.held_rules import weight_row


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The score of b minus that of a."""

    a: int
    b: int
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One state or one date."""

    name: str
    images: int
    truth_g: float  # mean Total
    errors_g: tuple[float, ...]  # per model: root of the metric-weighted mean squared error
    shares: tuple[float, ...]  # per model: of its whole squared error


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that the table, the page and the JSON show."""

    validation: Validation
    models: tuple[Interval, ...]
    pairs: tuple[Pair, ...]
    targets: dict[str, tuple[Interval, ...]]  # ordinary R² of each target
    states: tuple[Slice, ...]
    dates: tuple[Slice, ...]
    floors: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def ranking(self) -> list[int]:
        """The models, best first."""
        return sorted(range(len(self.models)), key=lambda i: -self.models[i].estimate)

    def pair(self, a: int, b: int, level: float = LEVEL) -> Interval:
        """Return the difference b − a, whichever way it was given."""
        return difference_interval(sums_of(self.validation), a, b, level)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        names = self.validation.names
        return {
            "models": [
                {"name": name, "r2": model.estimate, "low": model.low, "high": model.high}
                for name, model in zip(names, self.models, strict=True)
            ],
            "pairs": [
                {
                    "a": names[pair.a],
                    "b": names[pair.b],
                    "difference": pair.difference.estimate,
                    "low": pair.difference.low,
                    "high": pair.difference.high,
                    "probability": pair.difference.probability,
                }
                for pair in self.pairs
            ],
            "warnings": list(self.warnings),
        }


def sums_of(validation: Validation) -> GroupSums:
    """Add up by group what the official score needs."""
    return group_sums(validation.truth, validation.predictions, validation.groups, weight_row())


def compare_files(given: Sequence[str], train_csv: Path | None) -> Comparison:
    """Read the files and compare them; raises what reading raises."""
    files, truth = read_with_truth(given, train_csv)
    validation = validation_of(files, truth)
    return compare(validation, find_warnings(files, truth, validation))


def compare(validation: Validation, warnings: Sequence[str] = ()) -> Comparison:
    """Compare predictions on the same images.

    Raises:
        CheckFailed: they are too few for a score.
    """
    truth, predictions, groups = validation.truth, validation.predictions, validation.groups
    sums = sums_of(validation)
    pairs = [
        Pair(a=a, b=b, difference=difference_interval(sums, a, b))
        for a, b in combinations(range(len(validation.names)), 2)
    ]
    official = [weighted_r2(truth, one) for one in predictions]
    try:
        models = score_intervals(sums)
    except ValueError as error:
        what = f"{len(truth)} images of {len(set(groups))} groups are too few for a score: {error}"
        raise CheckFailed([Problem(what=what, cure="give files with more images")]) from None
    assert np.allclose(official, [model.estimate for model in models], rtol=1e-9, atol=1e-9)
    targets = {}
    for i, target in enumerate(TARGETS):
        own = group_sums(truth[:, [i]], predictions[:, :, [i]], groups, np.ones(1))
        try:
            targets[target] = tuple(score_intervals(own))
        except ValueError:  # weighed in one group at most: a score is not defined with that one left out
            continue
    return Comparison(
        validation=validation,
        models=tuple(models),
        pairs=tuple(pairs),
        targets=targets,
        states=_slices(validation, validation.states),
        dates=_slices(validation, validation.dates),
        floors=reference_points(truth, groups),
        warnings=tuple(warnings),
    )


def _slices(validation: Validation, labels: np.ndarray) -> tuple[Slice, ...]:
    squares = ((validation.truth - validation.predictions) ** 2) @ weight_row()  # (models, images)
    slices = []
    for label in sorted(set(labels)):
        own = labels == label
        slices.append(
            Slice(
                name=str(label),
                images=int(own.sum()),
                truth_g=float(validation.truth[own, -1].mean()),
                errors_g=tuple(np.sqrt(squares[:, own].mean(1)).tolist()),
                shares=tuple((squares[:, own].sum(1) / np.maximum(squares.sum(1), 1e-12)).tolist()),
            )
        )
    return tuple(slices)


# %%
def decision(comparison: Comparison) -> str:
    """Say in one line which model is better, or that it cannot be told.

    Two files are taken as they were given. Of more, the best is compared with the next, and every one that it does not
    beat at a level shared among all (Bonferroni) is counted: the best of many always looks better than it is.
    """
    names, order = comparison.validation.names, comparison.ranking
    if len(names) < 2:
        return "one file: nothing to compare"
    best, second = order[0], order[1]
    line = decision_line(names[second], names[best], comparison.pair(second, best))
    if len(names) == 2:
        return line
    others = len(names) - 1
    level = 1 - (1 - LEVEL) / others
    open_ones = [names[i] for i in order[1:] if not comparison.pair(i, best, level).carried]
    open_line = f"; {len(open_ones)} of {others} others cannot be told from {names[best]}" if open_ones else ""
    return f"{line}{open_line}"


def decision_line(a: str, b: str, difference: Interval) -> str:
    """Say whether b is better than a."""
    numbers = f"{difference.estimate:+.3f} [{difference.low:.3f}, {difference.high:.3f}]"
    if difference.carried:
        better, worse, sign = (b, a, 1) if difference.low > 0 else (a, b, -1)
        probability = difference.probability if sign > 0 else 1 - difference.probability
        ends = sorted((sign * difference.low, sign * difference.high))
        estimate = sign * difference.estimate
        sure = "> 99.9 %" if probability > 0.999 else f"{probability:.1%}".replace("%", " %").replace(".0 %", " %")
        return f"{better} is better than {worse}: {estimate:+.3f} [{ends[0]:.3f}, {ends[1]:.3f}], {sure}"
    missing = groups_missing(difference)
    more = f"about {missing} more groups would" if missing is not None else "not even 1,000 more groups would"
    return f"cannot tell: {b} against {a} {numbers}, {difference.probability:.0%} better; {more}".replace("% b", " % b")

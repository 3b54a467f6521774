"""The comparison: each model's score by the competition's metric, each pair's difference, and where it comes from.

A difference is always how much b is better than a, whichever way the metric runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from build.core.errors import CheckFailed, Problem
from build.scores.intervals import (
    LEVEL,
    GroupScores,
    Interval,
    difference_interval,
    group_scores,
    group_sums,
    groups_missing,
    most_groups,
    score_intervals,
)
from build.scores.oof_files import Validation, read_with_truth, validation_of
from build.scores.warnings import find_warnings
from build.scores.words import metric_name, size_words, units_word
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules, weight_row


@dataclass(frozen=True, kw_only=True)
class Pair:
    """By how much b is better than a."""

    a: int
    b: int
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The images of one part, such as one place or one date."""

    name: str
    images: int
    truth: float | None  # mean of the main target; None: of classes there is none
    errors: tuple[
        float, ...
    ]  # per model: root of the metric-weighted mean squared error, of classes the share of wrong
    shares: tuple[float, ...]  # per model: of its whole squared error, of classes of all that are wrong


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that the table, the page and the JSON show."""

    validation: Validation
    scored: GroupScores
    models: tuple[Interval, ...]
    pairs: tuple[Pair, ...]
    targets: dict[str, tuple[Interval, ...]]  # ordinary R² of each target; of classes and of one target there is none
    parts: dict[str, tuple[Slice, ...]]  # by what errors are split by
    floors: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def ranking(self) -> list[int]:
        """The models, best first."""
        return sorted(range(len(self.models)), key=lambda i: -rules().metric.gain(self.models[i].estimate))

    def pair(self, a: int, b: int, level: float = LEVEL) -> Interval:
        """Return by how much b is better than a, whichever way they were given."""
        return difference_interval(self.scored, a, b, level)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        names = self.validation.names
        return {
            "metric": metric_name(),
            "higher_is_better": rules().metric.higher_is_better,
            "models": [
                {"name": name, "score": model.estimate, "low": model.low, "high": model.high}
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
    try:
        scored = group_scores(truth, predictions, groups)
        models = score_intervals(scored)
    except ValueError as error:
        what = f"{size_words(len(truth), len(set(groups)))} are too few for a score: {error}"
        raise CheckFailed([Problem(what=what, cure="give files with more images")]) from None
    pairs = [
        Pair(a=a, b=b, difference=difference_interval(scored, a, b))
        for a, b in combinations(range(len(validation.names)), 2)
    ]
    official = [rules().score(truth, one) for one in predictions]
    assert np.allclose(official, [model.estimate for model in models], rtol=1e-9, atol=1e-9)
    return Comparison(
        validation=validation,
        scored=scored,
        models=tuple(models),
        pairs=tuple(pairs),
        targets=_each_target(validation),
        parts={kind: _slices(validation, labels) for kind, labels in validation.parts.items()},
        floors=review().reference_points(truth, groups),
        warnings=tuple(warnings),
    )


def _each_target(validation: Validation) -> dict[str, tuple[Interval, ...]]:
    """Return the ordinary R² of each target: for diagnosis only, their mean is not the score."""
    targets = facts().targets
    found: dict[str, tuple[Interval, ...]] = {}
    for i, target in enumerate(targets if len(targets) > 1 and not facts().are_classes else ()):
        own = group_sums(validation.truth[:, [i]], validation.predictions[:, :, [i]], validation.groups, np.ones(1))
        try:
            found[target] = tuple(score_intervals(own))
        except ValueError:  # there in one group at most: a score is not defined with that one left out
            continue
    return found


def costs(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what each image costs, (images,): the metric-weighted squared error, of classes 1 where it is wrong.

    Both are (images, targets), or predictions of several models with one more axis before.
    """
    if facts().are_classes:
        return (predicted.argmax(-1) != truth.argmax(-1)).astype(float)
    return np.asarray(((truth - predicted) ** 2) @ weight_row())


def typical_error(mean_cost: np.ndarray) -> np.ndarray:
    """Return the error that belongs to a mean of `costs`: its root, of classes itself."""
    return mean_cost if facts().are_classes else np.sqrt(mean_cost)


def _slices(validation: Validation, labels: np.ndarray) -> tuple[Slice, ...]:
    lost = costs(validation.truth, validation.predictions)  # (models, images)
    slices = []
    for label in sorted(set(labels)):
        own = labels == label
        slices.append(
            Slice(
                name=str(label),
                images=int(own.sum()),
                truth=None if facts().are_classes else float(validation.truth[own, review().main].mean()),
                errors=tuple(typical_error(lost[:, own].mean(1)).tolist()),
                shares=tuple((lost[:, own].sum(1) / np.maximum(lost.sum(1), 1e-12)).tolist()),
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
    missing, units, most = groups_missing(difference), units_word(), most_groups(difference.groups)
    more = f"about {missing} more {units} would" if missing is not None else f"not even {most:,} more {units} would"
    return f"cannot tell: {b} against {a} {numbers}, {difference.probability:.0%} better; {more}".replace("% b", " % b")

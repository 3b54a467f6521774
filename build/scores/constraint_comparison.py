"""The constraints compared on out-of-fold predictions: each against the predictions as they are, paired.

Where a competition finishes its predictions in one way only, there is nothing to compare.

Within a file the variants are compared as models are. Over several files the mean gain is jackknifed over the same
groups at once, since the files err on the same photographs: twelve files are not twelve witnesses.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from build.core.errors import UsageError
from build.scores.intervals import Interval, group_scores, jackknife
from build.scores.oof_files import Validation
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

AS_IT_IS = "as it is"


@dataclass(frozen=True, kw_only=True)
class ConstraintGain:
    """What one constraint gains, over all files."""

    constraint: str
    against: str
    gain: Interval  # mean over the files
    least: float  # of one file
    most: float

    def as_json(self) -> dict[str, Any]:
        """Return one row for scripts."""
        return {
            "constraint": self.constraint,
            "against": self.against,
            "gain": self.gain.estimate,
            "low": self.gain.low,
            "high": self.gain.high,
            "probability": self.gain.probability,
            "least": self.least,
            "most": self.most,
        }


def constraint_gains(validation: Validation) -> list[ConstraintGain]:
    """Compare every constraint with the predictions as they are, and the usual one with the others.

    Raises:
        UsageError: the competition has one way only to finish predictions.
    """
    names, usual = review().constraints, review().constraint
    if len(names) < 2:
        raise UsageError(f"{rules().competition} finishes its predictions in one way only: leave --constraints out")
    variants = {AS_IT_IS: validation.predictions}
    for name in names:
        variants[name] = np.stack([answers().finished(one, name) for one in validation.predictions])
    scored = {name: group_scores(validation.truth, one, validation.groups) for name, one in variants.items()}
    pairs = [(name, AS_IT_IS) for name in names]
    pairs += [(usual, other) for other in names if other != usual]
    gains, sign = [], rules().metric.gain(1.0)
    for name, against in pairs:
        each = sign * (scored[name].whole - scored[against].whole)
        parts = sign * (scored[name].without - scored[against].without)
        interval = jackknife(float(each.mean()), parts.mean(0), counted=scored[name].groups)
        gains.append(
            ConstraintGain(
                constraint=name, against=against, gain=interval, least=float(each.min()), most=float(each.max())
            )
        )
    return gains

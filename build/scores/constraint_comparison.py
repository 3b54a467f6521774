"""The constraints compared on out-of-fold predictions: each against the predictions as they are, paired.

Within a file the variants are compared as models are. Over several files the mean gain is jackknifed over the same
groups at once, since the files err on the same photographs: twelve files are not twelve witnesses.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from build.scores.intervals import Interval, group_sums, jackknife, scores, scores_without_each
from build.scores.oof_files import Validation
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.held_rules import weight_row
from kernel_src.recipes.predictor import CONSTRAINTS

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
    """Compare every constraint with the predictions as they are, and the other two projections with the default."""
    variants = {AS_IT_IS: validation.predictions}
    for name in CONSTRAINTS:
        variants[name] = np.stack([constrain(one, name) for one in validation.predictions])
    whole, parts = {}, {}
    for name, predictions in variants.items():
        sums = group_sums(validation.truth, predictions, validation.groups, weight_row())
        whole[name], parts[name] = scores(sums), scores_without_each(sums)
    pairs = [(name, AS_IT_IS) for name in CONSTRAINTS]
    pairs += [("projection", other) for other in CONSTRAINTS if other != "projection"]
    gains = []
    for name, against in pairs:
        each = whole[name] - whole[against]
        interval = jackknife(float(each.mean()), (parts[name] - parts[against]).mean(0))
        gains.append(
            ConstraintGain(
                constraint=name, against=against, gain=interval, least=float(each.min()), most=float(each.max())
            )
        )
    return gains

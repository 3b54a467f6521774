"""How long a training would take on Kaggle: computed from its network's operations, nothing here was measured.

The backward pass is counted as two forward passes, recomputed activations as one more. Two T4s are taken to share the
work evenly, at the rate that `describe` takes for one. Reading photographs, the depth model, external data and the
predictions at the end are left out, so it is more likely too short than too long.
"""

import math
from dataclasses import dataclass

from build.weights.describe import T4_FLOP_PER_S, descriptions
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.training_data import GroupSplit
from kernel_src.training.session import RESERVE_SHARE

SESSION_S = 12 * 3600.0  # of a batch run on Kaggle; an inference is held to the competition's limit
T4S = {"NvidiaTeslaT4": 2}  # of a session; of other GPUs no rate is known here
TIME_FORMULA = (
    f"computed, not measured: epochs x folds x photographs x 3 (4 with checkpointing) x FLOPs of one pass / "
    f"{T4_FLOP_PER_S:.0e} FLOP/s and T4, two T4s"
)


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """A training's time on Kaggle, computed."""

    hours: float
    limit_s: float  # after which it stops itself; 0: it never does

    @property
    def sessions(self) -> int:
        """How many sessions that takes."""
        usable_s = self.limit_s * (1 - RESERVE_SHARE) if self.limit_s else SESSION_S
        return max(1, math.ceil(self.hours * 3600 / usable_s))

    def as_line(self) -> str:
        """Say it, if one session is not enough; empty if it is."""
        if self.sessions == 1:
            return ""
        line = f"about {self.hours:.0f} h of GPUs, so {self.sessions} sessions ({TIME_FORMULA})"
        if not self.limit_s:
            line += "; NOTE: its recipe has no machine.limit_s, and of a training that Kaggle ends after 12 h nothing "
            line += "is kept: SET=machine.limit_s=41400"
        return line


def training_time(recipe: Experiment, photographs: int) -> TrainingTime | None:
    """Compute how long a recipe trains on so many photographs; None: the rate of its GPUs is not known."""
    if recipe.is_frozen or recipe.machine.shape not in T4S:
        return None
    (described,) = descriptions([recipe], quiet=True)
    split = recipe.data.split
    trained_on = photographs * (1 - 1 / split.folds if isinstance(split, GroupSplit) else 1)
    passes = recipe.schedule.epochs * recipe.data.folds_trained * trained_on
    flops = passes * (4 if recipe.encoder.checkpointing else 3) * described.flops_fold
    return TrainingTime(hours=flops / T4_FLOP_PER_S / T4S[recipe.machine.shape] / 3600, limit_s=recipe.machine.limit_s)

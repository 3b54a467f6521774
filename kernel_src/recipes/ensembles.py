"""## The list of ensembles

Bundles of several experiments in one inference notebook.
"""

from dataclasses import dataclass, field
from typing import Any

from kernel_src.recipes.blended_ensembles import BLENDED
from kernel_src.recipes.predictor import checked_experiment_name
from kernel_src.recipes.spec import ExperimentError


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Bundles of several experiments, blended in one inference notebook; there is nothing to train."""

    name: str
    shares: dict[str, float]  # experiment → weight in the blend
    # Instead of the shares, a linear model per target: {"weights": five rows of one number per experiment,
    # "intercept_g": five grams}, fitted on out-of-fold predictions; empty: the shares count.
    stack: dict[str, list[Any]] = field(default_factory=dict)
    constraint: str = "projection"  # once, after the blend
    machine_shape: str = "NvidiaTeslaT4"

    def __post_init__(self) -> None:
        """Refuse a name that Kaggle would not take.

        Raises:
            ExperimentError: the ensemble's own name, or there is no experiment to blend.
        """
        checked_experiment_name(self.name)
        if not self.shares:
            raise ExperimentError(f"{self.name}: an ensemble without shares has nothing to blend")


# V6: 0.4 V4 + 0.6 V5. Public R² 0.57.
# On purpose unlike the seed: it ran V4 at 384 although trained at 512; here each bundle brings its own size, mean and
# deviation, views and depth, and only the blend is constrained.
V6 = Ensemble(name="v6", shares={"v4": 0.4, "v5": 0.6})

ENSEMBLES = {ensemble.name: ensemble for ensemble in (V6,)}

# What out-of-fold predictions spoke for (`python -m build blend … --write NAME`).
ENSEMBLES |= {
    name: Ensemble(name=name, shares=entry["shares"], stack=entry["stack"], constraint=entry["constraint"])
    for name, entry in BLENDED.items()
}

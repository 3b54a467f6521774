"""## Ensembles

Bundles of several experiments in one inference notebook.
"""

from dataclasses import dataclass, field
from typing import Any

from kernel_src.recipes.predictor import checked_experiment_name
from kernel_src.recipes.spec import ExperimentError


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Bundles of several experiments, blended in one inference notebook; there is nothing to train."""

    name: str
    shares: dict[str, float]  # experiment → weight in the blend
    # Instead of the shares, a linear model per target: {"weights": a row per target of one number per experiment,
    # "intercept_g": one number per target}, fitted on out-of-fold predictions; empty: the shares count.
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

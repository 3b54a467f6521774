"""## How Image2Biomass is judged

Visits of one State and date stay together, predictions are made to satisfy the identities, and one weighted R² counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

import kernel_src.competitions.biomass.row_rules  # noqa: F401  # part: row_rules
from kernel_src.competition.facts import Facts
from kernel_src.competition.rules import Metric, Rules
from kernel_src.competitions.biomass.constants import COMPONENTS, DATE_COLUMN, STATE_COLUMN, TARGETS
from kernel_src.competitions.biomass.constraints import project
from kernel_src.competitions.biomass.facts import BiomassFacts
from kernel_src.competitions.biomass.floors import floor_scores
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.competitions.biomass.metric import r2_per_target, weighted_r2
from kernel_src.competitions.biomass.tables import group_labels, read_train
from kernel_src.runtime.parts import optional_part


@dataclass(frozen=True)
class WeightedR2(Metric):
    """The official one; see `weighted_r2`."""

    name: ClassVar[str] = "R²"

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        """Return … 1, over grams (images, 5)."""
        return weighted_r2(truth, predicted)


class BiomassRules(Rules):
    """Tables with a row for each photograph and target."""

    competition: ClassVar[str] = "biomass"
    facts: ClassVar[type[Facts]] = BiomassFacts
    metric: ClassVar[Metric] = WeightedR2()
    group_columns: ClassVar[tuple[str, ...]] = (STATE_COLUMN, DATE_COLUMN)
    group_name: ClassVar[str] = "State+Sampling_Date group"
    shown_by: ClassVar[str] = STATE_COLUMN

    def read_train(self, path: Path) -> pd.DataFrame:
        """Read train.csv as one row per photograph; see `read_train` of the tables."""
        return read_train(path)

    def group_labels(self, train: pd.DataFrame) -> np.ndarray:
        """Name the visit of each photograph, State and Sampling_Date."""
        return group_labels(train)

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return what a stratified split balances, (images, 5) to (images,): the Total.

        The sum over the targets would count green matter and clover three times, dead matter twice.
        """
        return targets[:, TARGETS.index("Dry_Total_g")]

    def dropped_rows(self, names: Sequence[str], rows: pd.DataFrame) -> np.ndarray:
        """Tell which rows do not train; see `dropped_rows` of the part."""
        dropped: np.ndarray = optional_part("row_rules").dropped_rows(names, rows)
        return dropped

    def pseudo_labels(self, predictions: np.ndarray, below: float) -> np.ndarray:
        """Return predictions (images, 5) as labels: components below `below` grams are 0, sums are sums."""
        parts = project(predictions)[:, [TARGETS.index(component) for component in COMPONENTS]]
        return np.where(parts < below, 0.0, parts) @ component_matrix().T

    def score_per_target(self, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        """Return the ordinary R² of each target; see `r2_per_target`."""
        return r2_per_target(truth, predicted)

    def floors(self, train: pd.DataFrame) -> dict[str, float]:
        """Return both floors; see `floor_scores`."""
        return floor_scores(train)

"""## How predictions of Image2Biomass are looked at

Its own four sums, its short names for targets, states and dates, the two identities, and what is known of its real
photographs. No notebook needs this.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pandas as pd

from kernel_src.competition.review import Honesty, LongLayout, Review
from kernel_src.competition.sums import Sums, WeightedR2Sums
from kernel_src.competitions.biomass.constants import (
    DATE_COLUMN,
    ID_SEPARATOR,
    NAME_COLUMN,
    QUADRAT,
    STATE_COLUMN,
    TARGET_COLUMN,
    TARGETS,
    TRAINING_MEANS_G,
)
from kernel_src.competitions.biomass.floors import group_out_floor, mean_floor
from kernel_src.competitions.biomass.metric import weight_array, weighted_r2
from kernel_src.competitions.biomass.visits import tidy_visits

SPECIES_COLUMN = "Species"
NUMBERS = ("Pre_GSHH_NDVI", "Height_Ave_cm")  # metadata of train.csv that the test set lacks
# On the 357 real training images, where no table is at hand to compute them.
REFERENCE_POINTS = {"each target's mean": 0.240, "mean of the other groups": 0.213, "true mean of each group": 0.611}
TRAINING_R2, TRAINING_ERROR = 0.95, 0.03  # the best published CV is .86, with a median error of Total of 14 %


def group_mean_ceiling(grams: np.ndarray, groups: np.ndarray) -> float:
    """Score knowing each group's true mean: how far place and date alone would lead; 0.611 on the real images."""
    predicted = np.stack([grams[groups == group].mean(0) for group in groups])
    return weighted_r2(grams, predicted)


class BiomassReview(Review):
    """Grams of five targets on visits to pastures."""

    competition: ClassVar[str] = "biomass"
    group_word: ClassVar[str] = "visit"
    place_word: ClassVar[str] = "pastures"
    inputs_words: ClassVar[str] = "State, month, species, NDVI and height"
    differ_words: ClassVar[str] = "they weigh differently"
    same_words: ClassVar[str] = "weigh exactly the same"
    interval_note: ClassVar[str] = "where the competition's own 30 groups were drawn again they held it in about 90."
    model_words: ClassVar[str] = "grams of dry matter from one photograph of a pasture"
    card_finish: ClassVar[str] = ", and enforces the two identities afterwards"
    card_limits: ClassVar[tuple[str, ...]] = (
        f"Photographs taken from above of one {QUADRAT}; another quadrat, height or camera is another task",
        "Other states, seasons and species may be far worse: private scores lay about 0.10 below the public ones",
        "No single prediction is good enough to manage a paddock by: a few photographs carry half the error",
    )
    targets_note: ClassVar[str] = f"in grams per quadrat ({QUADRAT})"
    unit_words: ClassVar[tuple[str, ...]] = ("g", "grams")
    long_layout: ClassVar[LongLayout | None] = LongLayout(NAME_COLUMN, TARGET_COLUMN, ID_SEPARATOR)
    shown_with: ClassVar[str] = "species"
    constraints: ClassVar[tuple[str, ...]] = ("none", "projection", "biological", "average")
    constraint: ClassVar[str] = "projection"
    real_words: ClassVar[str] = "357 real training"
    published_points: ClassVar[Mapping[str, float]] = REFERENCE_POINTS
    data_means: ClassVar[Mapping[str, float]] = TRAINING_MEANS_G
    means_tolerance: ClassVar[float] = 0.02  # constants with two decimals, projected
    copied: ClassVar[float] = 0.005
    other_truth: ClassVar[float] = 0.5  # rounding stays below, another model's predictions do not
    # Of a model that has never seen the visits, the middle of six.
    honesty: ClassVar[Honesty | None] = Honesty(
        3.7, 11.8, "2.7 to 5.6 where whole groups were left out of the whole table"
    )
    noticed: ClassVar[float] = 1.0
    external: ClassVar[str] = "i2b-grassclover"
    external_area: ClassVar[str] = "per quadrat"
    external_mean: ClassVar[float] = 45.32  # grams of Dry_Total_g per quadrat of 0.21 m² (train.csv)
    thresholds: ClassVar[tuple[float, ...]] = tuple(np.arange(0, 10.5, 0.5).tolist())

    @property
    def sums(self) -> Sums | None:
        """The four sums of the weighted R²."""
        return WeightedR2Sums(weight_array())

    @property
    def score_words(self) -> str:
        """The score, as a sentence begins."""
        return "Official weighted R² in grams"

    @property
    def parts(self) -> dict[str, str]:
        """States and dates."""
        return {"state": STATE_COLUMN, "date": DATE_COLUMN}

    @property
    def report_parts(self) -> dict[str, str]:
        """States and species."""
        return {"state": STATE_COLUMN, "species": SPECIES_COLUMN}

    @property
    def example_shares(self) -> dict[str, float]:
        """Five components that add up: Green, Dead, Clover, GDM = Green + Clover, Total = GDM + Dead."""
        return dict(zip(TARGETS, (1.0, 0.5, 0.5, 1.5, 2.0), strict=True))

    def short(self, target: str) -> str:
        """Return a target's name for a heading: Green, Dead, Clover, GDM, Total."""
        return target.removeprefix("Dry_").removesuffix("_g")

    def spellings(self) -> dict[str, str]:
        """Return `Dry_Green_g`, `Dry_Green` and `Green` → `Dry_Green_g`, and so for each target."""
        found = {name: target for target in TARGETS for name in (target, target[:-2])}
        return found | {name.removeprefix("Dry_"): target for name, target in found.items()}

    def tidy(self, table: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return a table with one spelling of states and dates; see `tidy_visits`."""
        return tidy_visits(table, where)

    def described(self, table: pd.DataFrame) -> np.ndarray | None:
        """Encode State, month and Species as 0 and 1, and the numbers of train.csv as they are; (images, features).

        The date itself is left out: it is the visit.
        """
        month = pd.to_datetime(table[DATE_COLUMN], errors="coerce").dt.month
        columns = [table[STATE_COLUMN].astype(str), month.astype(str)]
        if SPECIES_COLUMN in table:
            columns.append(table[SPECIES_COLUMN].astype(str))
        encoded = [pd.get_dummies(column).to_numpy(float) for column in columns]
        encoded += [
            table[[name]].astype(float).fillna(table[name].astype(float).mean()).to_numpy()
            for name in NUMBERS
            if name in table
        ]
        return np.hstack(encoded)

    def reference_points(self, truth: np.ndarray, groups: np.ndarray) -> dict[str, float]:
        """Return the two floors and the ceiling of place and date alone, named as in `REFERENCE_POINTS`."""
        values = (mean_floor(truth), group_out_floor(truth, groups), group_mean_ceiling(truth, groups))
        return dict(zip(REFERENCE_POINTS, values, strict=True))

    def level_warning(self, truth: np.ndarray, predicted: np.ndarray) -> str:
        """Say that grams (images, 5) are too good to be out of fold, beside the best that was published."""
        score, main = weighted_r2(truth, predicted), TARGETS.index("Dry_Total_g")
        total, off = truth[:, main], np.abs(truth - predicted)[:, main]
        typical = float(np.median(off[total > 0] / total[total > 0])) if (total > 0).any() else 0.0
        if score <= TRAINING_R2 and typical >= TRAINING_ERROR:
            return ""
        return (
            f"R² {score:.3f}, and half of the images have their Total within {typical:.1%}; the best published "
            "out-of-fold score is .86 with 14 %"
        )

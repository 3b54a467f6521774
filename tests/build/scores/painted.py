"""Visits, truth and predictions made up for the tests of validation: 30 groups, as many as the real table has."""

from pathlib import Path

import numpy as np
import pandas as pd

from build.core.long_tables import wide_to_long
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.identities import component_matrix

STATES = ("Tas", "Vic", "NSW", "WA")


def truth(seed: int = 0, groups: int = 30, size: int = 12) -> pd.DataFrame:
    """A wide table: image_id, State, Sampling_Date and the five targets."""
    random = np.random.default_rng(seed)
    visit = np.repeat(np.arange(groups), size)
    means = random.gamma(2, (12.0, 6.0, 4.0), (groups, 3))[visit]
    grams = (means * random.gamma(4, 0.25, (len(visit), 3))) @ component_matrix().T
    table = pd.DataFrame(grams.round(4), columns=list(TARGETS))
    table.insert(0, "image_id", [f"ID{1000 + i}" for i in range(len(visit))])
    table["State"] = [STATES[v % 4] for v in visit]
    table["Sampling_Date"] = [f"2015/{1 + v % 12}/{1 + v}" for v in visit]
    return table


def visits(table: pd.DataFrame) -> np.ndarray:
    return (table["State"] + " " + table["Sampling_Date"]).factorize()[0]


def predicted(table: pd.DataFrame, seed: int, by_visit: float = 8.0, by_image: float = 6.0) -> np.ndarray:
    """Predictions of a model that has never seen a visit: it errs by visit and by image."""
    random = np.random.default_rng(seed)
    own = visits(table)
    shape = (len(table), 5)
    error = random.normal(0, by_visit, (own.max() + 1, 5))[own] + random.normal(0, by_image, shape)
    return table[list(TARGETS)].to_numpy(float) + error


def group_folds(table: pd.DataFrame, folds: int = 5) -> np.ndarray:
    return visits(table) % folds


def write_oof(path: Path, table: pd.DataFrame, grams: np.ndarray, folds: np.ndarray | None = None) -> Path:
    oof = pd.DataFrame(grams, columns=list(TARGETS))
    oof.insert(0, "image_id", table["image_id"].to_numpy())
    if folds is not None:
        oof.insert(1, "fold", folds)
    oof.to_csv(path, index=False)
    return path


def write_train(path: Path, table: pd.DataFrame) -> Path:
    """train.csv in Kaggle's long layout; Species and the like where the table has them."""
    about = table.set_index("image_id")
    more = [name for name in ("Species", "Pre_GSHH_NDVI", "Height_Ave_cm") if name in table]
    rows = []
    for name, grams in wide_to_long(table["image_id"].tolist(), table[list(TARGETS)].to_numpy(float)).items():
        image, target = name.split("__")
        own = about.loc[image]
        rows.append((name, f"train/{image}.jpg", own["Sampling_Date"], own["State"], *own[more], target, grams))
    columns = ["sample_id", "image_path", "Sampling_Date", "State", *more, "target_name", "target"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path

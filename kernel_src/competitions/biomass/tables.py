"""## Long and wide tables

Kaggle's tables have one row per image *and target*; a network needs one row per image. Both ways, checked: what is
missing or doubled is named instead of becoming a NaN.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import (
    DATE_COLUMN,
    ID_COLUMN,
    ID_SEPARATOR,
    NAME_COLUMN,
    STATE_COLUMN,
    TARGET_COLUMN,
    TARGETS,
)
from kernel_src.competitions.biomass.visits import tidy_visits
from kernel_src.runtime.csv_table import read_csv


def read_long(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a long table and make sure that it has the columns."""
    try:
        table = read_csv(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}: is the competition's data complete?") from None
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{path}: columns {', '.join(missing)} are missing, it has {', '.join(map(str, table))}")
    if table.empty:
        raise ValueError(f"{path} has a heading and no rows: is the competition's data complete?")
    if unknown := sorted(set(map(str, table[NAME_COLUMN])) - set(TARGETS)):
        raise ValueError(f"{path}: unknown targets {', '.join(unknown)}; known are {', '.join(TARGETS)}")
    parts = table[ID_COLUMN].astype(str).str.rpartition(ID_SEPARATOR)
    if (wrong := parts[2] != table[NAME_COLUMN]).any():
        row = table[wrong].iloc[0]
        raise ValueError(f"{path}: sample_id {row[ID_COLUMN]!r} does not end in its target {row[NAME_COLUMN]}")
    return table.assign(image_id=parts[0])


def read_train(path: Path) -> pd.DataFrame:
    """Read train.csv as one row per image, sorted as the file meets them.

    Columns: `image_id`, `image_path`, the metadata (State, Sampling_Date, …), then the five targets in grams.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column or a target is missing, doubled, not finite or negative, the message names the image; or
            it is not clear which photographs were taken on one visit.
    """
    long = read_long(path, [ID_COLUMN, IMAGE_COLUMN, NAME_COLUMN, TARGET_COLUMN, STATE_COLUMN, DATE_COLUMN])
    if (doubled := long.duplicated(["image_id", NAME_COLUMN])).any():
        raise ValueError(f"{path}: {long[ID_COLUMN][doubled].iloc[0]} appears twice")
    long[TARGET_COLUMN] = pd.to_numeric(long[TARGET_COLUMN], errors="coerce")  # not a number: reported as not finite
    wide = long.pivot(index="image_id", columns=NAME_COLUMN, values=TARGET_COLUMN).reindex(columns=list(TARGETS))
    grams = wide.to_numpy(float)
    if (bad := ~(np.isfinite(grams) & (grams >= 0)).all(1)).any():
        raise ValueError(f"{path}: image {wide.index[bad][0]} lacks a target or has one that is negative or not finite")
    long = tidy_visits(long, str(path))
    visits = long[["image_id", STATE_COLUMN, DATE_COLUMN]].drop_duplicates()
    if (parted := visits["image_id"].duplicated()).any():
        raise ValueError(f"{path}: image {visits['image_id'][parted].iloc[0]} has several states or dates")
    metadata = long.drop(columns=[ID_COLUMN, NAME_COLUMN, TARGET_COLUMN]).drop_duplicates("image_id")
    return metadata.join(wide, on="image_id").reset_index(drop=True)


# %%
def group_labels(train: pd.DataFrame) -> np.ndarray:
    """Name the visit of each image, State and Sampling_Date: its photographs stay together."""
    return (train[STATE_COLUMN].astype(str) + " " + train[DATE_COLUMN].astype(str)).to_numpy(str)


def target_array(train: pd.DataFrame) -> np.ndarray:
    """Return the five targets in grams, (images, 5), in the order of `TARGETS`."""
    return train[list(TARGETS)].to_numpy(float, copy=True)  # pandas 3 would give a view that cannot be written to

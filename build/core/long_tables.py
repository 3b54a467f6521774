"""Kaggle's tables with a row per image and target, as the commands read and write them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from build.core.submission_file import split_sample_id
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import ID_COLUMN, NAME_COLUMN, TARGETS, sample_id
from kernel_src.competitions.biomass.tables import read_long


def read_test(path: Path) -> pd.DataFrame:
    """Read test.csv as one row per image: `image_id`, `image_path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or a target is unknown.
    """
    long = read_long(path, [ID_COLUMN, IMAGE_COLUMN, NAME_COLUMN])
    return long[["image_id", IMAGE_COLUMN]].drop_duplicates("image_id").reset_index(drop=True)


def wide_to_long(image_ids: Sequence[str], grams: np.ndarray) -> dict[str, float]:
    """Turn predictions (images, 5) into grams by sample id."""
    assert grams.shape == (len(image_ids), len(TARGETS))
    return {
        sample_id(image_id, target): float(value)
        for image_id, row in zip(image_ids, grams, strict=True)
        for target, value in zip(TARGETS, row, strict=True)
    }


def long_to_wide(grams_of: dict[str, float], image_ids: Sequence[str]) -> np.ndarray:
    """Undo `wide_to_long`.

    Raises:
        KeyError: a target of one of the images is missing.
        ValueError: a sample id is malformed.
    """
    for name in grams_of:
        split_sample_id(name)
    return np.array([[grams_of[sample_id(image_id, target)] for target in TARGETS] for image_id in image_ids])

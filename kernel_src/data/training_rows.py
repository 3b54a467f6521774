"""## Rows for training only

External and pseudo-labelled rows stand behind the competition's in one table. They train in every fold and are
validated in none.
"""

import numpy as np
import pandas as pd

EXTERNAL_COLUMN = "external"  # True: this row is trained on and never validated
NEVER_VALIDATED = -1  # in an array of fold numbers


def training_only(train: pd.DataFrame) -> np.ndarray:
    """Return which rows are for training only, (images,) of bool; none where there is no external data."""
    if EXTERNAL_COLUMN not in train:
        return np.zeros(len(train), bool)
    return train[EXTERNAL_COLUMN].to_numpy(bool)


def folds_with_external(judged_folds: np.ndarray, external: np.ndarray) -> np.ndarray:
    """Put the fold numbers of the competition's rows in place, (images,); external rows get `NEVER_VALIDATED`.

    `judged_folds` has one number per row that is not `external` (images,) of bool, in their order. With the result,
    `fold_of != fold` trains on every external row and `fold_of == fold` validates on none.
    """
    assert len(judged_folds) == int((~external).sum())
    fold_of = np.full(len(external), NEVER_VALIDATED)
    fold_of[~external] = judged_folds
    return fold_of

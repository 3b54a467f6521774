"""## Rows that do not train

Some rows of train.csv are known to be wrong. A recipe names the rules by which they are left out of training; they are
judged like all others, so that the score stays comparable, and the hidden test has such rows too.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from kernel_src.competitions.biomass.constants import (
    DATE_COLUMN,
    IDENTITIES,
    IDENTITY_TOLERANCE_G,
    STATE_COLUMN,
)
from kernel_src.runtime.parts import OptionalPart


def wa_without_green(rows: pd.DataFrame) -> np.ndarray:
    """Tell which photographs were taken in Western Australia on 21 August 2015 and have no green matter, (rows,)."""
    of_visit = (rows[STATE_COLUMN] == "WA") & (rows[DATE_COLUMN] == "2015/8/21")
    return (of_visit & (rows["Dry_Green_g"] == 0)).to_numpy(bool)


def broken_identity(rows: pd.DataFrame) -> np.ndarray:
    """Tell which photographs have a sum that differs from its parts, (rows,) of bool."""
    gaps = [(rows[whole] - rows[list(parts)].sum(axis=1)).abs() for whole, parts in IDENTITIES.items()]
    return (pd.concat(gaps, axis=1).max(axis=1) > IDENTITY_TOLERANCE_G).to_numpy(bool)


# By the names that `data.drop` takes; why each is there stands beside the competition's other facts.
ROW_RULES: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "wa_without_green": wa_without_green,
    "broken_identity": broken_identity,
}


def dropped_rows(names: Sequence[str], rows: pd.DataFrame) -> np.ndarray:
    """Tell which rows of the competition's table do not train, (rows,) of bool.

    Raises:
        ValueError: there is no such rule; lists all.
    """
    dropped = np.zeros(len(rows), bool)
    for name in names:
        dropped |= _rule(name)(rows)
    return dropped


def _rule(name: str) -> Callable[[pd.DataFrame], np.ndarray]:
    if name not in ROW_RULES:
        raise ValueError(f"there is no rule {name!r} by which rows do not train; there are {', '.join(ROW_RULES)}")
    return ROW_RULES[name]


class RowRuleParts(OptionalPart):
    """What training asks for where rows are dropped."""

    part = "row_rules"
    dropped_rows = staticmethod(dropped_rows)

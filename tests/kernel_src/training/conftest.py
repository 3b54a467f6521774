"""The tiny competition's training table."""

from pathlib import Path

import pandas as pd
import pytest

from kernel_src.competitions.biomass.tables import read_train


@pytest.fixture
def train(tiny_competition: Path) -> pd.DataFrame:
    return read_train(tiny_competition / "train.csv")

"""Rows that do not train: each rule finds what its reason speaks of, in the real table too."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel_src.competitions.biomass.constants import ROW_RULE_REASONS, TARGETS
from kernel_src.competitions.biomass.facts import BiomassFacts
from kernel_src.competitions.biomass.row_rules import ROW_RULES, dropped_rows
from kernel_src.competitions.biomass.rules import BiomassRules
from kernel_src.competitions.biomass.tables import read_train
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.recipes.predictor import require_suited
from kernel_src.recipes.spec import ExperimentError

REAL_TABLE = Path(__file__).parents[4] / "shared/data/train.csv"


def table(*rows: tuple[str, str, float, float, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["State", "Sampling_Date", *TARGETS])


# State, date, Green, Dead, Clover, GDM, Total
ROWS = table(
    ("WA", "2015/8/21", 0.0, 0.0, 40.0, 40.0, 40.0),
    ("WA", "2015/8/21", 3.0, 0.0, 40.0, 43.0, 43.0),  # has green matter
    ("WA", "2015/9/1", 0.0, 0.0, 40.0, 40.0, 40.0),  # another visit
    ("Tas", "2015/8/21", 0.0, 0.0, 40.0, 40.0, 40.0),  # another state
    ("Vic", "2015/6/26", 3.0, 7.0, 0.5, 3.5, 10.1912),  # 0.31 g short of GDM + Dead
    ("Vic", "2015/6/26", 3.0, 7.0, 0.5, 3.9, 10.9),  # GDM is 0.4 g more than Green + Clover
    ("Vic", "2015/6/26", 3.0, 7.0, 0.5, 3.5001, 10.4999),  # rounding
)


def test_each_rule_finds_its_rows_and_no_others() -> None:
    assert np.flatnonzero(dropped_rows(["wa_without_green"], ROWS)).tolist() == [0]
    assert np.flatnonzero(dropped_rows(["broken_identity"], ROWS)).tolist() == [4, 5]
    assert np.flatnonzero(dropped_rows(list(ROW_RULES), ROWS)).tolist() == [0, 4, 5]
    assert not dropped_rows([], ROWS).any()


def test_every_rule_has_a_reason() -> None:
    assert list(ROW_RULES) == list(ROW_RULE_REASONS)


def test_a_rule_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="no rule 'wa'.*wa_without_green, broken_identity"):
        dropped_rows(["wa"], ROWS)
    recipe = changed(EXPERIMENTS["v1"], {"data.drop": ("wa",)})
    with pytest.raises(ExperimentError, match="data.drop names wa; biomass has wa_without_green, broken_identity"):
        require_suited(recipe, BiomassFacts())


def test_a_line_names_rule_count_and_reason() -> None:
    first, second = BiomassRules().drop_lines(list(ROW_RULES), ROWS)
    assert first.startswith("not trained on by the rule wa_without_green: 1 of 7 photographs; the 8 photographs of WA")
    assert second.startswith("not trained on by the rule broken_identity: 2 of 7 photographs; one photograph's Total")


@pytest.mark.skipif(not REAL_TABLE.is_file(), reason="the team's data are not here")
def test_in_the_real_table_the_rules_find_eight_photographs_and_one() -> None:
    train = read_train(REAL_TABLE)
    counts = {name: int(dropped_rows([name], train).sum()) for name in ROW_RULES}
    assert counts == {"wa_without_green": 8, "broken_identity": 1}
    assert train["image_id"][dropped_rows(["broken_identity"], train)].tolist() == ["ID2014192906"]

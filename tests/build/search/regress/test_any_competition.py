"""Regression on frozen features for two other competitions: classes are refused, rows that stand alone are dealt."""

from pathlib import Path

import numpy as np
import pytest

from build.core.choosing import working_on
from build.core.errors import UsageError
from build.search.regress.command import regress
from build.search.regress.nested import explained
from build.search.regress.report import ROW_FOLDS, outer_folds
from kernel_src.competitions.biomass.metric import weighted_r2


def test_classes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with working_on("leaf"), pytest.raises(UsageError, match="leaf has classes: train a network instead"):
        regress([tmp_path / "absent.npz"], tmp_path / "train.csv", tmp_path / "report.json")


def test_photographs_that_stand_alone_are_left_out_ten_times_not_one_by_one() -> None:
    groups = np.array([f"p{i}" for i in range(57)])
    with working_on("paws"):
        folds = outer_folds(groups, 0)
    assert sorted(set(folds["leave_group_out"].tolist())) == list(range(ROW_FOLDS))
    assert np.ptp(np.bincount(folds["leave_group_out"])) == 1


def test_a_family_is_judged_by_what_it_explains_as_the_first_competition_judges() -> None:
    random = np.random.default_rng(0)
    truth = random.gamma(2, 10, (40, 5))
    assert explained(truth, truth + 3) == weighted_r2(truth, truth + 3)
    assert explained(truth, truth) == 1

"""Regression on frozen features for two other competitions.

Classes are refused, photographs that stand alone are dealt, and a regressor goes on to a submission.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from build.core.choosing import competition_of_folder, working_on
from build.core.errors import UsageError
from build.core.submission_file import submission_problems
from build.search.regress.command import regress
from build.search.regress.nested import explained
from build.search.regress.report import ROW_FOLDS, outer_folds
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.held_recipes import COMPETITION_OF
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from kernel_src.recipes.changes import changed
from tests.kernel_src.kernels.frozen import TWIN, WEIGHTS_SLUG, make_frozen_bundle
from tests.kernel_src.kernels.running import lay_out_kaggle
from tests.kernel_src.kernels.twins import InProcess
from tests.kernel_src.small_competitions import read_rows, write_small_paws


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


def test_a_regressor_of_paws_is_bundled_as_its_own_and_predicts_its_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = changed(TWIN, {"name": "paws_frozen", "predict.constraint": "none"})
    monkeypatch.setitem(COMPETITION_OF, twin.name, "paws")
    data = write_small_paws(tmp_path / "petfinder")
    with working_on("paws"):
        weights, bundle = make_frozen_bundle(data, tmp_path, monkeypatch, twin)
    assert competition_of_folder(bundle) == "paws"
    assert json.loads((bundle / "config.json").read_text())["oof"]["metric"] == "RMSE"

    parameters = kernel_card(twin.name, "infer").parameters
    mounted = {bundle_slug(twin.name): bundle, WEIGHTS_SLUG: weights}
    kaggle = lay_out_kaggle(tmp_path / "infer", data, mounted, slug="petfinder-pawpularity-score")
    with working_on("paws"):
        InProcess(monkeypatch)("infer", parameters, kaggle, tmp_path / "scratch")
        ids = [row["Id"] for row in read_rows(data / "sample_submission.csv")]
        assert submission_problems(kaggle / "kaggle/working/submission.csv", ids) == []
    predicted = [row["Pawpularity"] for row in read_rows(kaggle / "kaggle/working/submission.csv")]
    assert len(set(predicted)) == len(ids), "the fallback was not replaced"

"""Which rows train and which judge: external and pseudo-labelled rows teach every fold and judge none."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from kernel_src.competition.splits import fold_numbers, split_sha256
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.external_table import external_table_for
from kernel_src.competitions.biomass.tables import group_labels, target_array
from kernel_src.data.images import ImageError
from kernel_src.data.pseudo_labels import pseudo_table
from kernel_src.data.training_photographs import FoldData
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Bins, Classify, InnerFold, Regress
from kernel_src.recipes.training_data import External, PseudoLabels
from kernel_src.training.training_data import judged_folds, training_pictures, training_table
from tests.kernel_src.competitions.biomass.test_external import write_grassclover
from tests.kernel_src.tiny import CPU, TINY_VIT

WITH_EXTERNAL = changed(TINY_VIT, {"data.split.folds": 3, "data.external": External("someone-grassclover-biomass")})
WITH_PSEUDO = changed(TINY_VIT, {"data.split.folds": 3, "data.pseudo": PseudoLabels(weight=0.25)})
NO_PICTURES = np.zeros(0)


def data_of(
    experiment: Experiment, train: pd.DataFrame, fold: int, external: Path | None, pseudo: pd.DataFrame | None = None
) -> FoldData:
    return training_table(experiment, train, external, pseudo).fold_data(experiment, fold, NO_PICTURES, None)


# --- rows that are wrong --------------------------------------------------------------------------------------------


def test_a_dropped_row_trains_no_fold_and_is_judged_and_picks_the_epoch_as_before(train: pd.DataFrame) -> None:
    wrong = train.copy()
    wrong.loc[[2, 7, 11], "Dry_Total_g"] += 5.0
    plain = changed(TINY_VIT, {"data.split.folds": 3, "keep": InnerFold(2)})
    dropping = changed(plain, {"data.drop": ("broken_identity",)})
    assert np.array_equal(judged_folds(dropping, wrong), judged_folds(plain, wrong))
    trained = set()
    for fold in range(3):
        all_rows, fewer = (data_of(experiment, wrong, fold, None) for experiment in (plain, dropping))
        assert fewer.train_rows.tolist() == [row for row in all_rows.train_rows if row not in (2, 7, 11)]
        assert fewer.inner_rows.tolist() == all_rows.inner_rows.tolist()
        trained |= set(all_rows.train_rows.tolist())
    assert len(trained & {2, 7, 11}) > 1, "they would train, were they not dropped"


def test_a_rule_speaks_of_the_competitions_rows_only(train: pd.DataFrame, tmp_path: Path) -> None:
    dropping = changed(WITH_EXTERNAL, {"data.drop": ("broken_identity", "wa_without_green")})
    external = write_grassclover(tmp_path)
    table = training_table(dropping, train, external, None)
    table.rows.loc[[21, 22], "Dry_Total_g"] += 5.0
    assert set(table.fold_data(dropping, 0, NO_PICTURES, None).train_rows) >= {20, 21, 22}


# --- external -------------------------------------------------------------------------------------------------------


def test_external_rows_train_every_fold_and_judge_none(train: pd.DataFrame, tmp_path: Path) -> None:
    experiment = changed(WITH_EXTERNAL, {"keep": InnerFold(2)})
    external = write_grassclover(tmp_path)
    table = training_table(experiment, train, external, None)
    assert table.fold_of.tolist() == [*judged_folds(experiment, train), -1, -1, -1]
    groups = group_labels(table.rows)
    for fold in range(3):
        data = data_of(experiment, train, fold, external)
        assert set(data.train_rows) >= {20, 21, 22} and not set(data.inner_rows) & {20, 21, 22}
        judged = [row for row in data.train_rows if row < 20]
        assert not set(groups[judged]) & set(groups[data.inner_rows])
        assert sorted([*judged, *data.inner_rows, *np.flatnonzero(table.fold_of == fold)]) == list(range(20))


def test_external_rows_leave_the_folds_of_the_others_alone(train: pd.DataFrame, tmp_path: Path) -> None:
    """The same rows train and pick the epoch with and without them, so that scores can be compared."""
    external = write_grassclover(tmp_path)
    for fold in range(3):
        plain = data_of(changed(TINY_VIT, {"data.split.folds": 3, "keep": InnerFold(2)}), train, fold, None)
        more = data_of(changed(WITH_EXTERNAL, {"keep": InnerFold(2)}), train, fold, external)
        assert np.array_equal(more.train_rows[:-3], plain.train_rows)
        assert np.array_equal(more.inner_rows, plain.inner_rows)


def test_the_experiment_says_what_an_external_gram_is_worth(train: pd.DataFrame, tmp_path: Path) -> None:
    external = write_grassclover(tmp_path)
    for factor in (0.84, 1.0):
        data = data_of(changed(WITH_EXTERNAL, {"data.external.area_factor": factor}), train, 0, external)
        assert data.values[20].tolist() == pytest.approx(factor * np.array([50, 20, 30, 80, 100]))
        assert np.array_equal(data.values[:20], target_array(train))


def test_external_data_that_is_asked_for_must_be_there_and_described(train: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="attach the dataset someone-grassclover-biomass"):
        training_table(WITH_EXTERNAL, train, None, None)
    assert external_table_for("grassclover").name == "grassclover"
    with pytest.raises(ValueError, match="known are grassclover; describe another one"):
        external_table_for("meadows")


def test_external_photographs_are_opened_where_they_are(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path
) -> None:
    rows = training_table(WITH_EXTERNAL, train, write_grassclover(tmp_path), None).rows
    photographs, depth = training_pictures(
        WITH_EXTERNAL, rows, tiny_competition, depth_folder=None, cache=tmp_path / "cache", device=CPU
    )
    assert photographs.shape == (23, 32, 32, 3) and depth is None


def test_a_training_photograph_unlike_all_others_is_an_error_with_its_name(
    train: pd.DataFrame, tiny_competition: Path, tmp_path: Path
) -> None:
    competition = Path(shutil.copytree(tiny_competition, tmp_path / "competition"))
    cv2.imwrite(str(competition / train["image_path"][3]), np.full((100, 100, 3), 90, np.uint8))
    with pytest.raises(ImageError, match=f"{train['image_path'][3]}: 100 x 100 px, .*\n.*download its data again"):
        training_pictures(TINY_VIT, train, competition, depth_folder=None, cache=tmp_path / "cache", device=CPU)


# --- pseudo-labels --------------------------------------------------------------------------------------------------


def pseudo(train: pd.DataFrame, experiment: Experiment = WITH_PSEUDO, images: int = 4) -> pd.DataFrame:
    """Predictions that tell fold and image: fold k says 100 k + image of everything."""
    split = split_sha256(train["image_id"].tolist(), judged_folds(experiment, train))
    grams = np.array([[[100.0 * fold + image] * 5 for image in range(images)] for fold in range(3)])
    names = [f"T{image}" for image in range(images)]
    return pseudo_table(names, [f"test/{name}.jpg" for name in names], range(3), grams, split)


def test_a_fold_is_taught_only_what_it_predicted_itself(train: pd.DataFrame) -> None:
    for fold in range(3):
        data = data_of(WITH_PSEUDO, train, fold, None, pseudo(train))
        assert data.values[20:].tolist() == [[100 * fold + image] * 5 for image in range(4)]
        assert set(data.train_rows) >= {20, 21, 22, 23} and data.pseudo is not None
        assert data.pseudo.tolist() == [False] * 20 + [True] * 4


def test_a_planted_leak_does_not_arrive(train: pd.DataFrame) -> None:
    """Fold 1 and 2 have trained on what fold 0 validates on; let them say it aloud, in every row they predict."""
    table = pseudo(train)
    before = data_of(WITH_PSEUDO, train, 0, None, table)
    secret = target_array(train)[judged_folds(WITH_PSEUDO, train) == 0].mean(0)
    leaking = table.copy()
    leaking.loc[leaking["fold"] != 0, list(TARGETS)] = secret
    after = data_of(WITH_PSEUDO, train, 0, None, leaking)
    assert np.array_equal(after.values, before.values) and np.array_equal(after.train_rows, before.train_rows)
    other = data_of(WITH_PSEUDO, train, 1, None, leaking)  # the plant works: fold 1 hears its own words
    assert other.values[20].tolist() == pytest.approx(secret.tolist())


def test_an_image_that_a_fold_has_not_predicted_does_not_train_it(train: pd.DataFrame) -> None:
    table = pseudo(train)
    table = table[~((table["fold"] == 1) & (table["image_id"] == "T2"))]
    assert 22 not in data_of(WITH_PSEUDO, train, 1, None, table).train_rows
    assert 22 in data_of(WITH_PSEUDO, train, 0, None, table).train_rows


def test_without_a_weight_pseudo_labels_are_not_used(train: pd.DataFrame) -> None:
    table = training_table(changed(WITH_PSEUDO, {"data.pseudo": None}), train, None, pseudo(train))
    assert len(table.rows) == 20 and table.pseudo_labels is None


def test_external_and_pseudo_rows_stand_side_by_side(train: pd.DataFrame, tmp_path: Path) -> None:
    experiment = changed(WITH_EXTERNAL, {"data.pseudo": PseudoLabels(weight=0.5)})
    data = data_of(experiment, train, 2, write_grassclover(tmp_path), pseudo(train))
    assert data.pseudo is not None and np.flatnonzero(data.pseudo).tolist() == [23, 24, 25, 26]
    assert set(range(20, 27)) <= set(data.train_rows)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t, train: t.drop(columns="fold"), "column fold is missing; predictions of no single fold come from"),
        (lambda t, train: t.assign(split_sha256="0" * 64), "divided the images into other folds"),
        (lambda t, train: t.replace("T1", train["image_id"][7]), "1 images have weights already, e.g. ID"),
        (lambda t, train: pd.concat([t, t[:1]]), "two predictions of one fold"),
        (lambda t, train: t.assign(GDM_g=np.nan), "not a finite number"),
    ],
    ids=["no fold", "another split", "a labelled image", "doubled", "NaN"],
)
def test_a_table_that_could_leak_or_is_broken_is_refused(train: pd.DataFrame, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        training_table(WITH_PSEUDO, train, None, spoil(pseudo(train), train))


def test_a_table_of_another_split_seed_is_refused(train: pd.DataFrame) -> None:
    foreign = pseudo(train, changed(WITH_PSEUDO, {"data.split.seed": 1}))
    with pytest.raises(ValueError, match="divided the images into other folds"):
        training_table(WITH_PSEUDO, train, None, foreign)


def test_a_weight_without_labels_is_refused_and_not_trained_without(train: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="data.pseudo=PseudoLabels\\(\\) and there are no pseudo-labels"):
        training_table(WITH_PSEUDO, train, None, None)


def test_a_fold_that_has_predicted_nothing_is_refused_where_it_shall_train(train: pd.DataFrame) -> None:
    table = pseudo(train)
    partial = table[table["fold"] != 1]
    with pytest.raises(ValueError, match="fold 1 has predicted nothing in it"):
        training_table(WITH_PSEUDO, train, None, partial)
    assert training_table(changed(WITH_PSEUDO, {"data.train_folds": (0, 2)}), train, None, partial).pseudo.sum() == 4


# --- strata ---------------------------------------------------------------------------------------------------------


def test_a_stratified_split_balances_the_total_and_not_the_sum_of_the_targets() -> None:
    """Green counts three times in the sum of all five, Dead twice: 30 g of Green outweigh 40 g of Dead there."""
    groups = [f"2015/1/{day}" for day in range(1, 25)]
    random = np.random.default_rng(5)
    green, dead = random.uniform(0, 60, 24), random.uniform(0, 90, 24)
    zero = np.zeros(24)
    columns = dict(zip(TARGETS, (green, dead, zero, green, green + dead), strict=True))
    table = pd.DataFrame({"image_id": groups, "State": "Vic", "Sampling_Date": groups, **columns})
    experiment = changed(TINY_VIT, {"data.split": "StratifiedGroupSplit", "data.split.folds": 3})

    def dealt(strata: np.ndarray) -> list[int]:
        return fold_numbers("stratified_group", group_labels(table), strata, 3, 0).tolist()

    by_total, by_sum = dealt(green + dead), dealt(target_array(table).sum(1))
    assert by_total != by_sum, "the table tells the two apart"
    assert judged_folds(experiment, table).tolist() == by_total


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_fold_gets_the_columns_of_its_auxiliary_targets_and_other_peoples_rows_have_none(
    train: pd.DataFrame, tmp_path: Path
) -> None:
    values = np.arange(20.0)
    experiment = changed(WITH_EXTERNAL, {"auxiliary": (Bins(), Regress("Soil_moisture"), Classify("State"))})
    data = data_of(experiment, train.assign(Soil_moisture=values), 0, write_grassclover(tmp_path))
    assert data.columns["Soil_moisture"][:20].tolist() == values.tolist()
    assert np.isnan(data.columns["Soil_moisture"][20:]).all()
    assert data.columns["State"][:20].tolist() == train["State"].tolist()
    assert data_of(WITH_EXTERNAL, train, 0, tmp_path).columns == {}


def test_a_column_that_train_csv_lacks_is_refused_before_any_photograph_is_decoded(train: pd.DataFrame) -> None:
    experiment = changed(TINY_VIT, {"auxiliary": (Regress("Height"),)})
    with pytest.raises(ValueError, match=r"Regress\('Height'\) needs a column that is not in train.csv; it has image_"):
        training_table(experiment, train, None, None)

"""The official score: by hand, at its fixed points, and on the real labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from build.scores.reference_points import group_mean_ceiling
from kernel_src.competitions.biomass.floors import floor_scores, mean_floor
from kernel_src.competitions.biomass.metric import r2_per_target, weighted_r2
from kernel_src.competitions.biomass.tables import group_labels, read_train, target_array
from kernel_src.competitions.held_rules import weight_row

REAL_TRAIN_CSV = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "train.csv"
# Green, Dead, Clover, GDM, Total. Weighted mean: (0.1 + 0.2 + 0.5) 10 / 2 = 4.
TRUTH = np.array([[0.0, 0, 0, 0, 0], [10, 0, 0, 10, 10]])
grams = arrays(float, (7, 5), elements=st.floats(0, 200), fill=st.nothing())


def test_a_hand_computed_example() -> None:
    # Spread: 16 for the first image; (0.8) 36 + (0.2) 16 = 32 for the second. Error: 0.5 * 2² = 2.
    predicted = TRUTH.copy()
    predicted[1, 4] = 12
    assert weighted_r2(TRUTH, predicted) == pytest.approx(1 - 2 / 48)
    predicted = TRUTH.copy()
    predicted[0, 3] = 3  # GDM weighs 0.2
    assert weighted_r2(TRUTH, predicted) == pytest.approx(1 - 0.2 * 9 / 48)


def test_perfect_is_one_and_the_weighted_mean_over_everything_is_zero() -> None:
    assert weighted_r2(TRUTH, TRUTH) == 1.0
    assert weighted_r2(TRUTH, np.full_like(TRUTH, 4.0)) == pytest.approx(0.0, abs=1e-12)
    assert weighted_r2(TRUTH, np.full_like(TRUTH, TRUTH.mean())) < -0.001, "the unweighted mean is another number"


@given(grams, grams, st.permutations(range(7)))
def test_the_order_of_the_images_does_not_matter(truth: np.ndarray, predicted: np.ndarray, order: list[int]) -> None:
    if truth.std() < 1e-3:
        return
    assert weighted_r2(truth[order], predicted[order]) == pytest.approx(weighted_r2(truth, predicted), rel=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_is_refused_on_either_side(bad: float, side: int) -> None:
    arguments = [TRUTH.copy(), TRUTH.copy()]
    arguments[side][1, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        weighted_r2(*arguments)


@pytest.mark.parametrize("shape", [(3, 5), (2, 4), (10,)])
def test_other_shapes_are_refused_instead_of_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must both be"):
        weighted_r2(TRUTH, np.ones(shape))


def test_constant_truth_has_no_score() -> None:
    with pytest.raises(ValueError, match="constant"):
        weighted_r2(np.ones((3, 5)), np.ones((3, 5)))


def test_weights_stand_in_the_order_of_the_columns() -> None:
    assert weight_row().tolist() == [0.1, 0.1, 0.1, 0.2, 0.5]


def test_r2_per_target_is_the_ordinary_one_and_nan_where_nothing_varies() -> None:
    truth, predicted = TRUTH.copy(), TRUTH.copy()
    predicted[1, 0] = 5  # error 25 of 50
    scores = r2_per_target(truth, predicted)
    assert scores["Dry_Green_g"] == pytest.approx(0.5) and scores["Dry_Total_g"] == 1.0
    assert np.isnan(scores["Dry_Dead_g"])


def test_a_group_floor_never_uses_the_groups_own_images() -> None:
    import pandas as pd

    table = pd.DataFrame(TRUTH, columns=["Dry_Green_g", "Dry_Dead_g", "Dry_Clover_g", "GDM_g", "Dry_Total_g"])
    table = table.assign(State=["Tas", "Vic"], Sampling_Date="2015/1/1")
    # Each image predicted by the other: errors 0.8 * 100 for both.
    assert floor_scores(table)["mean of the other groups"] == pytest.approx(1 - 160 / 48)
    assert floor_scores(table)["each target's mean"] == pytest.approx(mean_floor(TRUTH)) == pytest.approx(1 - 40 / 48)


@pytest.mark.skipif(not REAL_TRAIN_CSV.is_file(), reason="no real train.csv at ../shared: it is never committed")
def test_the_reference_points_of_the_real_training_table_are_reproduced() -> None:
    """facts/competition.md: 0.240 by means, 0.213 by other groups' means, 0.611 knowing the group."""
    train = read_train(REAL_TRAIN_CSV)
    truth, groups = target_array(train), group_labels(train)
    assert len(train) == 357 and len(set(groups)) == 30
    floors = floor_scores(train)
    assert round(floors["each target's mean"], 3) == 0.240
    assert round(floors["mean of the other groups"], 3) == 0.213
    assert round(group_mean_ceiling(truth, groups), 3) == 0.611
    means = np.broadcast_to(truth.mean(0), truth.shape)
    assert sum(weight_row() * list(r2_per_target(truth, means).values())) == pytest.approx(0, abs=1e-9)

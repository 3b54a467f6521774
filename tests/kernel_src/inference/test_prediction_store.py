"""The blend of what several bundles have predicted so far, against numbers computed by hand."""

import numpy as np
import pytest

from kernel_src.inference.prediction_store import PredictionStore
from kernel_src.inference.stacking import stack_from_json
from kernel_src.inference.steps import Step

# Two bundles, two images, five targets.
FIRST = np.array([[10.0, 2, 4, 14, 16], [0, 1, 0, 0, 1]])
SECOND = np.array([[20.0, 4, 0, 20, 24], [5, 1, 5, 10, 11]])


def store_of(*bundles: np.ndarray) -> PredictionStore:
    """One fold and view per bundle; rows that are NaN have not been predicted."""
    store = PredictionStore(len(bundles[0]), [1] * len(bundles))
    for number, grams in enumerate(bundles):
        store.record(Step(number, 0, 0), range(len(grams)), grams)
    return store


def test_shares_weigh_the_bundles() -> None:
    """v6: 0.4 of v4 and 0.6 of v5."""
    by_hand = [[16.0, 3.2, 1.6, 17.6, 20.8], [3.0, 1.0, 3.0, 6.0, 7.0]]
    assert store_of(FIRST, SECOND).blended([0.4, 0.6], None) == pytest.approx(np.array(by_hand))


def test_shares_need_not_sum_to_one_and_one_bundle_is_itself() -> None:
    assert store_of(FIRST, SECOND).blended([2, 3], None) == pytest.approx(0.4 * FIRST + 0.6 * SECOND)
    assert store_of(FIRST).blended([1.0], None).tolist() == FIRST.tolist()


def test_no_photographs_blend_to_none() -> None:
    assert store_of(np.zeros((0, 5)), np.zeros((0, 5))).blended([0.4, 0.6], None).shape == (0, 5)


def test_where_a_bundle_is_missing_the_others_stand_in_for_it_whatever_their_share() -> None:
    half = np.array([SECOND[0], np.full(5, np.nan)])
    assert store_of(FIRST, half).blended([0.0, 1.0], None) == pytest.approx(np.array([SECOND[0], FIRST[1]]))
    assert np.isnan(store_of(half, half).blended([1.0, 1.0], None)[1]).all(), "and nothing stands in for all"


def test_a_stack_takes_the_mean_of_the_others_for_a_bundle_that_is_missing() -> None:
    stack = stack_from_json({"weights": [[0.4, 0.6]] * 5, "intercept_g": [1.0] * 5}, 2)
    half = np.array([SECOND[0], np.full(5, np.nan)])
    by_hand = np.array([0.4 * FIRST[0] + 0.6 * SECOND[0] + 1, FIRST[1] + 1])
    assert store_of(FIRST, half).blended([1.0, 1.0], stack) == pytest.approx(by_hand)


def test_later_predictions_get_their_share_and_where_there_are_none_the_folds_stay() -> None:
    store, later = store_of(FIRST, SECOND), np.array([FIRST[0] + 10, np.full(5, np.nan)])
    store.blend_in(0, later, 0.8)
    assert store.bundle_values(0) == pytest.approx(np.array([FIRST[0] + 8, FIRST[1]]))
    assert store.blended([0.4, 0.6], None)[0] == pytest.approx(0.4 * (FIRST[0] + 8) + 0.6 * SECOND[0])
    half = store_of(np.array([FIRST[0], np.full(5, np.nan)]))
    half.blend_in(0, FIRST, 0.8)
    assert np.isnan(half.blended([1.0], None)[1]).all(), "later predictions alone are none"

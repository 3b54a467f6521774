"""Intervals over groups: exact sums, and coverage by simulation with the real group sizes."""

import numpy as np
import pytest

from build.scores.intervals import (
    difference_interval,
    group_sums,
    groups_missing,
    jackknife,
    score_intervals,
    scores,
    scores_without_each,
)
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.held_rules import weight_row
from tests.build.scores.painted import predicted, truth, visits
from tests.build.scores.simulated import rates

TABLE = truth()
GRAMS = TABLE.iloc[:, 1:6].to_numpy(float)
PREDICTIONS = np.stack([predicted(TABLE, 1), predicted(TABLE, 2)])
SUMS = group_sums(GRAMS, PREDICTIONS, visits(TABLE), weight_row())


def test_the_sums_of_groups_give_the_official_metric_with_and_without_each_group() -> None:
    for model, one in enumerate(PREDICTIONS):
        assert scores(SUMS)[model] == pytest.approx(weighted_r2(GRAMS, one), abs=1e-12)
        for group in (0, 7, 29):
            rest = visits(TABLE) != group
            expected = weighted_r2(GRAMS[rest], one[rest])
            assert scores_without_each(SUMS)[model, group] == pytest.approx(expected, abs=1e-12)


def test_the_jackknife_of_a_mean_is_the_t_interval_of_the_mean() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    without = (values.sum() - values) / 3
    interval = jackknife(values.mean(), without)
    deviation = values.std(ddof=1) / 2  # of the mean of four
    assert interval.low == pytest.approx(3.5 - 3.182446 * deviation) and interval.high == pytest.approx(
        3.5 + 3.182446 * deviation
    )


def test_pairing_takes_out_what_both_models_get_wrong() -> None:
    common = PREDICTIONS[0]
    better = common + 0.2 * (GRAMS - common)
    sums = group_sums(GRAMS, np.stack([common, better]), visits(TABLE), weight_row())
    single, pair = score_intervals(sums), difference_interval(sums, 0, 1)
    assert single[1].low < single[0].high, "side by side they cannot be told apart"
    assert pair.carried and pair.low > 0 and pair.probability > 0.99
    assert difference_interval(sums, 1, 0).estimate == pytest.approx(-pair.estimate)


def test_a_file_against_itself_is_neither_better_nor_worse() -> None:
    same = difference_interval(group_sums(GRAMS, PREDICTIONS[[0, 0]], visits(TABLE), weight_row()), 0, 1)
    assert (same.estimate, same.probability, same.carried) == (0, 0.5, False) and groups_missing(same) is None


def test_as_many_more_groups_as_it_says_would_carry_the_difference() -> None:
    values = np.random.default_rng(3).normal(0.3, 1.0, 30)
    interval = jackknife(values.mean(), (values.sum() - values) / 29)
    assert not interval.carried
    more = groups_missing(interval)
    reach = (interval.high - interval.estimate) * np.sqrt(30 / (30 + more))
    assert reach == pytest.approx(abs(interval.estimate), rel=0.02)


def test_one_group_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        jackknife(0.5, np.array([0.5]))


def test_intervals_cover_and_the_paired_test_has_its_size() -> None:
    found = rates(draws=600, seed=5)  # standard error .009
    assert 0.91 <= found["score"] <= 0.98 and 0.92 <= found["difference"] <= 0.98
    assert 0.02 <= found["null rejected"] <= 0.08


@pytest.mark.full
def test_intervals_cover_95_within_2_and_the_paired_test_has_size_5_within_2() -> None:
    found = rates(draws=8000, seed=6)  # standard error .0024
    assert 0.93 <= found["score"] <= 0.97 and 0.93 <= found["difference"] <= 0.97
    assert 0.03 <= found["null rejected"] <= 0.07


@pytest.mark.full
def test_the_percentile_bootstrap_would_cover_too_little() -> None:
    found = rates(draws=1500, seed=7, bootstrapped=True)
    assert found["score"] > 0.92 and found["bootstrapped score"] < 0.90

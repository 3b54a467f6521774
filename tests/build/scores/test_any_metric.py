"""Intervals for any metric: sums say what it says, one without sums is computed again, less may be better."""

from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import t

from build.core.choosing import working_on
from build.scores import intervals
from build.scores.intervals import difference_interval, group_scores, score_intervals
from kernel_src.competition.metrics import METRICS, RootMeanSquaredError
from kernel_src.competition.rules import Metric
from kernel_src.competition.sums import sums_of_metric
from kernel_src.competitions.held_rules import rules, weight_row
from tests.build.scores.drawn import ROWS, rates
from tests.build.scores.painted import predicted, truth, visits
from tests.build.scores.plain import classes, numbers, one_hot, probabilities

TRUE = classes()
LEAF = np.stack([probabilities(TRUE, 1), probabilities(TRUE, 2, skill=3.0)])
PAWS = numbers()[:, None]
GUESSED = np.stack([PAWS + np.random.default_rng(seed).normal(0, 10 - seed, PAWS.shape) for seed in (1, 4)])


@pytest.mark.parametrize("name", METRICS)
def test_a_metrics_sums_give_the_metric_with_and_without_each_group(name: str) -> None:
    metric = METRICS[name]()
    sums = sums_of_metric(metric)
    assert sums is not None
    true, guessed = (one_hot(TRUE), LEAF[0]) if name in ("accuracy", "log_loss") else (PAWS / 20, GUESSED[0] / 20)
    true = true.round() if name == "quadratic_kappa" else true
    groups = np.arange(len(true)) % 12
    columns = sums.columns(true, guessed)
    assert sums.score(*(column.sum() for column in columns)) == pytest.approx(metric.score(true, guessed), abs=1e-12)
    for group in range(12):
        kept = groups != group
        without = sums.score(*(column[kept].sum() for column in columns))
        assert without == pytest.approx(metric.score(true[kept], guessed[kept]), abs=1e-12)


def test_the_first_competitions_score_is_bit_for_bit_what_it_was() -> None:
    table = truth()
    grams, groups = table[list(rules("biomass").facts.targets)].to_numpy(float), visits(table)
    models = np.stack([predicted(table, seed) for seed in range(3)])
    errors = np.stack([np.bincount(groups, row) for row in ((grams - models) ** 2) @ weight_row()])
    weights = np.bincount(groups, np.full(len(grams), weight_row().sum()))
    firsts, seconds = np.bincount(groups, grams @ weight_row()), np.bincount(groups, grams**2 @ weight_row())
    whole = 1 - errors.sum(1) / (seconds.sum() - firsts.sum() ** 2 / weights.sum())
    w, a, b = (total.sum() - total for total in (weights, firsts, seconds))
    without = 1 - (errors.sum(1, keepdims=True) - errors) / (b - a**2 / w)
    found = group_scores(grams, models, groups)
    assert np.array_equal(found.whole, whole) and np.array_equal(found.without, without)


def test_an_accuracy_over_rows_has_the_interval_of_a_share() -> None:
    with working_on("leaf"):
        found = group_scores(one_hot(TRUE), LEAF, np.arange(len(TRUE)))
        one, pair = score_intervals(found)[0], difference_interval(found, 0, 1)
    right = (LEAF.argmax(2) == TRUE).astype(float)
    share, images = right[0].mean(), len(TRUE)
    assert one.estimate == pytest.approx(share)
    assert one.high - share == pytest.approx(1.96 * np.sqrt(share * (1 - share) / (images - 1)), rel=0.03)
    apart = right[1] - right[0]
    assert pair.estimate == pytest.approx(apart.mean()) and pair.groups == images
    reach = t.ppf(0.975, images - 1) * apart.std(ddof=1) / np.sqrt(images)
    assert pair.high - pair.estimate == pytest.approx(reach)


def test_where_less_is_better_the_model_with_less_is_the_better_one() -> None:
    with working_on("paws"):
        found = group_scores(PAWS, GUESSED, np.arange(len(PAWS)))
        pair = difference_interval(found, 0, 1)
    assert found.whole[1] < found.whole[0], "the second errs less"
    assert pair.estimate == pytest.approx(found.whole[0] - found.whole[1]) and pair.low > 0 and pair.probability > 0.99


class NobodysMetric(Metric):
    """RMSE under another name, of which nobody knows the sums."""

    name: ClassVar[str] = "nobody's"
    higher_is_better: ClassVar[bool] = False

    def score(self, truth: np.ndarray, predicted: np.ndarray) -> float:
        return RootMeanSquaredError().score(truth, predicted)


def test_a_metric_without_sums_is_computed_again_for_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.arange(len(PAWS)) % 20
    with working_on("paws"):
        known = group_scores(PAWS, GUESSED, groups)
        monkeypatch.setattr(type(rules()), "metric", NobodysMetric())
        again, lots = group_scores(PAWS, GUESSED, groups), group_scores(PAWS, GUESSED, np.arange(len(PAWS)))
    assert again.whole == pytest.approx(known.whole) and again.without == pytest.approx(known.without)
    assert lots.without.shape == (2, intervals.LOTS) and lots.groups == len(PAWS)
    one = score_intervals(lots)[0]
    assert one.groups == len(PAWS) and one.low < one.estimate < one.high


# %%
@pytest.mark.parametrize("by", ["rows", "groups"])
@pytest.mark.parametrize("competition", ["leaf", "paws"])
def test_intervals_of_accuracy_and_rmse_cover(competition: str, by: str) -> None:
    found = rates(competition, by == "groups", draws=200, seed=3)  # standard error .015
    assert found["score"] > 0.9 and found["difference"] > 0.9 and found["null rejected"] < 0.1


@pytest.mark.full
@pytest.mark.parametrize("by", ["rows", "groups"])
@pytest.mark.parametrize("competition", ["leaf", "paws"])
def test_intervals_of_accuracy_and_rmse_cover_95_within_2(competition: str, by: str) -> None:
    found = rates(competition, by == "groups", draws=2000, seed=4)  # standard error .005
    assert 0.93 <= found["score"] <= 0.97 and 0.93 <= found["difference"] <= 0.97, found
    assert 0.03 <= found["null rejected"] <= 0.07, found


@pytest.mark.full
def test_lots_of_rows_cover_as_leaving_out_each_row_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with working_on("paws"):
        monkeypatch.setattr(type(rules()), "metric", NobodysMetric())
    found = rates("paws", False, draws=1000, seed=5)  # standard error .007
    assert ROWS > intervals.LOTS and 0.93 <= found["score"] <= 0.97 and 0.93 <= found["difference"] <= 0.97, found

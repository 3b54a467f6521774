"""The shared metrics are scikit-learn's, and refuse what has no score."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from kernel_src.competition.metrics import METRICS, R2, Accuracy, LogLoss, QuadraticKappa, RootMeanSquaredError

SEEDS = range(5)
NUMBERS = {"rmse": root_mean_squared_error, "mae": mean_absolute_error, "r2": r2_score}


def classes(seed: int, images: int = 40, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Draw the truth as 0 and 1, and probabilities that know a little of it."""
    random = np.random.default_rng(seed)
    truth = np.eye(count)[random.integers(0, count, images)]
    raw = random.random((images, count)) + 0.5 * truth
    return truth, raw / raw.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NUMBERS)
def test_errors_of_numbers_are_scikit_learns(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, predicted = random.normal(40, 20, (30, 1)), random.normal(40, 20, (30, 1))
    assert METRICS[name]().score(truth, predicted) == pytest.approx(NUMBERS[name](truth, predicted))


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_and_log_loss_of_classes_are_scikit_learns(seed: int) -> None:
    truth, predicted = classes(seed)
    assert Accuracy().score(truth, predicted) == accuracy_score(truth.argmax(1), predicted.argmax(1))
    assert LogLoss().score(truth, predicted) == pytest.approx(log_loss(truth, predicted))
    assert LogLoss().score(truth, 3 * predicted) == pytest.approx(log_loss(truth, predicted)), "rows are scaled to 1"


@pytest.mark.parametrize("seed", SEEDS)
def test_kappa_is_scikit_learns_with_quadratic_weights_over_rounded_predictions(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, (60, 1)).astype(float)
    predicted = np.clip(truth + random.normal(0, 1, truth.shape), -0.4, 4.4)
    rounded = np.floor(predicted + 0.5).clip(0, 4)
    theirs = cohen_kappa_score(truth[:, 0].astype(int), rounded[:, 0].astype(int), weights="quadratic")
    assert QuadraticKappa().score(truth, predicted) == pytest.approx(theirs)


@pytest.mark.parametrize("name", METRICS)
def test_the_truth_scores_best_in_the_metrics_own_direction_and_the_order_of_rows_does_not_matter(name: str) -> None:
    metric = METRICS[name]()
    truth = np.eye(4)[np.arange(12) % 4] if name in ("accuracy", "log_loss") else np.arange(12.0)[:, None] % 5
    worse = np.roll(truth, 1, 0) * 0.9 + 0.025
    assert metric.gain(metric.score(truth, truth)) > metric.gain(metric.score(truth, worse))
    order = np.random.default_rng(0).permutation(12)
    assert metric.score(truth[order], worse[order]) == pytest.approx(metric.score(truth, worse))
    assert metric.name and metric.higher_is_better == (name in ("accuracy", "r2", "quadratic_kappa"))


@pytest.mark.parametrize("name", METRICS)
def test_nan_no_rows_and_other_shapes_are_refused(name: str) -> None:
    metric, truth = METRICS[name](), np.eye(3)
    for wrong in (np.full((3, 3), np.nan), np.eye(3)[:2], np.zeros(3)):
        with pytest.raises(ValueError, match=r"finite|must both be \(images, targets\)"):
            metric.score(truth, wrong)
    with pytest.raises(ValueError, match="must both be"):
        metric.score(np.zeros((0, 3)), np.zeros((0, 3)))


def test_a_score_that_is_not_defined_is_refused_in_words() -> None:
    same = np.ones((4, 1))
    with pytest.raises(ValueError, match="the truth is constant: R² is not defined"):
        R2().score(same, same + 1)
    with pytest.raises(ValueError, match="one number throughout: kappa is not defined"):
        QuadraticKappa().score(same, same)
    assert RootMeanSquaredError().score(same, same) == 0

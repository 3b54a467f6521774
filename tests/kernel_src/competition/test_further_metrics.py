"""Each metric that the package generator offers says what scikit-learn says."""

import numpy as np
import pytest
from sklearn import metrics as sk

from kernel_src.competition.further_metrics import ALL_METRICS

RANDOM = np.random.default_rng(5)
CLASSES = np.eye(4)[RANDOM.integers(0, 4, 60)]
CHANCES = RANDOM.dirichlet(np.ones(4), 60)
YES = (RANDOM.random((60, 3)) < 0.4).astype(float)
LIKELY = np.round(np.clip(YES * 0.3 + RANDOM.random((60, 3)) * 0.7, 0.01, 0.99), 1)  # rounded: with ties
NUMBERS = RANDOM.gamma(2.0, 10.0, (60, 3))
GUESSED = NUMBERS + RANDOM.normal(0, 3, (60, 3)).clip(-1, 3)
GRADES, GRADED = RANDOM.integers(0, 5, (60, 1)).astype(float), RANDOM.uniform(0, 4, (60, 1))


def test_metrics_of_classes_are_those_of_scikit_learn() -> None:
    true, likeliest = CLASSES.argmax(1), CHANCES.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(true, likeliest),
        "balanced_accuracy": sk.balanced_accuracy_score(true, likeliest),
        "macro_f1": sk.f1_score(true, likeliest, average="macro"),
        "log_loss": sk.log_loss(true, CHANCES),
    }
    assert {name: ALL_METRICS[name]().score(CLASSES, CHANCES) for name in expected} == pytest.approx(expected)


def test_metrics_of_columns_are_those_of_scikit_learn() -> None:
    assert ALL_METRICS["auc"]().score(YES, LIKELY) == pytest.approx(sk.roc_auc_score(YES, LIKELY))
    logs = np.mean([sk.log_loss(YES[:, column], LIKELY[:, column]) for column in range(3)])
    assert ALL_METRICS["column_log_loss"]().score(YES, LIKELY) == pytest.approx(logs)
    expected = {
        "rmse": np.sqrt(sk.mean_squared_error(NUMBERS, GUESSED)),
        "mean_column_rmse": sk.root_mean_squared_error(NUMBERS, GUESSED),
        "mae": sk.mean_absolute_error(NUMBERS, GUESSED),
        "r2": sk.r2_score(NUMBERS, GUESSED),
        "rmsle": np.sqrt(sk.mean_squared_log_error(NUMBERS, GUESSED)),
    }
    assert {name: ALL_METRICS[name]().score(NUMBERS, GUESSED) for name in expected} == pytest.approx(expected)
    kappa = sk.cohen_kappa_score(GRADES[:, 0], np.floor(GRADED[:, 0] + 0.5), weights="quadratic")
    assert ALL_METRICS["quadratic_kappa"]().score(GRADES, GRADED) == pytest.approx(kappa)


def test_a_column_with_one_answer_has_no_area_and_is_left_out() -> None:
    always = np.c_[YES[:, 0], np.ones(60)]
    area = ALL_METRICS["auc"]().score(always, LIKELY[:, :2])
    assert area == pytest.approx(sk.roc_auc_score(YES[:, 0], LIKELY[:, 0]))
    with pytest.raises(ValueError, match="one answer throughout"):
        ALL_METRICS["auc"]().score(np.ones((5, 1)), np.ones((5, 1)))


def test_perfect_predictions_are_as_good_as_the_metric_goes_in_its_own_direction() -> None:
    truth = {"classes": CLASSES, "yes": YES, "numbers": NUMBERS, "grades": GRADES}
    fits = {name: "numbers" for name in ("rmse", "mae", "r2", "rmsle", "mean_column_rmse")}
    fits |= {"auc": "yes", "column_log_loss": "yes", "quadratic_kappa": "grades"}
    for name, metric in ALL_METRICS.items():
        perfect = truth[fits.get(name, "classes")]
        worse = np.roll(perfect, 1, axis=0)
        one = metric()
        assert one.gain(one.score(perfect, perfect)) > one.gain(one.score(perfect, worse)), name

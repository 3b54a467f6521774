"""The blend is what its two rules say."""

from pathlib import Path

import numpy as np
import pytest

from build.search.regress import nested
from build.search.regress.nested import blend_weights, stacked_shares
from kernel_src.models.regressor import Basis, Regressor, RegressorMember, load_regressor, save_regressor

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.gamma(2, 10, (120, 5))


def noisy(deviation: float, rows: int = 120) -> np.ndarray:
    truth = TRUTH.repeat(-(-rows // 120), 0)[:rows]
    return truth + RANDOM.normal(0, deviation, truth.shape)


def test_independent_errors_are_blended_by_their_precision_and_a_hopeless_model_stays_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Variance 1 and 4 blend best at 0.8 and 0.2, where nothing draws towards the mean."""
    monkeypatch.setattr(nested, "TOWARDS_MEAN", 1e-9)
    predicted = np.stack([noisy(1, 4000), noisy(2, 4000), -noisy(30, 4000)])
    assert np.allclose(stacked_shares(predicted, TRUTH.repeat(34, 0)[:4000]), [0.8, 0.2, 0.0], atol=0.05)


def test_what_answers_too_low_throughout_is_raised() -> None:
    shares = stacked_shares(0.9 * np.stack([noisy(3), noisy(3)]), TRUTH)
    assert 1.05 < shares.sum() < 1.15


@pytest.mark.parametrize("pull", [1e-9, 1e-3, 1e3])
def test_the_stronger_the_pull_the_nearer_to_the_plain_mean(pull: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "TOWARDS_MEAN", pull)
    shares = stacked_shares(np.stack([noisy(3), noisy(9)]), TRUTH)
    assert (abs(shares - 0.5).max() < 0.01) == (pull > 1)


def test_a_target_that_nobody_has_gives_the_plain_mean() -> None:
    assert np.allclose(stacked_shares(np.zeros((4, 9, 5)), np.zeros((9, 5))), 0.25)


def test_each_target_has_its_own_setting_and_all_share_the_weights_of_the_kinds() -> None:
    good, bad = noisy(2), noisy(20)
    first, second = good.copy(), bad.copy()
    first[:, 3:], second[:, 3:] = bad[:, 3:], good[:, 3:]
    weights = blend_weights(["ridge raw", "ridge raw", "svr raw"], np.stack([first, second, noisy(2)]), TRUTH)
    assert (weights >= 0).all() and np.allclose(weights.sum(0), weights.sum(0)[0])
    assert (weights[0, 3:] == 0).all() and (weights[1, :3] == 0).all()
    assert np.allclose(weights[2], weights[2, 0]) and 0.3 < weights[2, 0] < 0.7


@pytest.mark.parametrize("whole", [0.0, 1.04, 2.5])
def test_a_file_whose_weights_add_up_to_nothing_or_to_far_too_much_is_refused(whole: float, tmp_path: Path) -> None:
    basis = Basis(kind="linear", arrays={"mean": np.zeros(3), "scale": np.ones(3)})
    member = RegressorMember(
        name="ridge raw 1",
        basis=basis,
        target_scale="raw",
        coefficients=np.ones((3, 5)),
        intercept=np.zeros(5),
        ceiling_g=np.full(5, 99.0),
    )
    path = tmp_path / "regressor.safetensors"
    save_regressor(Regressor(members=(member,), weights=np.full((1, 5), whole)), path)
    if whole == 1.04:
        assert np.allclose(load_regressor(path).predict(np.ones((1, 3))), 1.04 * 3)
    else:
        with pytest.raises(ValueError, match="add up to 0, or to more than 2"):
            load_regressor(path)

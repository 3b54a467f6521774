"""The blend is what its three rules say."""

import numpy as np

from build.search.regress.nested import GREEDY_STEPS, blend_weights, error_products, greedy

RANDOM = np.random.default_rng(0)
GROUPS = np.repeat([f"group {i}" for i in range(12)], 10)
TRUTH = RANDOM.gamma(2, 10, (120, 5))


def noisy(deviation: float) -> np.ndarray:
    return TRUTH + RANDOM.normal(0, deviation, TRUTH.shape)


def test_products_of_errors_give_the_squared_error_of_any_blend() -> None:
    predicted = np.stack([noisy(3), noisy(5), noisy(9)])
    weights = np.array([0.5, 0.3, 0.2])
    products = error_products(predicted, TRUTH, GROUPS).sum(0)  # (5, 3, 3)
    blended = np.einsum("m,mnt->nt", weights, predicted)
    assert np.allclose(weights @ products @ weights, ((blended - TRUTH) ** 2).sum(0))


def test_greedy_finds_the_best_two_of_independent_errors_by_their_precision() -> None:
    """Independent errors of variance 1 and 4 blend best at 0.8 and 0.2; a hopeless third stays out."""
    weights = greedy(np.diag([1.0, 4.0, 1e6]))
    assert np.allclose(weights, [0.8, 0.2, 0.0], atol=1 / GREEDY_STEPS)


def test_each_target_has_its_own_setting_and_all_share_the_weights_of_the_kinds() -> None:
    good, bad = noisy(2), noisy(20)
    first, second = good.copy(), bad.copy()
    first[:, 3:], second[:, 3:] = bad[:, 3:], good[:, 3:]
    weights = blend_weights(
        ["ridge raw", "ridge raw", "svr raw"], np.stack([first, second, noisy(2)]), TRUTH, GROUPS, 1
    )
    assert (weights >= 0).all() and np.allclose(weights.sum(0), 1)
    assert (weights[0, 3:] == 0).all() and (weights[1, :3] == 0).all()
    assert np.allclose(weights[2], weights[2, 0]) and 0.3 < weights[2, 0] < 0.7


def test_the_same_seed_draws_the_same_groups() -> None:
    predicted = np.stack([noisy(5) for _ in range(4)])
    kinds = ["a", "b", "c", "d"]
    first, again = (blend_weights(kinds, predicted, TRUTH, GROUPS, 3) for _ in range(2))
    assert np.array_equal(first, again)

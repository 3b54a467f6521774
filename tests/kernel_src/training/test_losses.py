"""The loss by hand: mean over pictures, sum over targets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.models.model import TargetScaling
from kernel_src.recipes.learning import (
    BatchR2,
    Log1pError,
    Loss,
    MetricSquaredError,
    SmoothL1,
    SqrtError,
    SquaredError,
    Uncertainty,
)
from kernel_src.recipes.spec import kinds_of
from kernel_src.training.losses import PER_TARGET, identity_violation, loss_of

Z = torch.tensor([[1.0, 0, 0, 0, 3], [0.0, 0, 0, 0, 0]])
TRUTH = torch.zeros(2, 5)
LOSSES = [kind() for kind in kinds_of(Loss).values()]
OF_EACH_PICTURE = [loss for loss in LOSSES if not isinstance(loss, BatchR2)]


def name(loss: Loss) -> str:
    return type(loss).__name__


def test_every_loss_that_can_be_written_down_can_be_computed() -> None:
    assert set(PER_TARGET) == set(kinds_of(Loss).values())
    for loss in LOSSES:
        assert torch.isfinite(loss_of(Z, TRUTH, loss, scaling=TargetScaling(), log_variances=torch.zeros(5)))


def test_squared_error_is_averaged_over_pictures_and_summed_over_targets() -> None:
    assert float(loss_of(Z, TRUTH, SquaredError(), scaling=TargetScaling())) == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize(("beta", "expected"), [(1.0, (0.5 + 2.5) / 2), (2.0, (0.25 + 2.0) / 2)])
def test_smooth_l1_turns_at_beta(beta: float, expected: float) -> None:
    assert float(loss_of(Z, TRUTH, SmoothL1(beta=beta), scaling=TargetScaling())) == pytest.approx(expected)


def test_smooth_l1_with_the_metrics_weights_by_hand_and_all_targets_alike_as_without_them() -> None:
    """Green counts .1, Total .5, times five: 0.5 * 0.5 + 2.5 * 2.5 over two pictures."""
    weighted = SmoothL1(beta=1.0, weights="metric")
    assert float(loss_of(Z, TRUTH, weighted, scaling=TargetScaling())) == pytest.approx((0.25 + 6.25) / 2)
    same = torch.full((3, 5), 0.7)
    one, other = (
        float(loss_of(same, torch.zeros(3, 5), loss, scaling=TargetScaling())) for loss in (weighted, SmoothL1())
    )
    assert one == pytest.approx(other)


# The others, in grams: a scaling of mean 10, 10, 10, 20, 30 and deviation 2, 2, 2, 4, 5.

SCALING = TargetScaling()
SCALING.mean.copy_(torch.tensor([10.0, 10, 10, 20, 30]))
SCALING.std.copy_(torch.tensor([2.0, 2, 2, 4, 5]))


def test_log1p_compares_logarithms_of_grams() -> None:
    truth = SCALING.to_z(torch.tensor([[0.0, 10, 10, 20, 30]]))
    grams = torch.tensor([[math.e - 1, 10, 10, math.e**2 * 21 - 1, 30]])
    expected = 1.0**2 + 2.0**2  # log(1 + g): 1 against 0, and log 21 + 2 against log 21
    loss = loss_of(SCALING.to_z(grams), truth, Log1pError(), scaling=SCALING)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_log1p_of_negative_grams_is_the_mirror_image_and_has_a_gradient() -> None:
    grams = torch.tensor([[-(math.e - 1), 10.0, 10, 20, 30]])
    z = SCALING.to_z(grams).requires_grad_()
    loss = loss_of(z, SCALING.to_z(torch.tensor([[0.0, 10, 10, 20, 30]])), Log1pError(), scaling=SCALING)
    assert loss.item() == pytest.approx(1.0, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, z)
    assert gradient[0, 0] == pytest.approx(2 * -1.0 / math.e * 2.0, rel=1e-4)  # 2 (-1) d log(1 + g)/dg std


def test_metric_weighted_on_all_training_rows_is_one_minus_the_metric() -> None:
    random = np.random.default_rng(0)
    truth = random.gamma(2.0, (10.0, 5.0, 3.0, 12.0, 20.0), (40, 5))
    predicted = truth + random.normal(0, 6, truth.shape)
    scaling = TargetScaling()
    scaling.fit(truth)
    z, truth_z = (scaling.to_z(torch.from_numpy(a).float()) for a in (predicted, truth))
    loss = loss_of(z, truth_z, MetricSquaredError(), scaling=scaling)
    assert float(loss) == pytest.approx(1 - weighted_r2(truth, predicted), rel=1e-4)


def test_metric_weighted_by_hand() -> None:
    # Weighted mean .3*10 + .2*20 + .5*30 = 22; variance .3*(4 + 144) + .2*(16 + 4) + .5*(25 + 64) = 92.9.
    z = torch.tensor([[1.0, 0, 0, 1, 2]])  # 2 g, 4 g and 10 g too much
    expected = (0.1 * 4 + 0.2 * 16 + 0.5 * 100) / 92.9
    assert float(loss_of(z, TRUTH[:1], MetricSquaredError(), scaling=SCALING)) == pytest.approx(expected, rel=1e-5)


def test_uncertainty_weighs_each_target_by_its_learnt_variance() -> None:
    """Kendall et al. 2018: error² / (2 σ²) + log σ, with s = log σ²."""
    log_variances = torch.tensor([0.0, math.log(4.0), 0, 0, math.log(9.0)], requires_grad=True)
    loss = loss_of(Z, TRUTH, Uncertainty(), scaling=SCALING, log_variances=log_variances)
    expected = (1 / 2 + 9 / 18) / 2 + (math.log(4.0) + math.log(9.0)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, log_variances)
    assert gradient.tolist() == pytest.approx([0.5 - 1 / 4, 0.5, 0.5, 0.5, 0.5 - 9 / 36], rel=1e-5)


def test_uncertainty_without_log_variances_is_an_error() -> None:
    with pytest.raises(ValueError, match="Uncertainty needs log_variances"):
        loss_of(Z, TRUTH, Uncertainty(), scaling=SCALING)


def test_the_constraint_term_is_the_violation_in_deviations_of_the_sums() -> None:
    loss = SquaredError(identities=0.5)
    # Green 12, Dead 10, Clover 10, GDM 24, Total 30: GDM is 2 g above Green + Clover, Total 4 g below GDM + Dead.
    z = torch.tensor([[1.0, 0, 0, 1, 0]])
    assert identity_violation(z, SCALING).tolist() == pytest.approx([(2 / 4) ** 2 + (4 / 5) ** 2])
    expected = 2.0 + 0.5 * (0.25 + 0.64)
    assert float(loss_of(z, TRUTH[:1], loss, scaling=SCALING)) == pytest.approx(expected)


@pytest.mark.parametrize("plain", OF_EACH_PICTURE, ids=name)
def test_weights_multiply_each_pictures_own_loss(plain: Loss) -> None:
    loss = replace(plain, identities=0.3)
    log_variances = torch.full((5,), 0.2)
    z, truth = torch.randn(2, 5), torch.randn(2, 5)

    def of(rows: slice, weights: list[float] | None = None) -> float:
        given = None if weights is None else torch.tensor(weights)
        return float(loss_of(z[rows], truth[rows], loss, scaling=SCALING, weights=given, log_variances=log_variances))

    first, second = of(slice(0, 1)), of(slice(1, 2))
    assert of(slice(0, 2), [1.0, 0.25]) == pytest.approx((first + 0.25 * second) / 2, rel=1e-5, abs=1e-6)
    assert of(slice(0, 2), [1.0, 1.0]) == pytest.approx(of(slice(0, 2)), rel=1e-6)
    assert of(slice(0, 2), [1.0, 0.0]) == pytest.approx(first / 2, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_the_truth_is_the_best_prediction_under_every_loss(loss: Loss) -> None:
    grams = torch.tensor([[12.0, 10, 8, 20, 30], [9, 8, 11, 20, 28]])
    truth = SCALING.to_z(grams)

    def of(z: torch.Tensor) -> float:
        return float(loss_of(z, truth, loss, scaling=SCALING, log_variances=torch.zeros(5)))

    assert all(of(truth) < of(truth + torch.randn(2, 5)) for _ in range(20))


# The square root, and the metric of a batch


def test_sqrt_compares_square_roots_and_is_the_mirror_image_below_zero() -> None:
    truth = torch.tensor([[0.0, 9, 10, 20, 30]])
    grams = torch.tensor([[4.0, 16, 10, 20, 30]])
    expected = (math.sqrt(4.01) - 0.1) ** 2 + (math.sqrt(16.01) - math.sqrt(9.01)) ** 2
    z, truth_z = SCALING.to_z(grams), SCALING.to_z(truth)
    assert float(loss_of(z, truth_z, SqrtError(), scaling=SCALING)) == pytest.approx(expected, rel=1e-4)
    mirrored = SCALING.to_z(torch.tensor([[-4.0, 9, 10, 20, 30]]))
    assert float(loss_of(mirrored, truth_z, SqrtError(), scaling=SCALING)) == pytest.approx(
        (math.sqrt(4.01) - 0.1) ** 2, rel=1e-4
    )


def test_sqrt_has_a_finite_gradient_at_zero_that_points_at_the_truth() -> None:
    scaling = TargetScaling()
    z = torch.zeros(1, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss_of(z, torch.full((1, 5), 9.0), SqrtError(), scaling=scaling), z)
    expected = 2 * -(math.sqrt(9.01) - 0.1) / (2 * 0.1)  # the slope of the root is 1 / (2 √0.01)
    assert gradient[0].tolist() == pytest.approx([expected] * 5, rel=1e-4)


def batch_of(photographs: int) -> tuple[np.ndarray, np.ndarray, TargetScaling]:
    random = np.random.default_rng(1)
    truth = random.gamma(2.0, (10.0, 5.0, 3.0, 12.0, 20.0), (photographs, 5))
    scaling = TargetScaling()
    scaling.fit(truth)
    return truth, truth + random.normal(0, 6, truth.shape), scaling


def test_batch_r2_is_one_minus_the_metric_on_the_batch_alone() -> None:
    truth, predicted, scaling = batch_of(40)
    z, truth_z = (scaling.to_z(torch.from_numpy(a).float()) for a in (predicted, truth))
    for rows in (slice(0, 40), slice(0, 8), slice(8, 16)):
        loss = float(loss_of(z[rows], truth_z[rows], BatchR2(), scaling=scaling))
        assert loss == pytest.approx(1 - weighted_r2(truth[rows], predicted[rows]), rel=1e-4)


def test_a_photograph_that_counts_twice_is_in_the_batchs_r2_twice() -> None:
    truth, predicted, scaling = batch_of(6)
    z, truth_z = (scaling.to_z(torch.from_numpy(a).float()) for a in (predicted, truth))
    weights = torch.tensor([2.0, 1, 1, 1, 1, 0])
    rows = [0, 0, 1, 2, 3, 4]
    loss = float(loss_of(z, truth_z, BatchR2(), scaling=scaling, weights=weights))
    assert loss == pytest.approx(1 - weighted_r2(truth[rows], predicted[rows]), rel=1e-4)


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_batch_without_variance_has_a_finite_r2_and_gradient(weight: float) -> None:
    """One photograph of bare ground: by the formula its error would be divided by nothing."""
    _, _, scaling = batch_of(40)
    z = scaling.to_z(torch.full((1, 5), 3.0)).requires_grad_()
    truth = scaling.to_z(torch.zeros(1, 5))
    loss = loss_of(z, truth, BatchR2(), scaling=scaling, weights=torch.tensor([weight]))
    (gradient,) = torch.autograd.grad(loss, z)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()
    assert (loss.item() > 0) == bool(weight)

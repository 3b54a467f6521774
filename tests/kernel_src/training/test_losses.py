"""The loss by hand: mean over pictures, sum over targets."""

import math

import numpy as np
import pytest
import torch

from kernel_src.competition.metric import weighted_r2
from kernel_src.models.model import TargetScaling
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import Loss, SmoothL1, Uncertainty
from kernel_src.recipes.spec import kinds_of
from kernel_src.training.losses import identity_violation, loss_of
from kernel_src.training.optimization import build_optimizer
from kernel_src.training.training_net import TrainingNet
from tests.kernel_src.tiny import TINY

Z = torch.tensor([[1.0, 0, 0, 0, 3], [0.0, 0, 0, 0, 0]])
TRUTH = torch.zeros(2, 5)
LOG, METRIC, UNCERTAIN = (changed(TINY, {"loss": loss}) for loss in ("Log1pError", "MetricSquaredError", "Uncertainty"))


def test_mse_is_averaged_over_pictures_and_summed_over_targets() -> None:
    assert float(loss_of(Z, TRUTH, TINY, scaling=TargetScaling())) == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize(("beta", "expected"), [(1.0, (0.5 + 2.5) / 2), (2.0, (0.25 + 2.0) / 2)])
def test_smooth_l1_turns_at_beta(beta: float, expected: float) -> None:
    experiment = changed(TINY, {"loss": SmoothL1(beta=beta)})
    assert float(loss_of(Z, TRUTH, experiment, scaling=TargetScaling())) == pytest.approx(expected)


# The others, in grams: a scaling of mean 10, 10, 10, 20, 30 and deviation 2, 2, 2, 4, 5.

SCALING = TargetScaling()
SCALING.mean.copy_(torch.tensor([10.0, 10, 10, 20, 30]))
SCALING.std.copy_(torch.tensor([2.0, 2, 2, 4, 5]))


def test_log1p_compares_logarithms_of_grams() -> None:
    truth = SCALING.to_z(torch.tensor([[0.0, 10, 10, 20, 30]]))
    grams = torch.tensor([[math.e - 1, 10, 10, math.e**2 * 21 - 1, 30]])
    expected = 1.0**2 + 2.0**2  # log(1 + g): 1 against 0, and log 21 + 2 against log 21
    assert float(loss_of(SCALING.to_z(grams), truth, LOG, scaling=SCALING)) == pytest.approx(expected, rel=1e-5)


def test_log1p_of_negative_grams_is_the_mirror_image_and_has_a_gradient() -> None:
    grams = torch.tensor([[-(math.e - 1), 10.0, 10, 20, 30]])
    z = SCALING.to_z(grams).requires_grad_()
    loss = loss_of(z, SCALING.to_z(torch.tensor([[0.0, 10, 10, 20, 30]])), LOG, scaling=SCALING)
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
    loss = loss_of(z, truth_z, METRIC, scaling=scaling)
    assert float(loss) == pytest.approx(1 - weighted_r2(truth, predicted), rel=1e-4)


def test_metric_weighted_by_hand() -> None:
    # Weighted mean .3*10 + .2*20 + .5*30 = 22; variance .3*(4 + 144) + .2*(16 + 4) + .5*(25 + 64) = 92.9.
    z = torch.tensor([[1.0, 0, 0, 1, 2]])  # 2 g, 4 g and 10 g too much
    expected = (0.1 * 4 + 0.2 * 16 + 0.5 * 100) / 92.9
    assert float(loss_of(z, TRUTH[:1], METRIC, scaling=SCALING)) == pytest.approx(expected, rel=1e-5)


def test_uncertainty_weighs_each_target_by_its_learnt_variance() -> None:
    """Kendall et al. 2018: error² / (2 σ²) + log σ, with s = log σ²."""
    log_variances = torch.tensor([0.0, math.log(4.0), 0, 0, math.log(9.0)], requires_grad=True)
    loss = loss_of(Z, TRUTH, UNCERTAIN, scaling=SCALING, log_variances=log_variances)
    expected = (1 / 2 + 9 / 18) / 2 + (math.log(4.0) + math.log(9.0)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, log_variances)
    assert gradient.tolist() == pytest.approx([0.5 - 1 / 4, 0.5, 0.5, 0.5, 0.5 - 9 / 36], rel=1e-5)


def test_the_log_variances_are_parameters_of_the_model_that_learn_undecayed_and_of_no_other_loss() -> None:
    experiment = changed(TINY, {"loss": Uncertainty(), "optimizer.weight_decay": 0.1})
    model = TrainingNet(experiment)
    assert model.log_variances is not None and model.log_variances.tolist() == [0.0] * 5
    (group,) = [
        group
        for group in build_optimizer(model, experiment).param_groups
        if any(p is model.log_variances for p in group["params"])
    ]
    assert group["weight_decay"] == 0.0 and group["lr"] == experiment.optimizer.lr
    assert "loss_parameters.log_variances" in model.state_dict()
    assert TrainingNet(TINY).log_variances is None and not list(TrainingNet(TINY).loss_parameters.parameters())
    with pytest.raises(ValueError, match="uncertainty needs the model's log_variances"):
        loss_of(Z, TRUTH, experiment, scaling=SCALING)


def test_the_constraint_term_is_the_violation_in_deviations_of_the_sums() -> None:
    experiment = changed(TINY, {"loss.identities": 0.5})
    # Green 12, Dead 10, Clover 10, GDM 24, Total 30: GDM is 2 g above Green + Clover, Total 4 g below GDM + Dead.
    z = torch.tensor([[1.0, 0, 0, 1, 0]])
    assert identity_violation(z, SCALING).tolist() == pytest.approx([(2 / 4) ** 2 + (4 / 5) ** 2])
    expected = 2.0 + 0.5 * (0.25 + 0.64)
    assert float(loss_of(z, TRUTH[:1], experiment, scaling=SCALING)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", kinds_of(Loss))
def test_weights_multiply_each_pictures_own_loss(loss: str) -> None:
    experiment = changed(TINY, {"loss": loss, "loss.identities": 0.3})
    log_variances = torch.full((5,), 0.2)
    z, truth = torch.randn(2, 5), torch.randn(2, 5)

    def of(rows: slice, weights: list[float] | None = None) -> float:
        given = None if weights is None else torch.tensor(weights)
        lost = loss_of(z[rows], truth[rows], experiment, scaling=SCALING, weights=given, log_variances=log_variances)
        return float(lost)

    first, second = of(slice(0, 1)), of(slice(1, 2))
    assert of(slice(0, 2), [1.0, 0.25]) == pytest.approx((first + 0.25 * second) / 2, rel=1e-5, abs=1e-6)
    assert of(slice(0, 2), [1.0, 1.0]) == pytest.approx(of(slice(0, 2)), rel=1e-6)
    assert of(slice(0, 2), [1.0, 0.0]) == pytest.approx(first / 2, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("loss", kinds_of(Loss))
def test_the_truth_is_the_best_prediction_under_every_loss(loss: str) -> None:
    experiment = changed(TINY, {"loss": loss})
    grams = torch.tensor([[12.0, 10, 8, 20, 30], [9, 8, 11, 20, 28]])
    truth = SCALING.to_z(grams)

    def of(z: torch.Tensor) -> float:
        return float(loss_of(z, truth, experiment, scaling=SCALING, log_variances=torch.zeros(5)))

    assert all(of(truth) < of(truth + torch.randn(2, 5)) for _ in range(20))

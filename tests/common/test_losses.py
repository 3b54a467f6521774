"""The loss by hand: mean over pictures, sum over targets."""

from dataclasses import replace

import pytest
import torch

from kernel_src.common.losses import loss_of
from tests.common.tiny import TINY

Z = torch.tensor([[1.0, 0, 0, 0, 3], [0.0, 0, 0, 0, 0]])
TRUTH = torch.zeros(2, 5)


def test_mse_is_averaged_over_pictures_and_summed_over_targets() -> None:
    assert float(loss_of(Z, TRUTH, TINY)) == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize(("beta", "expected"), [(1.0, (0.5 + 2.5) / 2), (2.0, (0.25 + 2.0) / 2)])
def test_smooth_l1_turns_at_beta(beta: float, expected: float) -> None:
    experiment = replace(TINY, loss="smooth_l1", loss_beta=beta)
    assert float(loss_of(Z, TRUTH, experiment)) == pytest.approx(expected)

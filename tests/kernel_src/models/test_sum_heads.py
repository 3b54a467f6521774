"""Heads that answer in grams: never below 0, identities exact, near the training mean before anything is learnt."""

import numpy as np
import pytest
import torch

from kernel_src.models.sum_heads import PatchTotal, SummedAnswers, raw_outputs
from kernel_src.recipes.network import TARGET_FORMS

PARTS = np.random.default_rng(0).gamma(2.0, 10.0, (50, 3))  # Green, Dead, Clover
GRAMS = np.column_stack([PARTS, PARTS[:, 0] + PARTS[:, 2], PARTS.sum(1)])


def answers(targets: str) -> SummedAnswers:
    form = SummedAnswers(targets)
    form.fit(GRAMS)
    return form


@pytest.mark.parametrize("targets", ["components", "shares"])
def test_the_identities_hold_exactly_in_the_very_floats(targets: str) -> None:
    raw = 8 * torch.randn(1000, raw_outputs(targets), generator=torch.Generator().manual_seed(0))
    green, dead, clover, gdm, total = answers(targets)(raw).unbind(1)
    assert torch.equal(gdm, green + clover) and torch.equal(total, gdm + dead)
    assert min(green.min(), dead.min(), clover.min()) >= 0


@pytest.mark.parametrize("targets", TARGET_FORMS)
def test_a_raw_output_of_0_stands_for_the_training_mean(targets: str) -> None:
    found = answers(targets)(torch.zeros(1, raw_outputs(targets)))
    assert found[0].tolist() == pytest.approx(GRAMS.mean(0).tolist(), rel=1e-5)


def test_shares_divide_the_total_and_leave_it_as_it_is() -> None:
    raw = torch.randn(20, 4)
    other = raw.clone()
    other[:, 1:] = torch.randn(20, 3)
    first, second = answers("shares")(raw), answers("shares")(other)
    assert torch.allclose(first[:, 4], second[:, 4], rtol=1e-5) and not torch.allclose(first[:, 0], second[:, 0])
    assert torch.allclose(
        first[:, 4], torch.nn.functional.softplus(raw[:, 0]) * answers("shares").unit.sum(), rtol=1e-5
    )


@pytest.mark.parametrize("targets", TARGET_FORMS)
def test_a_target_that_the_training_rows_do_not_have_leaves_everything_finite(targets: str) -> None:
    """WA has no Dead at all."""
    form = SummedAnswers(targets)
    form.fit(GRAMS * np.array([1, 0, 1, 1, 1]))
    assert form.unit[1] == 1 and torch.isfinite(form(torch.zeros(1, raw_outputs(targets)))).all()


@pytest.mark.parametrize("targets", TARGET_FORMS)
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_an_output_that_overflowed_is_not_turned_into_a_mass(targets: str, value: float) -> None:
    """Else a net whose fp16 overflows below would answer 0 g, and nobody would compute it again in fp32."""
    raw = torch.zeros(2, raw_outputs(targets))
    raw[0, -1] = value
    found = answers(targets)(raw)
    assert not torch.isfinite(found[0]).all() and torch.isfinite(found[1]).all()


def test_patches_are_added_or_averaged_in_full_precision() -> None:
    raw = torch.randn(2, 5000, 3).half()
    form = answers("components")
    masses = torch.nn.functional.softplus(raw.double()) * form.unit.double()
    for reduce, wanted in (("mean", masses.mean(1)), ("sum", masses.sum(1) / 4000)):
        found = form(raw, PatchTotal(reduce, patches=4000))
        assert found.dtype == torch.float32 and torch.allclose(found[:, :3].double(), wanted, rtol=1e-5)
        assert torch.equal(found[:, 3], found[:, 0] + found[:, 2])

"""The two identities: each variant against numbers worked out by hand, the projection against a solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls

from kernel_src.competitions.biomass.constraints import constrain, project
from kernel_src.competitions.biomass.identities import component_matrix
from kernel_src.competitions.biomass.seed_constraints import average, biological
from kernel_src.competitions.held_rules import weight_row
from kernel_src.recipes.predictor import CONSTRAINTS

# Green, Dead, Clover, GDM, Total, also below zero, as a linear head may say.
predictions = arrays(float, st.tuples(st.integers(1, 5), st.just(5)), elements=st.floats(-60, 250))


def identities_hold(grams: np.ndarray) -> bool:
    green, dead, clover, gdm, total = grams.T
    return bool(np.allclose(gdm, green + clover, atol=1e-6) and np.allclose(total, gdm + dead, atol=1e-6))


@settings(max_examples=60)
@given(predictions)
@pytest.mark.parametrize("variant", [variant for variant in CONSTRAINTS if variant != "none"])
def test_every_variant_satisfies_both_identities_and_is_never_negative(variant: str, grams: np.ndarray) -> None:
    constrained = constrain(grams, variant)
    assert constrained.shape == grams.shape and (constrained >= -1e-9).all() and identities_hold(constrained)


@pytest.mark.parametrize("variant", ["biological", "average"])
def test_parts_of_almost_nothing_are_not_scaled_to_infinity(variant: str) -> None:
    """Found by hypothesis: 2e-308 g of green under 8 g of GDM made the factor infinite and the clover NaN."""
    constrained = constrain(np.array([[2.3e-308, 0.0, 0.0, 8.0, 0.0]]), variant)
    assert np.isfinite(constrained).all() and identities_hold(constrained)


@settings(max_examples=150)
@given(predictions)
def test_the_projection_is_the_weighted_optimum_that_scipy_finds(grams: np.ndarray) -> None:
    root, projected = np.sqrt(weight_row()), project(grams)
    for row, got in zip(grams, projected, strict=True):
        components, distance = nnls(component_matrix() * root[:, None], row * root)
        assert np.sqrt((weight_row() * (got - row) ** 2).sum()) == pytest.approx(distance, abs=1e-7)
        assert got == pytest.approx(component_matrix() @ components, abs=1e-5)


def test_the_projection_leaves_consistent_predictions_alone() -> None:
    consistent = np.array([[10.0, 5, 2, 12, 17], [0, 0, 0, 0, 0], [3, 0, 0, 3, 3]])
    assert project(consistent) == pytest.approx(consistent)
    assert project(np.full((1, 5), -5.0)).tolist() == [[0.0] * 5]


def test_the_projection_never_scores_worse_on_consistent_truth() -> None:
    from kernel_src.competitions.biomass.metric import weighted_r2

    random = np.random.default_rng(0)
    truth = random.gamma(2.0, 10.0, (40, 3)) @ component_matrix().T
    noisy = truth + random.normal(0, 8, truth.shape)
    assert weighted_r2(truth, project(noisy)) > weighted_r2(truth, noisy)


@pytest.mark.parametrize(
    ("grams", "expected"),
    [
        # G' = (14 + 10 + 2) / 2 = 13, green and clover times 13/12; T' = (30 + 13 + 5) / 2 = 24, dead = 24 − 13.
        ((10, 5, 2, 14, 30), (10 * 13 / 12, 11, 2 * 13 / 12, 13, 24)),
        # T' = (6 + 12 + 0) / 2 = 9 is below G' = 12: dead = 0, Total = G'.
        ((10, -3, 2, 12, 6), (10, 0, 2, 12, 12)),
        # Nothing to scale: the mass becomes green (the seed left it at zero and broke the identity).
        ((-1, 4, 0, 8, 10), (4, 5, 0, 4, 9)),
    ],
)
def test_the_biological_variant_by_hand(grams: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert biological(np.array([grams], float))[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("grams", "expected"),
    [
        # S = 17, T' = (23 + 17) / 2 = 20, each component times 20/17; GDM follows from them.
        ((10, 5, 2, 99, 23), (10 * 20 / 17, 5 * 20 / 17, 2 * 20 / 17, 12 * 20 / 17, 20)),
        ((-1, -1, -1, -1, 6), (1, 1, 1, 2, 3)),
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ],
)
def test_the_average_variant_by_hand(grams: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert average(np.array([grams], float))[0] == pytest.approx(expected)


def test_none_only_clips_at_zero() -> None:
    assert constrain(np.array([[1.0, -2, 3, 4, 5]]), "none").tolist() == [[1, 0, 3, 4, 5]]


@pytest.mark.parametrize("variant", CONSTRAINTS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_is_refused_instead_of_becoming_zero_grams(variant: str, bad: float) -> None:
    with pytest.raises(ValueError, match="1 predictions are NaN or infinite"):
        constrain(np.array([[1.0, 2, 3, 4, 5], [1, bad, 3, 4, 5]]), variant)


def test_the_input_is_not_changed() -> None:
    grams = np.array([[10.0, -5, 2, 14, 30]])
    for variant in CONSTRAINTS:
        constrain(grams, variant)
    assert grams.tolist() == [[10, -5, 2, 14, 30]]

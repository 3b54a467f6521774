"""The painted labels behave like the 357 real ones; real figures are from the competition's train.csv."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from build.demo.labels import Quadrat, draw_quadrats
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2

REAL_MEAN_SD = {
    "Dry_Green_g": (26.6, 25.4),
    "Dry_Dead_g": (12.0, 12.4),
    "Dry_Clover_g": (6.7, 12.1),
    "Dry_Total_g": (45.3, 27.9),
}


@pytest.fixture(scope="module")
def quadrats() -> list[Quadrat]:
    return draw_quadrats(120, 40, 0)


def grams(quadrats: Sequence[Quadrat]) -> np.ndarray:
    return np.array([[quadrat.grams[target] for target in TARGETS] for quadrat in quadrats])


@pytest.mark.parametrize("target", REAL_MEAN_SD)
def test_means_and_spreads_are_those_of_the_real_labels(quadrats: list[Quadrat], target: str) -> None:
    values = grams(quadrats)[:, TARGETS.index(target)]
    mean, spread = REAL_MEAN_SD[target]
    assert values.mean() == pytest.approx(mean, rel=0.1)
    assert values.std() == pytest.approx(spread, rel=0.2)


def test_zeros_are_as_frequent_as_in_the_real_labels(quadrats: list[Quadrat]) -> None:
    zero = (grams(quadrats) == 0).mean(axis=0)
    assert zero[TARGETS.index("Dry_Clover_g")] == pytest.approx(0.38, abs=0.05)
    assert zero[TARGETS.index("Dry_Dead_g")] == pytest.approx(0.11, abs=0.05)
    assert zero[TARGETS.index("Dry_Green_g")] == pytest.approx(0.05, abs=0.03)


def test_both_sums_hold_exactly(quadrats: list[Quadrat]) -> None:
    green, dead, clover, gdm, total = grams(quadrats).T
    np.testing.assert_allclose(gdm, green + clover, atol=1e-9)
    np.testing.assert_allclose(total, gdm + dead, atol=1e-9)


def test_western_australia_has_no_dead_matter_and_new_south_wales_no_clover(quadrats: list[Quadrat]) -> None:
    assert {quadrat.dead_g for quadrat in quadrats if quadrat.state == "WA"} == {0.0}
    assert {quadrat.clover_g for quadrat in quadrats if quadrat.state == "NSW"} == {0.0}


def test_the_true_state_and_date_mean_scores_as_it_does_on_the_real_labels(quadrats: list[Quadrat]) -> None:
    # .611 on train.csv
    truth = grams(quadrats)
    members = defaultdict(list)
    for i, quadrat in enumerate(quadrats):
        members[quadrat.group].append(i)
    means = np.zeros_like(truth)
    for rows in members.values():
        means[rows] = truth[rows].mean(axis=0)
    assert weighted_r2(truth, means) == pytest.approx(0.611, abs=0.08)


def test_most_hidden_photographs_are_of_dates_that_training_never_saw(quadrats: list[Quadrat]) -> None:
    seen = {quadrat.group for quadrat in quadrats if quadrat.part == "train"}
    hidden = [quadrat.group for quadrat in quadrats if quadrat.part == "hidden"]
    assert len(seen) == 24
    assert sum(group not in seen for group in hidden) == 28
    assert sum(quadrat.part == "public" for quadrat in quadrats) == 1


def test_height_follows_green_and_ndvi_follows_living_matter(quadrats: list[Quadrat]) -> None:
    def ranks(values: Sequence[float]) -> np.ndarray:
        return np.argsort(np.argsort(values))

    height, ndvi = [q.height_cm for q in quadrats], [q.ndvi for q in quadrats]
    green, living = [q.green_g for q in quadrats], [q.green_g + q.clover_g for q in quadrats]
    # Spearman on train.csv: .80 and .59
    assert np.corrcoef(ranks(height), ranks(green))[0, 1] == pytest.approx(0.80, abs=0.15)
    assert np.corrcoef(ranks(ndvi), ranks(living))[0, 1] == pytest.approx(0.59, abs=0.2)


def test_the_seed_decides_everything() -> None:
    assert draw_quadrats(30, 5, 3) == draw_quadrats(30, 5, 3)
    assert draw_quadrats(30, 5, 3) != draw_quadrats(30, 5, 4)


def test_too_few_photographs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10 training"):
        draw_quadrats(9, 5, 0)

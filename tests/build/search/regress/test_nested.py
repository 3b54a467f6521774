"""Choosing inside the folds shows no skill where there is none; choosing on the scored folds does."""

from dataclasses import replace

import numpy as np
import pytest

from build.search.regress.candidates import FAMILIES, Family
from build.search.regress.nested import fit_regressor, nested_predictions, one_thread
from build.search.regress.rows import TrainingRows
from kernel_src.competitions.biomass.constants import IDENTITIES, TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2
from tests.build.search.regress.noise import FOLDS, GROUPS, SIZES, means_of_the_others, noise_scores, problem

QUICK = tuple(family for family in FAMILIES if family.name in ("ridge", "pls", "rbf"))


@pytest.mark.full
def test_on_pure_noise_nested_selection_shows_no_skill_and_both_naive_ways_do() -> None:
    draws = [noise_scores(seed, QUICK) for seed in range(20)]
    nested, own_folds, picked = (np.array([one[way] for one in draws]) for way in ("nested", "own folds", "picked"))

    def surely_positive(values: np.ndarray) -> bool:
        return bool(values.mean() > 3 * values.std(ddof=1) / np.sqrt(len(values)))

    assert nested.mean() <= 0, nested
    assert surely_positive(own_folds - nested), (own_folds, nested)
    assert surely_positive(picked), picked


def test_where_there_is_signal_it_is_found() -> None:
    features, grams = problem(0, 1.0)
    (guess,) = nested_predictions(features, grams, GROUPS, [FOLDS], seed=0, families=QUICK)
    assert weighted_r2(grams, guess) > weighted_r2(grams, means_of_the_others(grams)) + 0.1
    for total, parts in IDENTITIES.items():
        of_parts = guess[:, [TARGETS.index(part) for part in parts]].sum(1)
        assert np.allclose(guess[:, TARGETS.index(total)], of_parts)


def test_the_left_out_rows_weights_cannot_reach_their_own_prediction() -> None:
    """Their grams are replaced by nonsense: the prediction of their fold stays bit for bit."""
    features, grams = problem(1, 0.5)
    spoilt = grams.copy()
    spoilt[FOLDS == 2] = 999.0
    first, second = (
        nested_predictions(features, g, GROUPS, [FOLDS], seed=0, families=QUICK[:2])[0] for g in (grams, spoilt)
    )
    assert np.array_equal(first[FOLDS == 2], second[FOLDS == 2])
    assert not np.array_equal(first[FOLDS != 2], second[FOLDS != 2])


def test_a_row_that_does_not_train_has_no_say_in_any_prediction_and_is_predicted_all_the_same() -> None:
    features, grams = problem(1, 0.5)
    trains = np.arange(len(grams)) % 7 != 0
    spoilt = np.where(trains[:, None], grams, 999.0)
    first, second = (
        nested_predictions(features, g, GROUPS, [FOLDS], seed=0, families=QUICK[:2], trains=trains)[0]
        for g in (grams, spoilt)
    )
    assert np.array_equal(first, second) and np.isfinite(first).all()


def test_inner_folds_never_part_a_group() -> None:
    features, grams = problem(1, 0.5)
    seen: list[set[str]] = []

    def spy(rows: TrainingRows, z: np.ndarray, seed: int):
        seen.append(set(rows.features[:, -1]))
        return QUICK[1].fit(rows, z, seed)

    marked = np.column_stack([features, [float(group[-2:]) for group in GROUPS]])
    with one_thread():
        fit_regressor(marked, grams, GROUPS, seed=0, families=[Family(name="spy", fit=spy, target_scales=("raw",))])
    inside, everything = seen[:5], seen[5]
    assert len(seen) == 6 and len(everything) == len(SIZES)
    assert sorted(group for part in inside for group in everything - part) == sorted(everything)


def test_a_hopeless_costly_family_is_tried_on_one_fold_and_its_namesake_is_not_dropped_with_it() -> None:
    features, grams = problem(2, 0.5)
    calls = []

    def hopeless(rows: TrainingRows, z: np.ndarray, seed: int):
        calls.append(len(rows.features))
        for fit in QUICK[1].fit(rows, z, seed):
            yield replace(fit, coefficients=-10 * fit.coefficients)

    bad = Family(name="rid", fit=hopeless, target_scales=("raw",), costly=True)
    choice = fit_regressor(features, grams, GROUPS, seed=0, families=(bad, *QUICK))
    assert choice.screened_out == ("rid",) and len(calls) == 1
    assert {member.name.split()[0] for member in choice.regressor.members} <= {family.name for family in QUICK}


@pytest.mark.full  # starting a second process costs more than the fits
def test_the_same_seed_gives_the_same_bits_on_one_process_and_on_two() -> None:
    features, grams = problem(3, 0.5)
    one, two = (
        nested_predictions(features, grams, GROUPS, [FOLDS], seed=0, jobs=jobs, families=QUICK[:2])[0]
        for jobs in (1, 2)
    )
    assert np.array_equal(one, two)

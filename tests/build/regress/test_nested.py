"""Choosing inside the folds shows no skill where there is none; choosing on the scored folds does."""

from dataclasses import replace

import numpy as np
import pytest

from build.regress.blending import blend_weights
from build.regress.candidates import FAMILIES, Family
from build.regress.nested import fit_regressor, guesses, nested_predictions, one_thread
from build.regress.rows import TrainingRows, ValuesElsewhere
from kernel_src.common.competition import IDENTITIES, TARGETS
from kernel_src.common.metric import weighted_r2

QUICK = tuple(family for family in FAMILIES if family.name in ("ridge", "pls", "rbf"))
SIZES = (12, 3, 8, 15, 6, 9, 4, 11, 7, 5, 10, 2)  # images of each visit
GROUPS = np.repeat([f"visit {i:02}" for i in range(len(SIZES))], SIZES)
FOLDS = np.repeat(np.arange(len(SIZES)) % 4, SIZES)


def problem(seed: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """80 features of 92 images, and grams that agree with the identities; signal 0 is pure noise."""
    random = np.random.default_rng(seed)
    causes = random.normal(0, 0.6, (len(GROUPS), 5))
    features = random.normal(0, 1, (len(GROUPS), 80)) + signal * np.tile(causes, 16)
    grams = np.exp(2 + causes)
    for total, parts in IDENTITIES.items():
        grams[:, TARGETS.index(total)] = grams[:, [TARGETS.index(part) for part in parts]].sum(1)
    return features, grams


def means_of_the_others(grams: np.ndarray) -> np.ndarray:
    return np.stack([grams[fold != FOLDS].mean(0) for fold in FOLDS])


def scored_on_its_own_folds(features: np.ndarray, grams: np.ndarray) -> float:
    """Blend all candidates by the very folds they are scored on."""
    predicted: dict[str, np.ndarray] = {}
    for fold in np.unique(FOLDS):
        left = fold == FOLDS
        for family in QUICK:
            rows, elsewhere = TrainingRows(features[~left]), ValuesElsewhere(features[left])
            for member, guess in guesses(family, rows, grams[~left], elsewhere, 0):
                predicted.setdefault(member.name, np.zeros_like(grams))[left] = guess
    stacked = np.stack(list(predicted.values()))
    weights = blend_weights(list(predicted), stacked, grams, GROUPS, 0)
    return weighted_r2(grams, np.einsum("mt,mnt->nt", weights, stacked))


def features_picked_before_the_folds(features: np.ndarray, grams: np.ndarray) -> np.ndarray:
    """Keep the ten that correlate best with Total over all rows (wrong: Hastie et al., 2009, section 7.10.2)."""
    total = grams[:, TARGETS.index("Dry_Total_g")]
    correlation = [abs(np.corrcoef(column, total)[0, 1]) for column in features.T]
    return features[:, np.argsort(correlation)[-10:]]


@pytest.mark.full
def test_on_pure_noise_nested_selection_shows_no_skill_and_both_naive_ways_do() -> None:
    nested, own_folds, picked = [], [], []
    for seed in range(20):
        features, grams = problem(seed, 0.0)
        floor = weighted_r2(grams, means_of_the_others(grams))
        (guess,) = nested_predictions(features, grams, GROUPS, [FOLDS], seed=0, families=QUICK)
        nested.append(weighted_r2(grams, guess) - floor)
        own_folds.append(scored_on_its_own_folds(features, grams) - floor)
        fewer = features_picked_before_the_folds(features, grams)
        (guess,) = nested_predictions(fewer, grams, GROUPS, [FOLDS], seed=0, families=QUICK)
        picked.append(weighted_r2(grams, guess) - floor)

    def surely_positive(values: np.ndarray) -> bool:
        return bool(values.mean() > 3 * values.std(ddof=1) / np.sqrt(len(values)))

    assert np.mean(nested) <= 0, nested
    assert surely_positive(np.array(own_folds) - nested), (own_folds, nested)
    assert surely_positive(np.array(picked)), picked


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

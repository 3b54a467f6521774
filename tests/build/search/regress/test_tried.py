"""bench/regress_tried.py: its shared predictions are those of the verb, so that its rows can be compared with it."""

import numpy as np

from bench.regress_noise import FOLDS, GROUPS, problem
from bench.regress_tried import VERB, WAYS, outer_fold, predicted_by, single_scores
from build.search.regress.candidates import FAMILIES
from build.search.regress.nested import nested_predictions
from kernel_src.competition.metric import weighted_r2

QUICK = tuple(family for family in FAMILIES if family.name in ("ridge", "pls", "extra trees"))


def test_the_verbs_row_is_what_the_verb_predicts_and_every_row_shares_its_predictions() -> None:
    features, grams = problem(0, 1.0)
    folds = [outer_fold(features, grams, GROUPS, FOLDS == fold, 0, QUICK) for fold in np.unique(FOLDS)]
    (wanted,) = nested_predictions(features, grams, GROUPS, [FOLDS], seed=0, families=QUICK)
    for way in WAYS:
        found = predicted_by(way, folds, grams, 0)
        assert np.isfinite(found).all() and weighted_r2(grams, found) > 0, way.name
        if way.name == VERB:
            assert np.allclose(found, wanted, atol=1e-9)
    singles = single_scores(folds, grams)
    assert list(singles) == ["ridge raw", "ridge sqrt", "ridge log1p", "pls raw", "pls sqrt", "extra trees raw"]


def test_without_a_shared_error_the_random_effect_is_kernel_ridge() -> None:
    from sklearn.kernel_ridge import KernelRidge

    from bench.regress_tried import SHARED_ERRORS, without_group
    from build.search.regress.rows import TrainingRows

    features, grams = problem(0, 1.0)
    left = GROUPS == GROUPS[0]
    found = without_group(features, grams, GROUPS, GROUPS[0])
    rows, roots = TrainingRows(features[~left]), np.sqrt(grams[~left])
    gamma = float(rows.kernel("rbf", 0.25).basis.arrays["gamma"])
    model = KernelRidge(alpha=0.1, kernel="rbf", gamma=gamma).fit(rows.standardised, roots - roots.mean(0))
    wanted = np.clip(model.predict(rows.linear(features[left])) + roots.mean(0), 0, None) ** 2
    assert np.allclose(found["rbf", 0.25, 0.1, 0.0], wanted)
    assert not np.allclose(found["rbf", 0.25, 0.1, SHARED_ERRORS[-1]], wanted)

"""Each family's arrays compute what the textbook's, or scikit-learn's, model computes."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from build.search.regress import candidates
from build.search.regress.candidates import FAMILIES, Family, fit_members
from build.search.regress.rows import TrainingRows
from kernel_src.models.regressor import CEILING, TARGET_SCALES, Regressor, load_regressor, save_regressor

RANDOM = np.random.default_rng(3)
FEATURES = RANDOM.normal(2, 3, (60, 12))
OTHERS = RANDOM.normal(2, 3, (25, 12))
GRAMS = np.abs(FEATURES[:, :5] * 3 + RANDOM.normal(0, 2, (60, 5))) + 1


def family(name: str) -> Family:
    """The family of a member, or of this name."""
    (found,) = [family for family in FAMILIES if family.name == name.split(" raw")[0].split(" sqrt")[0]]
    return found


def z_scores(features: np.ndarray) -> np.ndarray:
    return (features - FEATURES.mean(0)) / FEATURES.std(0)


def predicted(name: str) -> np.ndarray:
    """The member's prediction for OTHERS before it is clipped and brought back to grams."""
    (member,) = [m for m in fit_members(family(name), TrainingRows(FEATURES), GRAMS, 0) if m.name == name]
    return member.basis(OTHERS) @ member.coefficients + member.intercept


def test_ridge_is_ridge() -> None:
    from sklearn.linear_model import Ridge

    ridge = Ridge(0.3 * len(FEATURES)).fit(z_scores(FEATURES), GRAMS)
    assert np.allclose(predicted("ridge raw 0.3"), ridge.predict(z_scores(OTHERS)))


def test_pls_with_all_components_is_least_squares_and_with_few_is_scikit_learns_for_one_target() -> None:
    from sklearn.cross_decomposition import PLSRegression

    one = GRAMS[:, :1]
    fits = {fit.setting: fit for fit in candidates.fit_pls(TrainingRows(FEATURES), one, 0)}
    for count in (3, 6):
        wanted = PLSRegression(count).fit(FEATURES, one).predict(OTHERS).ravel()
        got = fits[str(count)].basis(OTHERS) @ fits[str(count)].coefficients[:, 0] + one.mean()
        assert np.allclose(got, wanted)
    with_one = np.column_stack([np.ones(60), z_scores(FEATURES)])
    least, *_ = np.linalg.lstsq(with_one, GRAMS, rcond=None)
    assert np.allclose(predicted("pls raw 12"), np.column_stack([np.ones(25), z_scores(OTHERS)]) @ least)


@pytest.mark.parametrize("features", [1, 2, 4])
def test_pls_ends_with_the_last_component_that_there_is(features: int) -> None:
    """With fewer features than components it once went on with what rounding had left, and divided by zero."""
    rows = TrainingRows(FEATURES[:, :features])
    with np.errstate(all="raise"):
        fits = list(candidates.fit_pls(rows, GRAMS - GRAMS.mean(0), 0))
    assert [fit.setting for fit in fits] == [str(n) for n in candidates.PLS_COMPONENTS if n <= features]
    assert all(np.isfinite(fit.coefficients).all() for fit in fits)


@pytest.mark.parametrize("kind", ["rbf", "laplacian"])
def test_kernel_ridge_is_kernel_ridge(kind: str) -> None:
    from scipy.spatial.distance import pdist
    from sklearn.kernel_ridge import KernelRidge

    metric = "sqeuclidean" if kind == "rbf" else "cityblock"
    gamma = 0.5 / np.median(pdist(z_scores(FEATURES), metric))
    model = KernelRidge(alpha=0.1, kernel=kind, gamma=gamma).fit(z_scores(FEATURES), GRAMS - GRAMS.mean(0))
    assert np.allclose(predicted(f"{kind} raw 0.5/0.1"), model.predict(z_scores(OTHERS)) + GRAMS.mean(0))


def test_svr_is_svr() -> None:
    from scipy.spatial.distance import pdist
    from sklearn.svm import SVR

    gamma = 0.25 / np.median(pdist(z_scores(FEATURES), "sqeuclidean"))
    mean, std = GRAMS[:, 1].mean(), GRAMS[:, 1].std()
    model = SVR(C=3, gamma=gamma, epsilon=candidates.SVR_TUBE).fit(z_scores(FEATURES), (GRAMS[:, 1] - mean) / std)
    got = predicted("svr raw 0.25/3")[:, 1]
    assert np.allclose(got, model.predict(z_scores(OTHERS)) * std + mean, atol=0.02 * std)  # the solver's own tolerance


def test_the_gaussian_process_has_scikit_learns_likelihood_at_its_best() -> None:
    """Amplitude profiled out: no width and noise of the grid is likelier than the chosen one."""
    from scipy.stats import multivariate_normal

    z = (GRAMS[:, :1] - GRAMS[:, :1].mean()) / GRAMS[:, :1].std()
    (fit,) = candidates.fit_gaussian_process(TrainingRows(FEATURES), z, 0)

    def likelihood(kernel: np.ndarray, noise: float) -> float:
        shape = kernel + noise * np.eye(len(z))
        amplitude = float(z[:, 0] @ np.linalg.solve(shape, z[:, 0])) / len(z)
        return float(multivariate_normal(cov=amplitude * shape).logpdf(z[:, 0]))

    rows = TrainingRows(FEATURES)
    tried = {
        (float(kernel.basis.arrays["gamma"]), noise): (likelihood(kernel.values, noise), kernel.values)
        for kernel in (rows.kernel("rbf", width) for width in candidates.KERNEL_WIDTHS)
        for noise in np.geomspace(1e-3, 10, 25)
    }
    gamma, noise = max(tried, key=lambda key: tried[key][0])
    duals = np.linalg.solve(tried[gamma, noise][1] + noise * np.eye(len(z)), z)
    assert float(fit.basis.arrays["gamma"]) == gamma
    assert np.allclose(fit.coefficients, duals)


def test_trees_unfolded_into_arrays_are_the_forest() -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    components = TrainingRows(FEATURES).components(0.0)
    (fit,) = candidates.fit_trees(TrainingRows(FEATURES), GRAMS, 5)
    forest = ExtraTreesRegressor(
        candidates.TREES,
        min_samples_leaf=candidates.TREE_LEAF_ROWS,
        max_features=candidates.TREE_FEATURES,
        random_state=5,
    ).fit(components(FEATURES), GRAMS)
    assert np.allclose(fit.basis(OTHERS) @ fit.coefficients, forest.predict(components(OTHERS)))


def test_boosted_trees_unfolded_into_arrays_are_scikit_learns_at_every_number_of_stages() -> None:
    """One run of the most stages gives what a run of fewer stages would, for each target by itself."""
    z = (GRAMS - GRAMS.mean(0)) / GRAMS.std(0)
    components = TrainingRows(FEATURES).components(0.0)
    fits = {fit.setting: fit for fit in candidates.fit_boosting(TrainingRows(FEATURES), z, 5)}
    assert list(fits) == [str(stages) for stages in candidates.BOOST_STAGES]
    for stages in candidates.BOOST_STAGES:
        wanted = np.column_stack(
            [boosted(stages, 5).fit(components(FEATURES), target).predict(components(OTHERS)) for target in z.T]
        )
        fit = fits[str(stages)]
        assert np.allclose(fit.basis(OTHERS) @ fit.coefficients + fit.intercept, wanted)
        assert fit.basis is next(iter(fits.values())).basis, "a blend of several holds the trees once"


def test_every_family_learns_and_the_same_seed_gives_the_same_bits() -> None:
    for kind in FAMILIES:
        members, again = (list(fit_members(kind, TrainingRows(FEATURES), GRAMS, 1)) for _ in range(2))
        errors = [((m.values(m.basis(FEATURES)) - GRAMS) ** 2).mean() for m in members]
        assert min(errors) < 0.7 * GRAMS.var(0).mean(), kind.name
        assert all(np.array_equal(m.coefficients, n.coefficients) for m, n in zip(members, again, strict=True))


def test_a_constant_target_and_a_constant_feature_do_no_harm() -> None:
    features, grams = FEATURES.copy(), GRAMS.copy()
    features[:, 3], grams[:, 2] = 7.0, 0.0
    for kind in FAMILIES:
        for member in fit_members(kind, TrainingRows(features), grams, 1):
            guess = member.values(member.basis(OTHERS))
            assert np.isfinite(guess).all() and (abs(guess[:, 2]) < 1e-9).all(), member.name


def test_a_saved_blend_of_every_family_predicts_the_same_bits_without_a_pickle(tmp_path) -> None:
    members = tuple(m for kind in FAMILIES for m in fit_members(kind, TrainingRows(FEATURES), GRAMS, 1))
    regressor = Regressor(members=members, weights=np.full((len(members), 5), 1 / len(members)))
    save_regressor(regressor, tmp_path / "regressor.safetensors")
    again = load_regressor(tmp_path / "regressor.safetensors")
    assert np.array_equal(again.predict(OTHERS), regressor.predict(OTHERS))
    assert [m.name for m in again.members] == [m.name for m in members]


def test_families_and_scales_share_what_follows_from_the_features_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decomposed = []
    eigh, svd = np.linalg.eigh, np.linalg.svd
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: decomposed.append("eigh") or eigh(matrix))
    monkeypatch.setattr(
        np.linalg, "svd", lambda matrix, **kw: decomposed.append(f"svd {matrix.shape}") or svd(matrix, **kw)
    )
    rows = TrainingRows(FEATURES)
    for kind in FAMILIES:
        list(fit_members(kind, rows, GRAMS, 1))
    assert decomposed.count("eigh") == 3 * len(candidates.KERNEL_WIDTHS), "RBF with the process, Laplacian, whitened"
    assert decomposed.count(f"svd {FEATURES.shape}") == 1


# Against scikit-learn's own predictions, in grams, from the file


def boosted(stages: int, seed: int) -> Any:
    """scikit-learn's model of the family "gradient boosting"."""
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(
        n_estimators=stages,
        learning_rate=candidates.BOOST_RATE,
        max_depth=candidates.BOOST_DEPTH,
        subsample=candidates.BOOST_ROWS,
        min_samples_leaf=candidates.TREE_LEAF_ROWS,
        max_features=candidates.TREE_FEATURES,
        init="zero",
        random_state=seed,
    )


def scikit_learns(name: str) -> np.ndarray:
    """What scikit-learn predicts for OTHERS with the same setting, fitted to the same z-scores of scaled grams."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import Ridge
    from sklearn.svm import SVR

    forward, back = TARGET_SCALES["sqrt" if " sqrt" in name else "raw"]
    scaled = forward(GRAMS)
    mean, std = scaled.mean(0), scaled.std(0)
    z, x, others = (scaled - mean) / std, z_scores(FEATURES), z_scores(OTHERS)
    rows = TrainingRows(FEATURES)
    gamma = float(rows.kernel("rbf", 0.25).basis.arrays["gamma"])
    if name.startswith("ridge"):
        answer = Ridge(0.3 * len(x)).fit(x, z).predict(others)
    elif name.startswith("rbf"):
        answer = KernelRidge(alpha=0.1, kernel="rbf", gamma=gamma).fit(x, z).predict(others)
    elif name.startswith("svr"):
        answer = np.column_stack(
            [
                SVR(C=3, gamma=gamma, epsilon=candidates.SVR_TUBE, tol=1e-9).fit(x, z[:, t]).predict(others)
                for t in range(5)
            ]
        )
    elif name.startswith("gradient boosting"):
        components = rows.components(0.0)
        answer = np.column_stack(
            [boosted(50, 0).fit(components(FEATURES), target).predict(components(OTHERS)) for target in z.T]
        )
    else:
        components = rows.components(0.0)
        forest = ExtraTreesRegressor(
            candidates.TREES,
            min_samples_leaf=candidates.TREE_LEAF_ROWS,
            max_features=candidates.TREE_FEATURES,
            random_state=0,
        )
        answer = forest.fit(components(FEATURES), z).predict(components(OTHERS))
    return back(np.clip(answer * std + mean, 0, forward(CEILING * GRAMS.max(0))))


@pytest.mark.parametrize(
    "name",
    ["ridge raw 0.3", "rbf raw 0.25/0.1", "svr raw 0.25/3", "extra trees raw", "gradient boosting sqrt 50"],
)
def test_the_file_predicts_what_scikit_learn_predicts_within_a_ten_thousandth_of_a_gram(
    name: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn.svm

    # Solved to its end on both sides: how far from it the solver stops by itself is no question of the arrays.
    monkeypatch.setattr(sklearn.svm, "SVR", partial(sklearn.svm.SVR, tol=1e-9))
    (member,) = [m for m in fit_members(family(name), TrainingRows(FEATURES), GRAMS, 0) if m.name == name]
    save_regressor(Regressor(members=(member,), weights=np.ones((1, 5))), tmp_path / "regressor.safetensors")
    loaded = load_regressor(tmp_path / "regressor.safetensors").predict(OTHERS)
    monkeypatch.undo()
    assert np.abs(loaded - scikit_learns(name)).max() < 1e-4

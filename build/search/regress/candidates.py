"""The candidates: what may stand between frozen features and targets, and over which settings each is tried.

A *family* is fitted once and gives one `Fit` per setting, because the settings of a family share their expensive part:
one decomposition serves every ridge penalty, one run every number of PLS components or of boosted trees. What families
share among themselves and between the scales of the targets (rows.py) is computed once as well. All numbers are
relative to the data (the median distance, the number of rows, the targets' deviation), so that they mean the same for
any backbone.
docs/regress.md argues the choice and lists what was tried.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from build.search.regress.rows import TrainingRows
from kernel_src.models.regressor import CEILING, TARGET_SCALES, Basis, RegressorMember

RIDGE_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # times the number of rows: features are standardised
KERNEL_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0)  # beside a kernel whose diagonal is 1
KERNEL_WIDTHS = (0.125, 0.25, 0.5, 1.0)  # γ times the median squared distance between training photographs
PLS_COMPONENTS = (2, 3, 4, 6, 8, 10, 12, 16)
SVR_COSTS = (1.0, 3.0, 10.0)  # targets are z-scores
SVR_WIDTHS = (0.25, 0.75)
SVR_TUBE = 0.1  # deviations of a target that cost nothing
TREES, TREE_LEAF_ROWS, TREE_FEATURES = 100, 3, 0.3
BOOST_STAGES = (25, 50, 100)
BOOST_RATE, BOOST_DEPTH, BOOST_ROWS = 0.1, 3, 0.5  # share of the rows that each tree sees
NETS, HIDDEN_UNITS, NET_STEPS, NET_RATE, NET_DECAY, NET_DROPOUT = 4, 32, 100, 0.01, 0.1, 0.3


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One setting of a family, fitted to z-scores: (B, targets) coefficients and (targets,) intercept of a basis."""

    setting: str
    basis: Basis
    coefficients: np.ndarray
    intercept: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model and how it is fitted to the features of n rows and z-scores (n, targets), given a seed."""

    name: str
    fit: Callable[[TrainingRows, np.ndarray, int], Iterator[Fit]]
    target_scales: tuple[str, ...] = ("raw", "sqrt")
    costly: bool = False  # tried on one inner fold before the others


def fit_members(family: Family, rows: TrainingRows, values: np.ndarray, seed: int) -> Iterator[RegressorMember]:
    """Yield every setting of a family on every scale of the targets, fitted to features and values (n, targets)."""
    ceiling = CEILING * values.max(0)
    for scale in family.target_scales:
        scaled = TARGET_SCALES[scale][0](values)
        mean, std = scaled.mean(0), scaled.std(0)
        std = np.where(std > 1e-9, std, 1.0)
        for fit in family.fit(rows, (scaled - mean) / std, seed):
            yield RegressorMember(
                name=f"{family.name} {scale} {fit.setting}".strip(),
                basis=fit.basis,
                target_scale=scale,
                coefficients=fit.coefficients * std,
                intercept=fit.intercept * std + mean,
                ceiling_g=ceiling,
            )


# %%
def fit_ridge(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """Ridge for all penalties from one decomposition."""
    left, size, axes = rows.decomposition
    along = left.T @ z
    for penalty in RIDGE_PENALTIES:
        shrunk = (size / (size**2 + penalty * len(z)))[:, None] * along
        coefficients = axes.T @ shrunk
        yield Fit(setting=f"{penalty:g}", basis=rows.linear, coefficients=coefficients, intercept=np.zeros(z.shape[1]))


def fit_pls(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """Partial least squares for all numbers of components from one run of SIMPLS.

    Source: de Jong, SIMPLS: an alternative approach to partial least squares regression, 1993, table 1.
    """
    x = rows.standardised
    product = x.T @ z  # (F, targets)
    weights, loadings, orthogonal = [], [], np.zeros((x.shape[1], 0))
    for component in range(1, max(PLS_COMPONENTS) + 1):
        weight = np.linalg.svd(product, full_matrices=False)[0][:, 0]
        score = x @ weight
        length = np.linalg.norm(score)
        if length < 1e-9:  # fewer independent features than components
            return
        score, weight = score / length, weight / length
        direction = x.T @ score
        whole = np.linalg.norm(direction)
        direction -= orthogonal @ (orthogonal.T @ direction)
        if np.linalg.norm(direction) < 1e-9 * whole:  # what is left of the product is rounding
            return
        direction /= np.linalg.norm(direction)
        product = product - np.outer(direction, direction @ product)
        orthogonal = np.column_stack([orthogonal, direction])
        weights.append(weight)
        loadings.append(score @ z)
        if component in PLS_COMPONENTS:
            coefficients = np.column_stack(weights) @ np.stack(loadings)
            intercept = np.zeros(z.shape[1])
            yield Fit(setting=f"{component}", basis=rows.linear, coefficients=coefficients, intercept=intercept)


# %%
def kernel_ridge(kind: str, whitening: float | None = None) -> Callable[[TrainingRows, np.ndarray, int], Iterator[Fit]]:
    """Kernel ridge for all widths and penalties: one eigendecomposition per width."""

    def fit(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
        for width in KERNEL_WIDTHS:
            kernel = rows.kernel(kind, width, whitening)
            along = kernel.axes.T @ z
            for penalty in KERNEL_PENALTIES:
                duals = kernel.axes @ (along / (kernel.size + penalty)[:, None])
                setting = f"{width:g}/{penalty:g}"
                yield Fit(setting=setting, basis=kernel.basis, coefficients=duals, intercept=np.zeros(z.shape[1]))

    return fit


def fit_gaussian_process(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """A Gaussian process: width, amplitude and noise by marginal likelihood, so nothing is left to choose.

    With the amplitude profiled out: −log p = n/2 log(Σ a² / (λ + s)) + ½ Σ log(λ + s) + const, λ the eigenvalues, s the
    noise over the amplitude. Source: Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eq. 5.8.
    """
    noises = np.geomspace(1e-3, 10, 25)
    best: tuple[float, Basis, np.ndarray] | None = None
    for width in KERNEL_WIDTHS:
        kernel = rows.kernel("rbf", width)
        along = kernel.axes.T @ z
        spread = np.clip(kernel.size, 0, None)[:, None] + noises  # (n, noises)
        misfit = np.einsum("nt,nk->tk", along**2, 1 / spread)  # (5, noises)
        cost = 0.5 * len(z) * np.log(np.maximum(misfit, 1e-300)) + 0.5 * np.log(spread).sum(0)
        chosen = cost.argmin(1)
        total = float(cost.min(1).sum())
        if best is None or total < best[0]:
            best = total, kernel.basis, kernel.axes @ (along / spread[:, chosen])
    assert best is not None
    yield Fit(setting="", basis=best[1], coefficients=best[2], intercept=np.zeros(z.shape[1]))


def fit_svr(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """Support vector regression, one machine per target: large errors count by their size, not by their square."""
    from sklearn.svm import SVR

    for width in SVR_WIDTHS:
        kernel = rows.kernel("rbf", width)
        for cost in SVR_COSTS:
            duals, intercept = np.zeros(z.shape), np.zeros(z.shape[1])
            for target in range(z.shape[1]):
                machine = SVR(kernel="precomputed", C=cost, epsilon=SVR_TUBE).fit(kernel.values, z[:, target])
                duals[machine.support_, target] = machine.dual_coef_[0]
                intercept[target] = machine.intercept_[0]
            yield Fit(setting=f"{width:g}/{cost:g}", basis=kernel.basis, coefficients=duals, intercept=intercept)


# %%
def fit_trees(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """Extremely randomised trees, all targets in one, unfolded into arrays."""
    from sklearn.ensemble import ExtraTreesRegressor

    components = rows.components(0.0)
    scaled = components(rows.features)
    forest = ExtraTreesRegressor(
        TREES, min_samples_leaf=TREE_LEAF_ROWS, max_features=TREE_FEATURES, random_state=seed, n_jobs=1
    ).fit(scaled, z)
    trees = [estimator.tree_ for estimator in forest.estimators_]
    basis = leaves(trees, components.arrays)
    coefficients = np.zeros((*basis.arrays["feature"].shape, z.shape[1]))  # (trees, nodes, targets)
    for i, tree in enumerate(trees):
        coefficients[i, : tree.node_count] = tree.value[:, :, 0] / len(trees)
    flat = coefficients.reshape(-1, z.shape[1])
    yield Fit(setting="", basis=basis, coefficients=flat, intercept=np.zeros(z.shape[1]))


def fit_boosting(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """Stochastic gradient boosting, targets one by one, for all numbers of stages from one run: later trees count 0.

    Source: Friedman, Stochastic gradient boosting, 2002; the shape of a tree and the rate: Hastie et al., The Elements
    of Statistical Learning, 2009, sections 10.11 and 10.12.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    components = rows.components(0.0)
    scaled = components(rows.features)
    trees = []  # of one target after the other, stage by stage
    for target in z.T:
        boosted = GradientBoostingRegressor(
            n_estimators=max(BOOST_STAGES),
            learning_rate=BOOST_RATE,
            max_depth=BOOST_DEPTH,
            subsample=BOOST_ROWS,
            min_samples_leaf=TREE_LEAF_ROWS,
            max_features=TREE_FEATURES,
            init="zero",  # z-scores have no mean
            random_state=seed,
        ).fit(scaled, target)
        trees += [stage.tree_ for stage in boosted.estimators_[:, 0]]
    basis = leaves(trees, components.arrays)
    nodes = basis.arrays["feature"].shape[1]
    coefficients = np.zeros((z.shape[1], max(BOOST_STAGES), nodes, z.shape[1]))
    for i, tree in enumerate(trees):
        target, stage = divmod(i, max(BOOST_STAGES))
        coefficients[target, stage, : tree.node_count, target] = BOOST_RATE * tree.value[:, 0, 0]
    for stages in BOOST_STAGES:
        kept = np.where(np.arange(max(BOOST_STAGES))[:, None, None] < stages, coefficients, 0.0)
        flat = kept.reshape(-1, z.shape[1])
        yield Fit(setting=f"{stages}", basis=basis, coefficients=flat, intercept=np.zeros(z.shape[1]))


def leaves(trees: Sequence[Any], before: dict[str, np.ndarray]) -> Basis:
    """Unfold scikit-learn's trees, fitted to what the arrays `before` make of the features, into (trees, nodes)."""
    nodes = max(tree.node_count for tree in trees)
    feature, left, right = (np.zeros((len(trees), nodes), np.int32) for _ in range(3))
    threshold = np.zeros((len(trees), nodes))
    for i, tree in enumerate(trees):
        count, itself = tree.node_count, np.arange(tree.node_count)
        ends = tree.children_left < 0
        feature[i, :count] = np.where(ends, 0, tree.feature)
        threshold[i, :count] = np.where(ends, np.inf, tree.threshold)
        left[i, :count] = np.where(ends, itself, tree.children_left)
        right[i, :count] = np.where(ends, itself, tree.children_right)
    depth = np.array(max(tree.max_depth for tree in trees))
    return Basis(
        kind="leaves",
        arrays=before | {"feature": feature, "threshold": threshold, "left": left, "right": right, "depth": depth},
    )


def fit_network(rows: TrainingRows, z: np.ndarray, seed: int) -> Iterator[Fit]:
    """Small networks with one hidden layer for all targets, trained side by side from other beginnings and averaged."""
    import torch

    components = rows.components(0.0)
    arrays, scaled = dict(components.arrays), components(rows.features)
    arrays["rotation"] = arrays["rotation"] / scaled.std()
    x = torch.from_numpy(scaled / scaled.std()).float()
    wanted = torch.from_numpy(z).float()
    random = torch.Generator().manual_seed(seed)
    inputs, targets = x.shape[1], z.shape[1]
    hidden = torch.randn(NETS, inputs, HIDDEN_UNITS, generator=random) / inputs**0.5
    last = torch.randn(NETS, HIDDEN_UNITS, targets, generator=random) * 0.1 / HIDDEN_UNITS**0.5
    bias, offset = torch.zeros(NETS, 1, HIDDEN_UNITS), torch.zeros(NETS, 1, targets)
    parameters = [tensor.requires_grad_() for tensor in (hidden, bias, last, offset)]
    optimizer = torch.optim.AdamW(parameters, NET_RATE, weight_decay=NET_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, NET_STEPS)
    for _ in range(NET_STEPS):
        units = torch.tanh(x @ hidden + bias)  # (nets, n, hidden)
        kept = torch.rand(units.shape, generator=random) >= NET_DROPOUT
        loss = ((units * kept / (1 - NET_DROPOUT) @ last + offset - wanted) ** 2).mean((1, 2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    side_by_side = hidden.detach().permute(1, 0, 2).reshape(inputs, -1)
    arrays |= {
        "hidden_weight": side_by_side.double().numpy(),
        "hidden_bias": bias.detach().reshape(-1).double().numpy(),
    }
    coefficients = last.detach().reshape(-1, targets).double().numpy() / NETS
    intercept = offset.detach().mean((0, 1)).double().numpy()
    yield Fit(setting="", basis=Basis(kind="hidden", arrays=arrays), coefficients=coefficients, intercept=intercept)


FAMILIES = (
    Family(name="ridge", fit=fit_ridge, target_scales=("raw", "sqrt", "log1p")),
    Family(name="pls", fit=fit_pls),
    Family(name="rbf", fit=kernel_ridge("rbf")),
    Family(name="laplacian", fit=kernel_ridge("laplacian")),
    Family(name="rbf on whitened components", fit=kernel_ridge("rbf", 0.5)),
    Family(name="gaussian process", fit=fit_gaussian_process),
    Family(name="svr", fit=fit_svr),
    Family(name="extra trees", fit=fit_trees, target_scales=("raw",), costly=True),
    Family(name="gradient boosting", fit=fit_boosting, target_scales=("sqrt",), costly=True),
    Family(name="networks", fit=fit_network, target_scales=("sqrt",), costly=True),
)

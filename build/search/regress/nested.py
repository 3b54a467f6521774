"""Nested folds: everything is chosen inside, and the outer fold is predicted once.

`fit_regressor` is given training rows only; it makes its own group folds among them, fits every candidate on them,
blends by the predictions on the rows left out, and fits what has a weight again on all rows. The outer
score calls it once per fold, so that it measures the choosing as well as the fitting.

The blend, on inner out-of-fold predictions alone:

1. Of each family on each scale of the targets, the best setting is kept, for each target its own.
2. Their sum with factors that cannot be negative, the same for all targets (thirty groups do not carry five sets of
   them), nearest to the truth in the metric's weights; the factors are drawn towards those of the plain mean. They need
   not add up to 1: a square of a mean root is less than the mean, so fits of roots answer a little too low.

Source of 2: Breiman, Stacked Regressions, Machine Learning 24, 1996; the pull is that of a ridge.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from build.search.regress.candidates import FAMILIES, Family, fit_members
from build.search.regress.rows import TrainingRows, ValuesElsewhere
from kernel_src.competition.constraints import project
from kernel_src.competition.metric import weight_row, weighted_r2
from kernel_src.models.regressor import Regressor, RegressorMember

INNER_FOLDS = 5
# A costly family is tried on the first inner fold; it goes on if its best is within so much R² of the best of all.
SCREENING_MARGIN = 0.1
TOWARDS_MEAN = 0.03  # λ of the stack, over Σ w y²


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A regressor, and what the inner folds said of it."""

    regressor: Regressor
    screened_out: tuple[str, ...]  # families that the first inner fold ruled out


def inner_folds(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut rows into group folds of nearly equal size, without chance: (training rows, validation rows) of each."""
    from sklearn.model_selection import GroupKFold

    return list(GroupKFold(min(INNER_FOLDS, len(set(groups)))).split(groups, groups=groups))


def fit_regressor(
    features: np.ndarray,
    grams: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    families: Sequence[Family] = FAMILIES,
) -> Choice:
    """Choose and fit a blend on features (n, F), grams (n, 5) and groups (n,), of two groups at least."""
    guessed = inner_guesses(features, grams, groups, seed=seed, families=families)
    names = list(guessed.predicted)
    weights = blend_weights([guessed.kinds[name] for name in names], guessed.stacked, grams)
    weight_of = {name: row for name, row in zip(names, weights, strict=True) if row.any()}
    rows = TrainingRows(features)
    members = [
        member
        for family in families
        if any(guessed.kinds[name].startswith(f"{family.name} ") for name in weight_of)
        for member in fit_members(family, rows, grams, seed)
        if member.name in weight_of
    ]
    chosen = np.stack([weight_of[member.name] for member in members])
    return Choice(regressor=Regressor(members=tuple(members), weights=chosen), screened_out=guessed.screened_out)


@dataclass(frozen=True, kw_only=True)
class InnerGuesses:
    """What every candidate that was not screened out says of the rows, each fitted without the row's inner fold."""

    predicted: dict[str, np.ndarray]  # candidate → (n, 5) grams
    kinds: dict[str, str]  # candidate → family and scale of the targets
    screened_out: tuple[str, ...]

    @property
    def stacked(self) -> np.ndarray:
        """The predictions in the order of `predicted`, (candidates, n, 5)."""
        return np.stack(list(self.predicted.values()))


def inner_guesses(
    features: np.ndarray, grams: np.ndarray, groups: np.ndarray, *, seed: int, families: Sequence[Family] = FAMILIES
) -> InnerGuesses:
    """Fit every candidate on each inner fold's training rows and predict the rows left out."""
    predicted: dict[str, np.ndarray] = {}
    kinds: dict[str, str] = {}
    dropped: tuple[str, ...] = ()
    for number, (fitted, left) in enumerate(inner_folds(groups)):
        rows, elsewhere = TrainingRows(features[fitted]), ValuesElsewhere(features[left])
        for family in families:
            if family.name in dropped:
                continue
            for member, guess in guesses(family, rows, grams[fitted], elsewhere, seed):
                predicted.setdefault(member.name, np.zeros_like(grams))[left] = guess
                kinds[member.name] = f"{family.name} {member.target_scale}"
        if number == 0:
            dropped = screened(families, kinds, {name: guess[left] for name, guess in predicted.items()}, grams[left])
            gone = tuple(f"{name} " for name in dropped)
            predicted = {name: guess for name, guess in predicted.items() if not name.startswith(gone or (" ",))}
    return InnerGuesses(predicted=predicted, kinds=kinds, screened_out=dropped)


def guesses(
    family: Family, rows: TrainingRows, grams: np.ndarray, elsewhere: ValuesElsewhere, seed: int
) -> Iterator[tuple[RegressorMember, np.ndarray]]:
    """Yield every member of a family fitted to some rows, with its grams (m, 5) for other rows."""
    for member in fit_members(family, rows, grams, seed):
        yield member, member.grams(elsewhere.of(member.basis))


def screened(
    families: Sequence[Family], kinds: dict[str, str], predicted: dict[str, np.ndarray], truth: np.ndarray
) -> tuple[str, ...]:
    """Name the costly families that are hopeless on these rows."""
    scores = {name: weighted_r2(truth, guess) for name, guess in predicted.items()}
    bar = max(scores.values()) - SCREENING_MARGIN

    def best(family: Family) -> float:
        return max(score for name, score in scores.items() if kinds[name].startswith(f"{family.name} "))

    return tuple(family.name for family in families if family.costly and best(family) < bar)


# %%
def nested_predictions(
    features: np.ndarray,
    grams: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[np.ndarray],
    *,
    seed: int,
    jobs: int = 1,
    families: Sequence[Family] = FAMILIES,
    trains: np.ndarray | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[np.ndarray]:
    """Predict every image by a regressor that was chosen and fitted without its fold, (n, 5) for each of `folds`.

    Each of `folds` gives the outer fold of every image (n,). Folds that leave out the same rows are fitted once. What
    does not train (n,), is predicted all the same. The result does not depend on `jobs`: every fit runs on one thread.
    """
    from joblib import Parallel, delayed

    left_out = [numbers == number for numbers in folds for number in np.unique(numbers)]
    work = list({mask.tobytes(): mask for mask in left_out}.values())
    fitted = np.ones(len(grams), bool) if trains is None else trains
    tasks = (delayed(_predict_fold)(features, grams, groups, mask, fitted & ~mask, seed, families) for mask in work)
    done: dict[bytes, np.ndarray] = {}
    for mask, guess in zip(work, Parallel(n_jobs=jobs, return_as="generator")(tasks), strict=True):
        done[mask.tobytes()] = guess
        advance(len(done), len(work))
    results = []
    for numbers in folds:
        predicted = np.full_like(grams, np.nan)
        for number in np.unique(numbers):
            predicted[numbers == number] = done[(numbers == number).tobytes()]
        results.append(predicted)
    return results


def _predict_fold(
    features: np.ndarray,
    grams: np.ndarray,
    groups: np.ndarray,
    left: np.ndarray,
    fitted: np.ndarray,
    seed: int,
    families: Sequence[Family],
) -> np.ndarray:
    with one_thread():
        choice = fit_regressor(features[fitted], grams[fitted], groups[fitted], seed=seed, families=families)
        return project(choice.regressor.predict(features[left]))


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and torch to one thread: sums in another order give other last digits, and workers would fight."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


# %%
def stacked_shares(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the factors (models,) of the sum of predictions (models, n, 5) that comes nearest to the truth (n, 5).

    min Σ w (y - Σ s_m p_m)² + λ Σ w y² Σ (s_m - 1/M)², s ≥ 0, with the metric's weights w: a non-negative stack,
    drawn towards the plain mean. The second sum is as many rows more of the least squares.
    """
    from scipy.optimize import nnls

    models, root = len(predicted), np.sqrt(weight_row())
    wanted = (truth * root).ravel()
    pull = np.sqrt(TOWARDS_MEAN * max(float(wanted @ wanted), float(np.finfo(float).tiny)))
    rows = np.vstack([(predicted * root).reshape(models, -1).T, pull * np.eye(models)])
    shares: np.ndarray = nnls(rows, np.concatenate([wanted, np.full(models, pull / models)]))[0]
    return shares


def stand_ins(kinds: Sequence[str], costs: np.ndarray) -> np.ndarray:
    """Return which candidate stands for a kind at a target, (kinds, 5), by what each costs there, (candidates, 5)."""
    everyone = np.arange(len(kinds))
    masks = [np.array([kind == name for kind in kinds]) for name in dict.fromkeys(kinds)]
    return np.stack([everyone[mask][costs[mask].argmin(0)] for mask in masks])


def of_stand_ins(predicted: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """Return the predictions (candidates, n, 5) of those that stand for the kinds, (kinds, n, 5)."""
    rows, targets = np.arange(predicted.shape[1])[None, :, None], np.arange(predicted.shape[2])
    return predicted[stands[:, None, :], rows, targets]


def spread_shares(shares: np.ndarray, stands: np.ndarray, candidates: int) -> np.ndarray:
    """Return each candidate's weight for each target, (candidates, 5), from the shares of the kinds."""
    targets = np.arange(stands.shape[1])
    weights = np.zeros((candidates, len(targets)))
    for share, row in zip(shares, stands, strict=True):
        weights[row, targets] += share
    return weights


def blend_weights(kinds: Sequence[str], predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return each candidate's weight for each target, (candidates, 5), by the two rules above.

    `kinds` names family and scale of each candidate; `predicted` is (candidates, rows, 5), out of the inner folds.
    """
    stands = stand_ins(kinds, ((predicted - truth) ** 2).sum(1))
    return spread_shares(stacked_shares(of_stand_ins(predicted, stands), truth), stands, len(kinds))

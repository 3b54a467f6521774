"""Nested folds: everything is chosen inside, and the outer fold is predicted once.

`fit_regressor` is given training rows only; it makes its own group folds among them, fits every candidate on them,
blends by the predictions on the rows left out, and fits what has a weight again on all rows. The outer
score calls it once per fold, so that it measures the choosing as well as the fitting.

The blend, on inner out-of-fold predictions alone:

1. Of each family on each scale of the targets, the best setting is kept, for each target its own.
2. A greedy blend with replacement: the model that helps most is added, again and again. Its weights cannot be negative,
   add up to one, and are the same for all targets: thirty groups do not carry five sets of weights.
3. This is done on many draws of whole groups, and the weights are averaged: what wins on one group only, loses its say.

Source of 2 and 3: Caruana et al., Ensemble Selection from Libraries of Models, 2004, sections 2.1 and 2.3.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from build.search.regress.candidates import FAMILIES, Family, fit_members
from build.search.regress.rows import TrainingRows, ValuesElsewhere
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import weight_row
from kernel_src.models.regressor import Regressor, RegressorMember

INNER_FOLDS = 5
# A costly family is tried on the first inner fold; it goes on if its best explains
# nearly as much as the best of all.
SCREENING_MARGIN = 0.1
GREEDY_STEPS = 40
DRAWS = 20


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
    values: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    families: Sequence[Family] = FAMILIES,
) -> Choice:
    """Choose and fit a blend on features (n, F), values (n, targets) and groups (n,), of two groups at least."""
    guessed = inner_guesses(features, values, groups, seed=seed, families=families)
    names = list(guessed.predicted)
    weights = blend_weights([guessed.kinds[name] for name in names], guessed.stacked, values, groups, seed)
    weight_of = {name: row for name, row in zip(names, weights, strict=True) if row.any()}
    rows = TrainingRows(features)
    members = [
        member
        for family in families
        if any(guessed.kinds[name].startswith(f"{family.name} ") for name in weight_of)
        for member in fit_members(family, rows, values, seed)
        if member.name in weight_of
    ]
    chosen = np.stack([weight_of[member.name] for member in members])
    return Choice(
        regressor=Regressor(members=tuple(members), weights=chosen / chosen.sum(0)), screened_out=guessed.screened_out
    )


@dataclass(frozen=True, kw_only=True)
class InnerGuesses:
    """What every candidate that was not screened out says of the rows, each fitted without the row's inner fold."""

    predicted: dict[str, np.ndarray]  # candidate → (n, targets)
    kinds: dict[str, str]  # candidate → family and scale of the targets
    screened_out: tuple[str, ...]

    @property
    def stacked(self) -> np.ndarray:
        """The predictions in the order of `predicted`, (candidates, n, targets)."""
        return np.stack(list(self.predicted.values()))


def inner_guesses(
    features: np.ndarray, values: np.ndarray, groups: np.ndarray, *, seed: int, families: Sequence[Family] = FAMILIES
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
            for member, guess in guesses(family, rows, values[fitted], elsewhere, seed):
                predicted.setdefault(member.name, np.zeros_like(values))[left] = guess
                kinds[member.name] = f"{family.name} {member.target_scale}"
        if number == 0:
            dropped = screened(families, kinds, {name: guess[left] for name, guess in predicted.items()}, values[left])
            gone = tuple(f"{name} " for name in dropped)
            predicted = {name: guess for name, guess in predicted.items() if not name.startswith(gone or (" ",))}
    return InnerGuesses(predicted=predicted, kinds=kinds, screened_out=dropped)


def guesses(
    family: Family, rows: TrainingRows, values: np.ndarray, elsewhere: ValuesElsewhere, seed: int
) -> Iterator[tuple[RegressorMember, np.ndarray]]:
    """Yield every member of a family fitted to some rows, with its values (m, targets) for other rows."""
    for member in fit_members(family, rows, values, seed):
        yield member, member.values(elsewhere.of(member.basis))


def explained(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the weighted spread around one mean that is explained, … 1; both (n, targets).

    Whatever the competition's metric is, fits and blends here make squared errors small.
    """
    weights = np.broadcast_to(weight_row(), truth.shape)
    spread = float((weights * (truth - np.average(truth, weights=weights)) ** 2).sum())
    return 1.0 - float((weights * (truth - predicted) ** 2).sum()) / spread


def screened(
    families: Sequence[Family], kinds: dict[str, str], predicted: dict[str, np.ndarray], truth: np.ndarray
) -> tuple[str, ...]:
    """Name the costly families that are hopeless on these rows."""
    scores = {name: explained(truth, guess) for name, guess in predicted.items()}
    bar = max(scores.values()) - SCREENING_MARGIN

    def best(family: Family) -> float:
        return max(score for name, score in scores.items() if kinds[name].startswith(f"{family.name} "))

    return tuple(family.name for family in families if family.costly and best(family) < bar)


# %%
def nested_predictions(
    features: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    folds: Sequence[np.ndarray],
    *,
    seed: int,
    jobs: int = 1,
    families: Sequence[Family] = FAMILIES,
    trains: np.ndarray | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[np.ndarray]:
    """Predict every image by a regressor that was chosen and fitted without its fold, (n, targets) for each of `folds`.

    Each of `folds` gives the outer fold of every image (n,). Folds that leave out the same rows are fitted once. What
    does not train (n,), is predicted all the same. The result does not depend on `jobs`: every fit runs on one thread.
    """
    from joblib import Parallel, delayed

    left_out = [numbers == number for numbers in folds for number in np.unique(numbers)]
    work = list({mask.tobytes(): mask for mask in left_out}.values())
    fitted = np.ones(len(values), bool) if trains is None else trains
    tasks = (delayed(_predict_fold)(features, values, groups, mask, fitted & ~mask, seed, families) for mask in work)
    done: dict[bytes, np.ndarray] = {}
    for mask, guess in zip(work, Parallel(n_jobs=jobs, return_as="generator")(tasks), strict=True):
        done[mask.tobytes()] = guess
        advance(len(done), len(work))
    results = []
    for numbers in folds:
        predicted = np.full_like(values, np.nan)
        for number in np.unique(numbers):
            predicted[numbers == number] = done[(numbers == number).tobytes()]
        results.append(predicted)
    return results


def _predict_fold(
    features: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    left: np.ndarray,
    fitted: np.ndarray,
    seed: int,
    families: Sequence[Family],
) -> np.ndarray:
    with one_thread():
        choice = fit_regressor(features[fitted], values[fitted], groups[fitted], seed=seed, families=families)
        return answers().finished(choice.regressor.predict(features[left]), review().constraint)


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
def error_products(predicted: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return Σ e_i e_j over each group's rows, (groups, 5, models, models): a blend's squared error is w' Q w."""
    errors = predicted - truth  # (models, rows, targets)
    parts = [errors[:, groups == group] for group in np.unique(groups)]
    return np.stack([np.einsum("mnt,knt->tmk", part, part) for part in parts])


def greedy(products: np.ndarray) -> np.ndarray:
    """Return weights (models,) that make w' Q w small, Q (models, models), by adding one model after the other."""
    counts = np.zeros(len(products))
    along, error, own = np.zeros(len(products)), 0.0, np.diag(products)
    for step in range(1, GREEDY_STEPS + 1):
        best = int(np.argmin((error + 2 * along + own) / step**2))
        error += 2 * along[best] + own[best]
        along = along + products[:, best]
        counts[best] += 1
    return counts / GREEDY_STEPS


def draw_shares(products: np.ndarray, seed: int) -> np.ndarray:
    """Return shares (models,) that blend well on draws of groups; products are (groups, models, models)."""
    random = np.random.default_rng(seed)
    draws = [random.integers(0, len(products), len(products)) for _ in range(DRAWS)]
    return np.mean([greedy(products[draw].sum(0)) for draw in draws], 0)


def stand_ins(kinds: Sequence[str], costs: np.ndarray) -> np.ndarray:
    """Return which candidate stands for a kind at a target, (kinds, targets), by their costs (candidates, targets)."""
    everyone = np.arange(len(kinds))
    masks = [np.array([kind == name for kind in kinds]) for name in dict.fromkeys(kinds)]
    return np.stack([everyone[mask][costs[mask].argmin(0)] for mask in masks])


def of_stand_ins(predicted: np.ndarray, stands: np.ndarray) -> np.ndarray:
    """Return the predictions (candidates, n, targets) of those that stand for the kinds, (kinds, n, targets)."""
    rows, targets = np.arange(predicted.shape[1])[None, :, None], np.arange(predicted.shape[2])
    return predicted[stands[:, None, :], rows, targets]


def spread_shares(shares: np.ndarray, stands: np.ndarray, candidates: int) -> np.ndarray:
    """Return each candidate's weight for each target, (candidates, targets), from the shares of the kinds."""
    targets = np.arange(stands.shape[1])
    weights = np.zeros((candidates, len(targets)))
    for share, row in zip(shares, stands, strict=True):
        weights[row, targets] += share
    return weights


def blend_weights(
    kinds: Sequence[str], predicted: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    """Return each candidate's weight for each target, (candidates, targets), by the three rules above.

    `kinds` names family and scale of each candidate; `predicted` is (candidates, rows, targets), out of inner folds.
    """
    stands = stand_ins(kinds, ((predicted - truth) ** 2).sum(1))
    products = error_products(of_stand_ins(predicted, stands), truth, groups)
    shares = draw_shares(np.einsum("t,gtmk->gmk", weight_row(), products), seed)
    return spread_shares(shares, stands, len(kinds))

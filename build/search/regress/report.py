"""What a run of `regress` says: three honest scores, their interval, and what was chosen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from build.scores.intervals import LEVEL, group_scores, score_intervals
from build.search.regress.candidates import FAMILIES
from build.search.regress.nested import fit_regressor, nested_predictions, one_thread
from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules
from kernel_src.models.regressor import Regressor

FOLDS, ROW_FOLDS = 5, 10
FLOORS = 2  # so many of the reference points are what no photograph is needed for
OUT = "leave_group_out"
METHOD = "group jackknife, t with degrees of freedom from the kurtosis (docs/validation.md)"


@dataclass(frozen=True, kw_only=True)
class RegressionResult:
    """The report as JSON can hold it, the predictions behind its first score, and the regressor fitted on all rows."""

    report: dict[str, Any]
    oof: np.ndarray  # (n, targets), leave-group-out
    folds: np.ndarray  # (n,), which group was left out
    regressor: Regressor


def outer_folds(groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the fold of every image (n,) of the three ways to score."""
    from sklearn.model_selection import GroupKFold, KFold

    if review().has_groups:
        folds = {OUT: fold_numbers("leave_group_out", groups, np.empty(0), 0, seed)}
    else:  # leaving out each photograph would take as many fits as there are
        folds = {OUT: np.random.default_rng(seed).permutation(len(groups)) % ROW_FOLDS}
    splits = {
        # Groups dealt by size, as everybody's GroupKFold(5) does it: figures of others compare.
        "group_kfold5": GroupKFold(min(FOLDS, len(set(groups)))).split(groups, groups=groups),
        "random_kfold5": KFold(FOLDS, shuffle=True, random_state=seed).split(groups),
    }
    for name, parts in splits.items():
        folds[name] = np.zeros(len(groups), int)
        for number, (_, left) in enumerate(parts):
            folds[name][left] = number
    return folds


def evaluate(
    features: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    jobs: int = 1,
    trains: np.ndarray | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> RegressionResult:
    """Score the whole procedure by nested folds, then fit it on all rows that train.

    Features are (n, F), values (n, targets), groups (n,), `trains` (n,) of bool, all unless given; every row is judged.
    """
    start = time.perf_counter()
    folds, fitted = outer_folds(groups, seed), np.ones(len(values), bool) if trains is None else trains
    guesses = nested_predictions(
        features, values, groups, list(folds.values()), seed=seed, jobs=jobs, trains=fitted, advance=advance
    )
    predicted = dict(zip(folds, guesses, strict=True))
    with one_thread():
        choice = fit_regressor(features[fitted], values[fitted], groups[fitted], seed=seed)
    oof = predicted[OUT]
    (sure,) = score_intervals(group_scores(values, oof[None], groups))
    report: dict[str, Any] = {"metric": rules().metric.name}
    report |= {name: rules().score(values, guess) for name, guess in predicted.items()}
    report |= {
        "interval": {
            "of": OUT,
            "low": sure.low,
            "high": sure.high,
            "level": LEVEL,
            "method": METHOD,
        },
        "per_target": rules().score_per_target(values, oof),
        "floors": dict(list(review().reference_points(values, groups).items())[:FLOORS]),
        "chosen": [
            {"name": member.name, "weights": dict(zip(facts().targets, map(float, row), strict=True))}
            for member, row in zip(choice.regressor.members, choice.regressor.weights, strict=True)
        ],
        "families": [family.name for family in FAMILIES],
        "screened_out": list(choice.screened_out),
        "images": len(values),
        "images_trained_on": int(fitted.sum()),
        "groups": len(set(groups)),
        "features": features.shape[1],
        "seed": seed,
        "seconds": time.perf_counter() - start,
    }
    return RegressionResult(report=report, oof=oof, folds=folds[OUT], regressor=choice.regressor)

"""What a run of `regress` says: three honest scores, their interval, and what was chosen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from build.scores.intervals import LEVEL, group_sums, score_intervals
from build.search.regress.candidates import FAMILIES
from build.search.regress.nested import fit_regressor, nested_predictions, one_thread
from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.floors import group_out_floor, mean_floor
from kernel_src.competitions.biomass.metric import r2_per_target, weighted_r2
from kernel_src.competitions.held_rules import weight_row
from kernel_src.models.regressor import Regressor

FOLDS = 5
METHOD = "group jackknife, t with degrees of freedom from the kurtosis (docs/validation.md)"


@dataclass(frozen=True, kw_only=True)
class RegressionResult:
    """The report as JSON can hold it, the predictions behind its first score, and the regressor fitted on all rows."""

    report: dict[str, Any]
    oof: np.ndarray  # (n, 5), leave-group-out
    folds: np.ndarray  # (n,), which group was left out
    regressor: Regressor


def outer_folds(groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the fold of every image (n,) of the three ways to score."""
    from sklearn.model_selection import GroupKFold, KFold

    folds = {"leave_group_out_r2": fold_numbers("leave_group_out", groups, np.empty(0), 0, seed)}
    splits = {
        # Groups dealt by size, as everybody's GroupKFold(5) does it: figures of others compare.
        "group_kfold5_r2": GroupKFold(min(FOLDS, len(set(groups)))).split(groups, groups=groups),
        "random_kfold5_r2": KFold(FOLDS, shuffle=True, random_state=seed).split(groups),
    }
    for name, parts in splits.items():
        folds[name] = np.zeros(len(groups), int)
        for number, (_, left) in enumerate(parts):
            folds[name][left] = number
    return folds


def evaluate(
    features: np.ndarray,
    grams: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
    jobs: int = 1,
    trains: np.ndarray | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> RegressionResult:
    """Score the whole procedure by nested folds, then fit it on all rows that train.

    Features are (n, F), grams (n, 5), groups (n,), `trains` (n,) of bool, all unless given; every row is judged.
    """
    start = time.perf_counter()
    folds, fitted = outer_folds(groups, seed), np.ones(len(grams), bool) if trains is None else trains
    guesses = nested_predictions(
        features, grams, groups, list(folds.values()), seed=seed, jobs=jobs, trains=fitted, advance=advance
    )
    predicted = dict(zip(folds, guesses, strict=True))
    with one_thread():
        choice = fit_regressor(features[fitted], grams[fitted], groups[fitted], seed=seed)
    oof = predicted["leave_group_out_r2"]
    (sure,) = score_intervals(group_sums(grams, oof[None], groups, weight_row()))
    report: dict[str, Any] = {name: weighted_r2(grams, guess) for name, guess in predicted.items()}
    report |= {
        "interval": {
            "of": "leave_group_out_r2",
            "low": sure.low,
            "high": sure.high,
            "level": LEVEL,
            "method": METHOD,
        },
        "per_target": r2_per_target(grams, oof),
        "floors": {"mean": mean_floor(grams), "mean_of_other_groups": group_out_floor(grams, groups)},
        "chosen": [
            {"name": member.name, "weights": dict(zip(TARGETS, map(float, row), strict=True))}
            for member, row in zip(choice.regressor.members, choice.regressor.weights, strict=True)
        ],
        "families": [family.name for family in FAMILIES],
        "screened_out": list(choice.screened_out),
        "images": len(grams),
        "images_trained_on": int(fitted.sum()),
        "groups": len(set(groups)),
        "features": features.shape[1],
        "seed": seed,
        "seconds": time.perf_counter() - start,
    }
    return RegressionResult(report=report, oof=oof, folds=folds["leave_group_out_r2"], regressor=choice.regressor)

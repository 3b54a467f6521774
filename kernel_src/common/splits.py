"""## Folds

Photographs of one State and Sampling_Date look alike and weigh alike; if one visit lies in training and validation, the
score measures memory. Every split here therefore keeps groups whole.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedGroupKFold

QUANTILE_BINS = 4


def fold_numbers(split: str, groups: np.ndarray, strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold in which each image is validated, (images,) of int.

    `split` is one of `experiment.SPLITS`; `strata` (images,) are grams whose quartiles the stratified variant balances.

    Raises:
        ValueError: there are fewer groups than folds, or the split is unknown.
    """
    if split == "leave_group_out":
        parts = list(LeaveOneGroupOut().split(groups, groups=groups))
    elif len(set(groups)) < folds:
        raise ValueError(
            f"{folds} folds need at least as many State+Sampling_Date groups; there are {len(set(groups))}"
        )
    elif split == "group":
        # scikit-learn deals the groups by size unless told to shuffle: without it the seed has no effect.
        parts = list(GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups))
    elif split == "stratified_group":
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        parts = list(splitter.split(groups, quantile_bins(strata), groups))
    else:
        raise ValueError(f"unknown split {split!r}")
    numbers = np.full(len(groups), -1)
    for number, (_, valid) in enumerate(parts):
        numbers[valid] = number
    assert (numbers >= 0).all()
    return numbers


def quantile_bins(values: np.ndarray) -> np.ndarray:
    """Cut values (images,) into quartiles numbered 0 to 3."""
    edges = np.quantile(values, np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1])
    return np.digitize(values, edges)


def repeated_fold_numbers(
    split: str, groups: np.ndarray, strata: np.ndarray, folds: int, seeds: range
) -> Iterator[np.ndarray]:
    """Yield `fold_numbers` once per seed: the spread between them is the luck of one split."""
    for seed in seeds:
        yield fold_numbers(split, groups, strata, folds, seed)

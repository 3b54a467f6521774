"""## Folds

Photographs of one group look alike and have about the same targets; if a group lies in training and validation, the
score measures memory. Every split here therefore keeps groups whole. Groups differ in size; of 1 to 22
photographs, dealt out like cards, they left folds of 44 and of 107: they are dealt so that every fold holds about as
many photographs.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

QUANTILE_BINS = 4
MOST_COMPARED = 2000  # groups, every two of which are compared to even the folds out: beyond, that takes gigabytes
EVEN_NUMBERS = 2  # how much more the number of photographs counts than that of each quartile, where both are balanced


def fold_numbers(
    split: str, groups: np.ndarray, strata: np.ndarray, folds: int, seed: int, group_name: str = "group"
) -> np.ndarray:
    """Return the fold in which each image is validated, (images,) of int.

    `split` is the `rule` of a Split. `strata` (images,) is what the stratified variant balances: the quartiles of float
    numbers, or each of the int ones, which stand for classes. The order of the images does not matter, only what their
    groups are called.

    Raises:
        ValueError: there are fewer groups than folds, or the split is unknown.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    if split == "leave_group_out":
        return group_of
    if len(names) < folds:
        raise ValueError(f"{folds} folds need at least as many {group_name}s; there are {len(names)}")
    if split not in ("group", "stratified_group"):
        raise ValueError(f"unknown split {split!r}")
    counts = np.bincount(group_of)[:, None]  # (groups, 1)
    if split == "stratified_group":
        are_classes = strata.dtype.kind in "iu"
        bins = strata if are_classes else quantile_bins(strata)
        of_each = np.unique(strata) if are_classes else range(QUANTILE_BINS)
        of_bin = [np.bincount(group_of[bins == one], minlength=len(names)) for one in of_each]
        counts = np.column_stack([EVEN_NUMBERS * counts, *of_bin])
    return _deal(counts.astype(float), folds, np.random.default_rng(seed))[group_of]


def _deal(counts: np.ndarray, folds: int, random: np.random.Generator) -> np.ndarray:
    """Deal groups out so that the folds' sums of `counts` (groups, kinds) are as equal as can be; (groups,) of int.

    1. The groups are shuffled, and each goes where the sum of squares grows least: to the smallest fold.
    2. While moving a group, or swapping two, makes the sum of squares smaller, the best such change is made. So many
       groups that this is too much to compare are small beside a fold, and even already.

    The shuffle decides which of the many even deals comes out. No fold is empty: it would be the smallest.
    """
    fold_of, sums = np.zeros(len(counts), int), np.zeros((folds, counts.shape[1]))
    for group in random.permutation(len(counts)):
        fold_of[group] = np.argmin(sums @ counts[group])
        sums[fold_of[group]] += counts[group]
    while len(counts) <= MOST_COMPARED:
        # What a change adds to the sum of squares, halved. The rest is a fold without the group itself.
        rest = sums[fold_of] - counts  # (groups, kinds)
        beside = counts @ rest.T  # (groups, groups)
        own = beside.diagonal()
        moved = counts @ sums.T - own[:, None]  # (groups, folds)
        moved[np.arange(len(counts)), fold_of] = 0
        swapped = beside + beside.T - own[:, None] - own
        swapped[fold_of[:, None] == fold_of] = 0
        if min(moved.min(), swapped.min()) >= 0:
            return fold_of
        if moved.min() <= swapped.min():
            group, fold = np.unravel_index(moved.argmin(), moved.shape)
            changes = [(group, fold)]
        else:
            one, other = np.unravel_index(swapped.argmin(), swapped.shape)
            changes = [(one, fold_of[other]), (other, fold_of[one])]
        for group, fold in changes:
            sums[fold_of[group]] -= counts[group]
            fold_of[group] = fold
            sums[fold] += counts[group]
    return fold_of


def quantile_bins(values: np.ndarray) -> np.ndarray:
    """Cut values (images,) into quartiles numbered 0 to 3."""
    edges = np.quantile(values, np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1])
    return np.digitize(values, edges)


# %%
def split_sha256(image_ids: Sequence[str], fold_of: np.ndarray) -> str:
    """Identify a division of labelled images into folds, whatever the order of the rows."""
    lines = sorted(f"{image} {fold}" for image, fold in zip(image_ids, fold_of.tolist(), strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

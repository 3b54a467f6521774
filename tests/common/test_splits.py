"""Folds: whole groups, a seed that matters, and a refusal where there is too little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_src.common.experiment import SPLITS
from kernel_src.common.splits import fold_numbers, quantile_bins, repeated_fold_numbers

GROUPS = np.repeat([f"g{i}" for i in range(12)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3, 3])
GRAMS = np.random.default_rng(0).gamma(2.0, 20.0, len(GROUPS))


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 22), min_size=5, max_size=30),
    split=st.sampled_from(SPLITS),
    folds=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_no_group_is_ever_split_and_every_fold_validates_something(
    sizes: list[int], split: str, folds: int, seed: int
) -> None:
    groups = np.repeat([f"g{i:02}" for i in range(len(sizes))], sizes)
    groups = np.random.default_rng(seed).permutation(groups)
    strata = np.random.default_rng(seed + 1).gamma(2.0, 20.0, len(groups))
    numbers = fold_numbers(split, groups, strata, folds, seed)
    assert all(len(set(numbers[groups == group])) == 1 for group in groups)
    assert set(numbers) == set(range(len(sizes) if split == "leave_group_out" else folds))


@pytest.mark.parametrize("split", ["group", "stratified_group"])
def test_the_seed_changes_the_folds_and_the_same_seed_repeats_them(split: str) -> None:
    def deal(seed: int) -> list[int]:
        return fold_numbers(split, GROUPS, GRAMS, 3, seed).tolist()

    assert deal(1) == deal(1)
    assert len({tuple(deal(seed)) for seed in range(6)}) > 3


def test_repeats_are_the_folds_of_each_seed() -> None:
    repeats = list(repeated_fold_numbers("group", GROUPS, GRAMS, 3, range(4, 7)))
    assert [r.tolist() for r in repeats] == [fold_numbers("group", GROUPS, GRAMS, 3, s).tolist() for s in (4, 5, 6)]
    assert len({tuple(r) for r in repeats}) == 3


def test_leave_one_group_out_makes_one_fold_per_group() -> None:
    numbers = fold_numbers("leave_group_out", GROUPS, GRAMS, 5, 0)
    assert numbers.max() + 1 == 12
    assert all((GROUPS[numbers == n] == GROUPS[numbers == n][0]).all() for n in range(12))


def test_the_stratified_split_balances_the_quartiles_better_than_the_plain_one() -> None:
    groups = np.repeat([f"g{i:02}" for i in range(40)], 4)
    strata = np.repeat(np.linspace(1, 100, 40), 4)  # each group lies in one quartile

    def imbalance(split: str, seed: int) -> float:
        numbers, bins = fold_numbers(split, groups, strata, 4, seed), quantile_bins(strata)
        return float(np.std([[(bins[numbers == n] == b).mean() for b in range(4)] for n in range(4)]))

    assert all(imbalance("stratified_group", seed) < 0.7 * imbalance("group", seed) for seed in range(5))


def test_quantile_bins_are_quarters() -> None:
    assert quantile_bins(np.arange(8.0)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("split", ["group", "stratified_group"])
def test_fewer_groups_than_folds_are_refused_with_both_numbers(split: str) -> None:
    with pytest.raises(ValueError, match="13 folds need .* there are 12"):
        fold_numbers(split, GROUPS, GRAMS, 13, 0)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown split 'random'"):
        fold_numbers("random", GROUPS, GRAMS, 3, 0)

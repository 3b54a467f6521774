"""Folds: whole groups, a seed that matters, and a refusal where there is too little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_src.competition.splits import fold_numbers, quantile_bins

SPLITS = ("group", "stratified_group", "leave_group_out")

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


# Photographs of the 30 State+Sampling_Date groups of the real train.csv: 357.
REAL_SIZES = [17, 11, 15, 9, 10, 13, 17, 20, 22, 7, 18, 10, 10, 9, 9]
REAL_SIZES += [16, 11, 7, 19, 6, 9, 10, 18, 10, 1, 11, 10, 12, 8, 12]
REAL_GROUPS = np.repeat([f"visit {i:02}" for i in range(30)], REAL_SIZES)
# A visit's photographs weigh alike: most of the spread is between visits.
REAL_GRAMS = np.repeat(np.random.default_rng(1).gamma(3.0, 15.0, 30), REAL_SIZES)
REAL_GRAMS = REAL_GRAMS * np.random.default_rng(2).uniform(0.6, 1.4, len(REAL_GRAMS))


@pytest.mark.parametrize(
    ("split", "fewest", "most"), [("group", 70, 72), ("stratified_group", 69, 74)], ids=["group", "stratified_group"]
)
def test_five_folds_hold_as_many_photographs_each_and_every_seed_deals_others(
    split: str, fewest: int, most: int
) -> None:
    """Visits dealt out like cards left folds of 44 and of 107 photographs over these 200 seeds; 71.4 is the mean."""
    repeats = [fold_numbers(split, REAL_GROUPS, REAL_GRAMS, 5, seed) for seed in range(200)]
    counts = np.array([np.bincount(numbers, minlength=5) for numbers in repeats])
    assert fewest <= counts.min() and counts.max() <= most
    assert len({tuple(numbers) for numbers in repeats}) == 200
    together = np.array([numbers[0] == numbers[-1] for numbers in repeats]).mean()
    assert 0.1 < together < 0.3, "two visits share a fold by chance, one time in five"


def test_the_inner_folds_of_what_is_left_are_as_even() -> None:
    counts = []
    for seed in range(20):
        outer = fold_numbers("group", REAL_GROUPS, REAL_GRAMS, 5, seed)
        for fold in range(5):
            left = outer != fold
            inner = fold_numbers("group", REAL_GROUPS[left], REAL_GRAMS[left], 8, fold)
            counts.append(np.bincount(inner, minlength=8))
    assert np.min(counts) >= 31 and np.max(counts) <= 40, "the mean is 35.7"


@pytest.mark.parametrize("split", SPLITS)
def test_the_folds_of_a_visit_do_not_depend_on_the_order_of_the_table(split: str) -> None:
    order = np.random.default_rng(0).permutation(len(REAL_GROUPS))
    straight = fold_numbers(split, REAL_GROUPS, REAL_GRAMS, 5, 3)
    assert fold_numbers(split, REAL_GROUPS[order], REAL_GRAMS[order], 5, 3).tolist() == straight[order].tolist()


def test_another_seed_deals_other_folds() -> None:
    repeats = [fold_numbers("group", GROUPS, GRAMS, 3, seed) for seed in range(4, 7)]
    assert len({tuple(repeat) for repeat in repeats}) == 3


def test_leave_one_group_out_makes_one_fold_per_group() -> None:
    numbers = fold_numbers("leave_group_out", GROUPS, GRAMS, 5, 0)
    assert numbers.max() + 1 == 12
    assert all((GROUPS[numbers == n] == GROUPS[numbers == n][0]).all() for n in range(12))


def test_the_stratified_split_balances_the_quartiles_better_than_the_plain_one() -> None:
    groups = np.repeat([f"g{i:02}" for i in range(40)], 4)
    strata = np.repeat(np.linspace(1, 100, 40), 4)  # each group lies in one quartile

    def visits(split: str, seed: int) -> np.ndarray:
        """Count the visits of each quartile (4) in each fold (4)."""
        numbers, bins = fold_numbers(split, groups, strata, 4, seed), quantile_bins(strata)
        return np.array([[(bins[numbers == n] == b).sum() // 4 for b in range(4)] for n in range(4)])

    for seed in range(20):
        assert set(visits("stratified_group", seed).ravel()) == {2, 3}, "ten of each quartile for four folds"
    assert np.mean([visits("group", seed).std() for seed in range(20)]) > 2 * visits("stratified_group", 0).std()


def test_quantile_bins_are_quarters() -> None:
    assert quantile_bins(np.arange(8.0)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("split", ["group", "stratified_group"])
def test_fewer_groups_than_folds_are_refused_with_both_numbers(split: str) -> None:
    with pytest.raises(ValueError, match="13 folds need .* there are 12"):
        fold_numbers(split, GROUPS, GRAMS, 13, 0)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown split 'random'"):
        fold_numbers("random", GROUPS, GRAMS, 3, 0)


def test_each_class_is_dealt_evenly_where_strata_are_whole_numbers() -> None:
    classes = np.repeat(np.arange(7), [30, 12, 9, 6, 3, 3, 3])
    numbers = fold_numbers("stratified_group", np.arange(len(classes)).astype(str), classes, 3, 0)
    counts = np.array([np.bincount(numbers[classes == one], minlength=3) for one in range(7)])
    assert (counts.max(1) - counts.min(1)).max() == 0, "as many of each class in every fold"


def test_thousands_of_photographs_are_dealt_evenly_without_comparing_every_two() -> None:
    """Cassava has 21,367; tables of every two of them would be gigabytes each."""
    classes = np.random.default_rng(0).integers(0, 5, 6000)
    numbers = fold_numbers("stratified_group", np.arange(6000).astype(str), classes, 5, 0)
    counts = np.array([np.bincount(numbers[classes == one], minlength=5) for one in range(5)])
    assert (counts.max(1) - counts.min(1)).max() <= 5 and np.ptp(np.bincount(numbers)) <= 5

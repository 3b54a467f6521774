"""Batches to train on: the right pictures with the right targets, alike whoever asks and in which order."""

import numpy as np
import pytest
import torch

from kernel_src.common.training_photographs import SeededOrder, TrainingPhotographs
from tests.common.tiny import fold_data

DATA = fold_data(8, size_px=(16, 32))


def training(preset: str = "moderate", seed: int = 5) -> TrainingPhotographs:
    return TrainingPhotographs(DATA.photographs, DATA.grams, np.array([6, 2, 4]), preset, seed)


def test_training_serves_its_rows_with_their_own_targets() -> None:
    served = training("none")
    assert len(served) == 3
    for place, row in enumerate([6, 2, 4]):
        picture, grams, said = served[place]
        assert said == row and grams.tolist() == pytest.approx(DATA.grams[row].tolist())
        assert torch.equal(picture, torch.from_numpy(DATA.photographs[row].transpose(2, 0, 1)))


def test_augmentation_depends_on_seed_epoch_and_row_and_on_nothing_else() -> None:
    one, two = training(), training()
    two[0], two[1]  # what was drawn before does not matter
    assert all(torch.equal(one[i][0], two[i][0]) for i in range(3))
    first = [one[i][0].clone() for i in range(3)]
    one.epoch = 1
    other_seed = training(seed=6)
    assert any(not torch.equal(one[i][0], first[i]) for i in range(3))
    assert any(not torch.equal(other_seed[i][0], first[i]) for i in range(3))


@pytest.mark.parametrize("preset", ["moderate", "extreme"])
def test_augmented_pictures_keep_the_shape_of_the_batch(preset: str) -> None:
    served = training(preset)
    for epoch in range(15):
        served.epoch = epoch
        assert {tuple(served[i][0].shape) for i in range(3)} == {(3, 16, 32)}


def test_the_decoded_photographs_are_not_changed_by_augmentation() -> None:
    before = DATA.photographs.copy()
    served = training("extreme")
    for epoch in range(5):
        served.epoch = epoch
        served[0]
    assert np.array_equal(DATA.photographs, before)


def test_the_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = SeededOrder(20, seed)
        sampler.epoch = epoch
        return list(sampler)

    assert sorted(order(1, 0)) == list(range(20)) and len(SeededOrder(20, 1)) == 20
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4

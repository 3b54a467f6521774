"""Batches to train on: the right pictures with the right targets, alike whoever asks and in which order."""

import numpy as np
import pytest
import torch

from kernel_src.data.training_photographs import SeededOrder, TrainingPhotographs
from kernel_src.recipes.training_data import Augment
from tests.kernel_src.tiny import fold_data

DATA = fold_data(8, size_px=(16, 32))


def training(preset: str = "moderate", seed: int = 5) -> TrainingPhotographs:
    return TrainingPhotographs(DATA.photographs, DATA.values, np.array([6, 2, 4]), Augment(preset), seed)


def test_training_serves_its_rows_with_their_own_targets() -> None:
    served = training("none")
    assert len(served) == 3
    for place, row in enumerate([6, 2, 4]):
        one = served[place]
        assert one["row"] == row and one["values"].tolist() == pytest.approx(DATA.values[row].tolist())
        assert one["weight"] == 1.0 and one["depth"].shape == (0, 16, 32)
        assert torch.equal(one["picture"], torch.from_numpy(DATA.photographs[row].transpose(2, 0, 1)))


def test_augmentation_depends_on_seed_epoch_and_row_and_on_nothing_else() -> None:
    one, two = training(), training()
    two[0], two[1]  # what was drawn before does not matter
    assert all(torch.equal(one[i]["picture"], two[i]["picture"]) for i in range(3))
    first = [one[i]["picture"].clone() for i in range(3)]
    one.epoch = 1
    other_seed = training(seed=6)
    assert any(not torch.equal(one[i]["picture"], first[i]) for i in range(3))
    assert any(not torch.equal(other_seed[i]["picture"], first[i]) for i in range(3))


@pytest.mark.parametrize("preset", ["moderate", "extreme"])
def test_augmented_pictures_keep_the_shape_of_the_batch(preset: str) -> None:
    served = training(preset)
    for epoch in range(15):
        served.epoch = epoch
        assert {tuple(served[i]["picture"].shape) for i in range(3)} == {(3, 16, 32)}


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


def test_an_order_can_begin_in_the_middle() -> None:
    sampler = SeededOrder(20, 1)
    whole = list(sampler)
    sampler.start = 8
    assert list(sampler) == whole[8:] and len(sampler) == 20


def test_a_row_may_weigh_less_in_the_loss() -> None:
    weights = np.linspace(0, 0.7, 8)
    served = TrainingPhotographs(DATA.photographs, DATA.values, np.array([6, 2]), Augment("none"), 5, weights=weights)
    assert [served[i]["weight"] for i in range(2)] == pytest.approx([0.6, 0.2])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("preset", ["conservative", "moderate", "aggressive", "extreme"])
def test_the_depth_map_takes_every_turn_of_its_picture(preset: str, channels: int) -> None:
    """The map is the picture's own relief, so wherever the picture goes the map must still show it.

    Colours and holes change the picture alone, which the correlation survives.
    """
    ramp = np.linspace(20, 230, 64)[None, :] * np.linspace(0.3, 1, 32)[:, None]
    pictures = np.repeat(ramp[None, :, :, None], 3, 3).round().astype(np.uint8)
    maps = np.repeat((ramp / 255)[None, None], channels, 1).astype(np.float16)
    served = TrainingPhotographs(pictures, np.zeros((1, 5)), np.array([0]), Augment(preset), 3, depth_maps=maps)
    moved = 0
    for epoch in range(25):
        served.epoch = epoch
        one = served[0]
        assert one["depth"].shape == (channels, 32, 64) and one["depth"].dtype == torch.float32
        picture, depth = one["picture"].float().mean(0).flatten(), one["depth"][-1].flatten()
        agreement = np.corrcoef(torch.stack([picture, depth]).numpy())[0, 1]
        assert agreement > (0.98 if preset in ("conservative", "moderate") else 0.6), f"epoch {epoch}"
        moved += not np.allclose(one["depth"][0], maps[0, 0], atol=0.01)
    assert moved > 8, "nothing was turned: the test shows nothing"


def test_depth_does_not_change_what_happens_to_the_picture() -> None:
    maps = np.random.default_rng(0).random((8, 1, 16, 32)).astype(np.float16)
    for preset in ("conservative", "moderate"):
        rows = np.array([6, 2, 4])
        with_depth = TrainingPhotographs(DATA.photographs, DATA.values, rows, Augment(preset), 5, depth_maps=maps)
        assert all(torch.equal(with_depth[i]["picture"], training(preset)[i]["picture"]) for i in range(3))

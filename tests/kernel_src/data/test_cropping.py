"""What remains of a photograph after a crop, and of a picture after padding, is what the label is scaled by."""

import numpy as np
import pytest

from kernel_src.data.augmentation import augmentation, reseed
from kernel_src.data.cropping import LARGEST_STRETCH, CropPart, ShrinkAndPad
from kernel_src.data.training_photographs import TrainingPhotographs
from kernel_src.recipes.training_data import COVERED, VISIBLE, Augment

# Red is the row, green the column, and nothing is black: where a pixel comes from can be read off it.
ROWS, COLUMNS = np.mgrid[0:60, 0:120]
PHOTOGRAPH = np.stack([20 + 2 * ROWS, 5 + 2 * COLUMNS, np.full_like(ROWS, 200)], 2).astype(np.uint8)
GRAMS = np.array([[20.0, 10.0, 5.0, 25.0, 35.0]])


def made(augment: Augment, seed: int) -> tuple[np.ndarray, float, float]:
    steps = augmentation(augment)
    reseed(steps, seed)
    result = steps(image=PHOTOGRAPH.copy(), **{VISIBLE: 1.0, COVERED: 1.0})
    return result["image"], result[VISIBLE], result[COVERED]


def served(augment: Augment, density: bool) -> TrainingPhotographs:
    return TrainingPhotographs(PHOTOGRAPH[None], GRAMS, np.arange(1), augment, 7, density=density)


CROP = Augment("none", crop=(0.3, 0.9), crop_p=1.0)
SHRINK = Augment("none", rescale=(0.5, 0.9), rescale_p=1.0)


def test_a_crop_keeps_the_share_of_the_area_that_it_names_and_its_shape_within_reason() -> None:
    shares, corners = [], set()
    for seed in range(200):
        picture, visible, covered = made(CROP, seed)
        assert picture.shape == PHOTOGRAPH.shape and picture.dtype == np.uint8 and covered == 1.0
        rows, columns = np.ptp(picture[..., 0]) / 2 + 1, np.ptp(picture[..., 1]) / 2 + 1
        assert rows * columns == pytest.approx(visible * 60 * 120, rel=0.1), "what is seen is what is counted"
        assert 1 / LARGEST_STRETCH / 1.1 < columns / rows / 2 < LARGEST_STRETCH * 1.1
        shares.append(visible)
        corners.add((int(picture[..., 0].min()), int(picture[..., 1].min())))
    assert 0.29 < min(shares) < 0.4 and 0.8 < max(shares) < 0.91
    assert len(corners) > 100, "at another place each time"


def test_a_mass_label_scales_with_the_area_of_the_crop_and_a_density_label_does_not() -> None:
    mass, density = served(CROP, density=False), served(CROP, density=True)
    visible = []
    for epoch in range(20):
        mass.epoch = density.epoch = epoch
        scaled, kept = mass[0], density[0]
        assert (scaled["picture"] == kept["picture"]).all(), "the same crop"
        top, left, height, width = mass.augment.transforms[0].params["box"]
        visible.append(height * width / (60 * 120))
        assert scaled["values"].numpy() == pytest.approx(GRAMS[0] * visible[-1], rel=1e-6)
        assert kept["values"].tolist() == GRAMS[0].tolist()
    assert len(set(visible)) > 10


def test_a_density_label_scales_with_the_share_of_the_picture_that_is_not_padding_and_a_mass_label_does_not() -> None:
    mass, density = served(SHRINK, density=False), served(SHRINK, density=True)
    for epoch in range(20):
        mass.epoch = density.epoch = epoch
        picture = density[0]["picture"].numpy()
        covered = float((picture[2] > 0).mean())
        assert covered < 0.85
        assert density[0]["values"].numpy() == pytest.approx(GRAMS[0] * covered, rel=1e-6)
        assert mass[0]["values"].tolist() == GRAMS[0].tolist()


def test_a_crop_that_is_shrunk_afterwards_scales_each_label_by_what_belongs_to_it() -> None:
    both = Augment("none", crop=(0.5, 0.5), crop_p=1.0, rescale=(0.6, 0.6), rescale_p=1.0)
    picture, visible, covered = made(both, 3)
    assert visible == pytest.approx(0.5, abs=0.01) and covered == 0.36
    assert (picture[..., 2] > 0).mean() == covered


def test_a_shrunk_photograph_is_whole_and_stands_at_a_random_place_on_black() -> None:
    corners = set()
    for seed in range(30):
        picture, visible, covered = made(SHRINK, seed)
        rows, columns = np.flatnonzero(picture[..., 2].any(1)), np.flatnonzero(picture[..., 2].any(0))
        inside = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert inside.all() and inside.shape[0] * inside.shape[1] == pytest.approx(covered * 60 * 120)
        assert np.ptp(inside[..., 0]) > 110 and np.ptp(inside[..., 1]) > 230, "no part is missing"
        assert visible == 1.0
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 20


def test_reflected_padding_is_pasture_too() -> None:
    picture, visible, covered = made(Augment("none", rescale=(0.5, 0.5), rescale_p=1.0, pad="reflect"), 1)
    assert (visible, covered) == (1.0, 1.0) and (picture[..., 2] == 200).all()


def test_nothing_is_drawn_for_what_is_switched_off_so_that_a_preset_alone_is_as_it_was() -> None:
    off = Augment("moderate", crop=(0.5, 0.9), crop_p=0.0, rescale=(0.5, 0.9), rescale_p=0.0)
    for seed in range(10):
        assert np.array_equal(made(off, seed)[0], made(Augment("moderate"), seed)[0])


def test_a_crop_of_everything_and_a_factor_of_one_change_nothing() -> None:
    for step in (CropPart(keep=(1.0, 1.0), p=1.0), ShrinkAndPad(factor=(1.0, 1.0), p=1.0)):
        result = step(image=PHOTOGRAPH.copy(), **{VISIBLE: 1.0, COVERED: 1.0})
        assert np.array_equal(result["image"], PHOTOGRAPH) and (result[VISIBLE], result[COVERED]) == (1.0, 1.0)


@pytest.mark.parametrize("size_px", [(1, 1), (2, 3), (16, 32), (33, 7)])
def test_the_smallest_pictures_keep_their_size(size_px: tuple[int, int]) -> None:
    picture = np.full((*size_px, 3), 90, np.uint8)
    everything = Augment(
        "none", crop=(0.01, 0.5), crop_p=1.0, rescale=(0.01, 0.5), rescale_p=1.0, pad="reflect", stamps_p=1.0, spots_p=1
    )
    steps = augmentation(everything)
    for seed in range(10):
        reseed(steps, seed)
        assert steps(image=picture.copy(), **{VISIBLE: 1.0, COVERED: 1.0})["image"].shape == (*size_px, 3)

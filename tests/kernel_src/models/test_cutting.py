"""A photograph is cut into the pictures that an experiment names, in the same way wherever the network is used."""

import pytest
import torch
from torch.nn.functional import interpolate

from kernel_src.models.cutting import PictureCutter, cut_part
from kernel_src.recipes.pictures import HALVES, Mean, Pictures, Sum, tiles

CANVAS = torch.arange(2 * 3 * 8 * 16).reshape(2, 3, 8, 16).float()


def cut(pictures: Pictures, canvas: torch.Tensor = CANVAS) -> list[torch.Tensor]:
    return PictureCutter(pictures, "bicubic")(canvas)


def test_halves_are_the_left_and_the_right_of_the_photograph_pixel_for_pixel() -> None:
    pictures = Pictures(height_px=8, width_px=8, parts=HALVES, join=Sum())
    (both,) = cut(pictures)
    assert pictures.canvas_px == (8, 16) and torch.equal(both, torch.cat([CANVAS[..., :8], CANVAS[..., 8:]]))


def test_a_mirrored_photograph_has_its_mirrored_right_half_where_the_left_one_was() -> None:
    pictures = Pictures(height_px=8, width_px=8, parts=HALVES, join=Sum())
    (upright,), (mirrored,) = cut(pictures), cut(pictures, CANVAS.flip(3))
    left, right = upright.chunk(2)
    assert torch.equal(mirrored, torch.cat([right.flip(3), left.flip(3)]))


def test_tiles_together_are_the_photograph() -> None:
    (parts,) = cut(Pictures(height_px=4, width_px=4, parts=tiles(2, 4), join=Mean()))
    rows = [torch.cat(parts.chunk(8)[4 * row : 4 * row + 4], 3) for row in range(2)]
    assert torch.equal(torch.cat(rows, 2), CANVAS)


def test_the_pixel_on_the_border_of_two_halves_belongs_to_both() -> None:
    odd = CANVAS[..., :15]
    assert torch.equal(cut_part(odd, "left"), odd[..., :8]) and torch.equal(cut_part(odd, "right"), odd[..., 7:])
    assert torch.equal(cut_part(CANVAS[:, :, :7], "bottom"), CANVAS[:, :, 3:7])


def test_the_whole_beside_halves_is_resized_antialiased_and_each_scale_is_a_batch_of_its_own() -> None:
    pictures = Pictures(height_px=8, width_px=8, parts=("whole", *HALVES), scales=(1.0, 0.5), join=Mean())
    large, small = cut(pictures)
    options = {"mode": "bicubic", "antialias": True, "align_corners": False}
    assert torch.equal(large[:2], interpolate(CANVAS, (8, 8), **options))
    assert torch.equal(large[2:4], CANVAS[..., :8]), "a half has its size already, and is not touched"
    assert large.shape == (6, 3, 8, 8) and small.shape == (6, 3, 4, 4)
    assert torch.equal(small[4:], interpolate(CANVAS[..., 8:], (4, 4), **options))


@pytest.mark.parametrize(
    ("pictures", "answer"),
    [
        (Pictures(), True),
        (Pictures(height_px=160, width_px=320), True),
        (Pictures(parts=("left",)), False),
        (Pictures(scales=(0.5,)), False),
        (Pictures(scales=(1.0, 0.5), join=Mean()), False),
    ],
)
def test_only_a_photograph_seen_whole_at_its_size_is_not_cut(pictures: Pictures, answer: bool) -> None:
    assert pictures.is_whole is answer

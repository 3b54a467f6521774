"""Test-time views: all symmetries that make sense for the shape, each once."""

import pytest
import torch

from kernel_src.common.symmetries import apply_view, views

SQUARE = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
OBLONG = torch.arange(2 * 3 * 4 * 8).reshape(2, 3, 4, 8)


@pytest.mark.parametrize(
    ("tta", "size_px", "count"),
    [("all", (4, 4), 8), ("all", (4, 8), 4), ("flips", (4, 4), 4), ("flips", (4, 8), 4), ("none", (4, 4), 1)],
)
def test_as_many_different_views_as_the_shape_allows(tta: str, size_px: tuple[int, int], count: int) -> None:
    pictures = SQUARE if size_px == (4, 4) else OBLONG
    seen = [apply_view(pictures, view) for view in views(tta, size_px)]
    assert len({tuple(picture.flatten().tolist()) for picture in seen}) == len(seen) == count
    assert all(picture.shape == pictures.shape for picture in seen)
    assert torch.equal(seen[0], pictures), "the first view is the picture as it is"


@pytest.mark.parametrize("pictures", [SQUARE, OBLONG])
def test_the_views_are_a_group_so_their_mean_does_not_depend_on_how_the_picture_was_held(
    pictures: torch.Tensor,
) -> None:
    symmetries = views("all", (pictures.shape[2], pictures.shape[3]))

    def mean_score(held: torch.Tensor) -> float:
        random = torch.rand(held.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return float(torch.stack([(apply_view(held, view) * random).sum() for view in symmetries]).mean())

    assert all(mean_score(apply_view(pictures, view)) == pytest.approx(mean_score(pictures)) for view in symmetries)


def test_a_view_turns_height_and_width_not_channels_or_batch() -> None:
    turned = apply_view(SQUARE, (1, False))
    assert torch.equal(turned[1, 2], torch.rot90(SQUARE[1, 2]))
    assert torch.equal(apply_view(SQUARE, (0, True))[0, 0, 0], SQUARE[0, 0, 0].flip(0))

"""Test-time views: the symmetries that training showed and that the shape allows, each once."""

import json

import pytest
import torch

from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.data.symmetries import ALL, FLIPS, UPRIGHT, apply_view, views_from_json
from kernel_src.data.trained_views import TURNINGS, Turning, views
from kernel_src.recipes.changes import changed
from kernel_src.recipes.pictures import Pictures, SideBySide
from kernel_src.recipes.predictor import TTA_SETS
from kernel_src.recipes.training_data import AUGMENTATIONS
from tests.kernel_src.tiny import TINY

SQUARE = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
OBLONG = torch.arange(2 * 3 * 4 * 8).reshape(2, 3, 4, 8)


def asked(tta: str, augmentation: str, size_px: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    height, width = size_px
    return views(
        changed(
            TINY,
            {
                "predict.tta": tta,
                "augment.preset": augmentation,
                "pictures.height_px": height,
                "pictures.width_px": width,
            },
        )
    )


@pytest.mark.parametrize(
    ("tta", "augmentation", "size_px", "count"),
    [
        ("trained", "moderate", (4, 4), 8),
        ("trained", "moderate", (4, 8), 4),
        ("trained", "conservative", (4, 4), 4),  # no quarter turn was ever shown
        ("trained", "none", (4, 4), 1),
        ("flips", "moderate", (4, 4), 4),
        ("flips", "moderate", (4, 8), 4),
        ("flips", "none", (4, 4), 1),
        ("none", "moderate", (4, 4), 1),
    ],
)
def test_the_views_are_those_that_training_showed_and_the_shape_allows_each_once(
    tta: str, augmentation: str, size_px: tuple[int, int], count: int
) -> None:
    pictures = SQUARE if size_px == (4, 4) else OBLONG
    seen = [apply_view(pictures, view) for view in asked(tta, augmentation, size_px)]
    assert len({tuple(picture.flatten().tolist()) for picture in seen}) == len(seen) == count
    assert all(picture.shape == pictures.shape for picture in seen)
    assert torch.equal(seen[0], pictures), "the first view is the picture as it is"


def test_every_preset_says_how_it_turns() -> None:
    assert tuple(TURNINGS) == AUGMENTATIONS


@pytest.mark.parametrize(
    ("turning", "square", "oblong"),
    [
        (Turning(sideways=0.5), 2, 2),
        (Turning(upside_down=0.1), 2, 2),
        (Turning(turned=0.5), 4, 2),
        (Turning(sideways=0.5, turned=0.5), 8, 4),
    ],
)
def test_another_preset_gives_other_views(
    turning: Turning, square: int, oblong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TURNINGS, "moderate", turning)
    assert len(asked("trained", "moderate", (4, 4))) == square and len(asked("trained", "moderate", (4, 8))) == oblong
    assert set(asked("flips", "moderate", (4, 4))) <= set(FLIPS)


def test_v2_to_v4_get_no_quarter_turns_and_an_ensemble_gives_each_member_its_own_views() -> None:
    counts = {name: len(views(experiment)) for name, experiment in EXPERIMENTS.items()}
    assert {name for name, count in counts.items() if count == 4} >= {"demo", "v2", "v3", "v4"}
    assert {name for name, count in counts.items() if count == 8} >= {"v1", "v5", "v7", "v8", "siglip", "eva02"}
    assert counts["frozen_dinov2"] == 1
    assert {name: counts[name] for name in ENSEMBLES["v6"].shares} == {"v4": 4, "v5": 8}


def test_a_regressor_that_was_fitted_on_upright_photographs_sees_no_others() -> None:
    frozen = EXPERIMENTS["frozen_dinov2"]
    assert all(views(changed(frozen, {"predict.tta": tta})) == (UPRIGHT,) for tta in TTA_SETS)


@pytest.mark.parametrize("pictures", [SQUARE, OBLONG])
def test_the_views_are_a_group_so_their_mean_does_not_depend_on_how_the_picture_was_held(
    pictures: torch.Tensor,
) -> None:
    symmetries = asked("trained", "moderate", (pictures.shape[2], pictures.shape[3]))

    def mean_score(held: torch.Tensor) -> float:
        random = torch.rand(held.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return float(torch.stack([(apply_view(held, view) * random).sum() for view in symmetries]).mean())

    assert all(mean_score(apply_view(pictures, view)) == pytest.approx(mean_score(pictures)) for view in symmetries)


def test_a_view_turns_height_and_width_not_channels_or_batch() -> None:
    turned = apply_view(SQUARE, (1, False))
    assert torch.equal(turned[1, 2], torch.rot90(SQUARE[1, 2]))
    assert torch.equal(apply_view(SQUARE, (0, True))[0, 0, 0], SQUARE[0, 0, 0].flip(0))


# What a bundle holds


def test_the_views_of_a_bundle_are_read_as_they_were_written() -> None:
    for symmetries in (ALL, FLIPS, (UPRIGHT,)):
        assert views_from_json(json.loads(json.dumps(symmetries)), (4, 4)) == symmetries
    assert views_from_json([[0, False], [2, True]], (4, 8)) == (UPRIGHT, (2, True))


@pytest.mark.parametrize(
    "values",
    [None, [], {}, "flips", [0, False], [[4, False]], [[2, True]], [[0, False], [-1, True]], [[0, False, 1]]]
    + [[["0", False]], [[0, False], [0, False]], [[0, False], [1, None]], [[0, False], [float("nan"), False]]],
    ids=repr,
)
def test_what_is_not_a_list_of_symmetries_upright_first_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="views="):
        views_from_json(values, (4, 4))


def test_a_quarter_turn_of_an_oblong_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="not a list of symmetries of the picture"):
        views_from_json([[0, False], [1, True]], (4, 8))


def test_two_halves_are_seen_in_the_views_of_the_photograph_that_they_make_up() -> None:
    """Mirrored, the right half stands on the left; 4 x 8 px are not turned on end, though each half is square."""
    halves = Pictures(4, 4, parts=("left", "right"), join=SideBySide())
    assert views(changed(TINY, {"pictures": halves})) == FLIPS

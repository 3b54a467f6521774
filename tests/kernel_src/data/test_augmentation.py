"""Each preset changes a picture reproducibly, and a misspelt argument is an error."""

import albumentations
import numpy as np
import pytest
import torch

from kernel_src.data import augmentation as augmentation_module
from kernel_src.data.augmentation import augmentation, reseed
from kernel_src.data.symmetries import apply_view
from kernel_src.data.trained_views import trained_symmetries
from kernel_src.recipes.training_data import AUGMENTATIONS, Augment

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)
PRESETS = [preset for preset in AUGMENTATIONS if preset != "none"]


def pictures(preset: str, seeds: range) -> list[np.ndarray]:
    augment = augmentation(Augment(preset))
    made = []
    for seed in seeds:
        reseed(augment, seed)
        made.append(augment(image=PICTURE.copy())["image"])
    return made


@pytest.mark.parametrize("preset", AUGMENTATIONS)
def test_pictures_stay_uint8_of_their_shape(preset: str) -> None:
    for made in pictures(preset, range(25)):
        assert made.dtype == np.uint8 and made.shape == (48, 96, 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_seed_draws_the_same_picture_and_other_seeds_draw_others(preset: str) -> None:
    first, again = pictures(preset, range(12)), pictures(preset, range(12))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({made.tobytes() for made in first}) >= 3


def test_none_changes_nothing() -> None:
    assert all(np.array_equal(made, PICTURE) for made in pictures("none", range(3)))


def test_conservative_only_flips() -> None:
    flips = {PICTURE[::y, ::x].tobytes() for y in (1, -1) for x in (1, -1)}
    assert {made.tobytes() for made in pictures("conservative", range(40))} == flips


def test_flips_are_drawn_independently_of_each_other() -> None:
    """With albumentations' own seeding both flips saw the same number: the second never came without the first."""
    made = [m.tobytes() for m in pictures("conservative", range(600))]
    shares = {(y, x): made.count(PICTURE[::y, ::x].tobytes()) / len(made) for y in (1, -1) for x in (1, -1)}
    expected = {(1, 1): 0.35, (1, -1): 0.35, (-1, 1): 0.15, (-1, -1): 0.15}
    assert all(abs(shares[flip] - expected[flip]) < 0.06 for flip in expected), shares


def test_few_pictures_stay_as_they_are_under_moderate_augmentation() -> None:
    untouched = sum(np.array_equal(made, PICTURE) for made in pictures("moderate", range(300)))
    # (0.5 * 0.7 * 0.75 + 0.5 * 0.3 * 0.25) * 0.5 * 0.7 * 0.8: an oblong picture is turned by 180° in a quarter of the
    # samples, which both flips undo.
    assert untouched / 300 < 0.14


GEOMETRY = {"HorizontalFlip", "VerticalFlip", "TurnWithinShape"}


@pytest.mark.parametrize("shape", [(32, 32), (32, 64), (64, 32)], ids=["square", "wide", "tall"])
@pytest.mark.parametrize("preset", AUGMENTATIONS)
def test_flips_and_turns_produce_the_symmetries_that_the_views_take_from_them_and_no_others(
    preset: str, shape: tuple[int, int]
) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    turned = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
    augment = augmentation(Augment(preset))
    augment.transforms = [step for step in augment.transforms if type(step).__name__ in GEOMETRY]
    drawn = set()
    for seed in range(150):
        reseed(augment, seed)
        drawn.add(augment(image=picture)["image"].tobytes())
    views = [apply_view(turned, view)[0].numpy().transpose(1, 2, 0) for view in trained_symmetries(preset, shape)]
    assert drawn == {np.ascontiguousarray(view).tobytes() for view in views}


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset != "conservative"])
def test_an_oblong_picture_is_never_squeezed_so_its_stripes_keep_their_width(preset: str) -> None:
    """Quarter turns of 256x512 used to be resized back: stripes of 16 px came out 8 px wide, in 104 of 400."""
    stripes = np.repeat((np.arange(512) // 16 % 2 * 255).astype(np.uint8)[None], 256, 0)
    picture = np.repeat(stripes[..., None], 3, 2)
    augment = augmentation(Augment(preset), with_depth=True)
    augment.transforms = [step for step in augment.transforms if type(step).__name__ in GEOMETRY]
    allowed = {picture.tobytes(), np.ascontiguousarray(picture[:, ::-1]).tobytes()}
    for seed in range(60):
        reseed(augment, seed)
        made = augment(image=picture, depth=picture[..., :1].astype(np.float32))
        assert made["image"].tobytes() in allowed and np.array_equal(made["image"][..., :1], made["depth"])


def test_the_presets_grow_stronger() -> None:
    def mean_change(preset: str) -> float:
        """Compare sorted values, which flips and turns leave alone."""
        wanted = np.sort(PICTURE.ravel()).astype(float)
        made = pictures(preset, range(60))
        return float(np.mean([np.abs(np.sort(m.ravel()) - wanted).mean() for m in made]))

    changes = [mean_change(preset) for preset in PRESETS]
    assert changes == sorted(changes) and changes[0] == 0.0 < changes[1]


@pytest.mark.parametrize("inner", [False, True], ids=["a step", "a step inside OneOf"])
def test_an_argument_that_albumentations_would_ignore_is_an_error(monkeypatch: pytest.MonkeyPatch, inner: bool) -> None:
    """The seed passed `var_limit` to a version that calls it `std_range`: only a warning, and the default noise."""

    def with_old_argument(preset: str) -> list[albumentations.BasicTransform | albumentations.BaseCompose]:
        step = albumentations.GaussNoise(var_limit=(10, 50), p=0.2)
        return [albumentations.OneOf([step])] if inner else [step]

    monkeypatch.setattr("kernel_src.data.augmentation._steps", with_old_argument)
    with pytest.raises(ValueError, match="preset 'moderate'.*var_limit.*not valid"):
        augmentation(Augment("moderate"))


# Depth


def with_maps(preset: str, seed: int, picture: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    augment = augmentation(Augment(preset), with_depth=True)
    reseed(augment, seed)
    made = augment(image=picture.copy(), depth=depth.copy())
    return made["image"], made["depth"]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("preset", AUGMENTATIONS)
def test_a_depth_map_takes_every_turn_of_its_picture(preset: str, channels: int) -> None:
    """The map is the picture's own column and row numbers: wherever a pixel goes, its depth goes too."""
    rows, columns = np.mgrid[0:64, 0:64].astype(np.float32) / 64
    picture = np.stack([rows * 255, columns * 255, np.zeros_like(rows)], 2).astype(np.uint8)
    depth = np.stack([rows, columns], 2)[..., :channels].copy()
    geometry = {"HorizontalFlip", "VerticalFlip", "TurnWithinShape", "Affine", "Perspective"}
    moved = 0
    for seed in range(25):
        augment = augmentation(Augment(preset), with_depth=True)
        augment.transforms = [step for step in augment.transforms if type(step).__name__ in geometry]
        reseed(augment, seed)
        made = augment(image=picture.copy(), depth=depth.copy())
        assert made["depth"].dtype == np.float32 and made["depth"].shape == (64, 64, channels)
        difference = np.abs(made["image"][..., :channels] / 255 - made["depth"])
        assert difference.max() < 0.03, f"seed {seed}: picture and map went different ways"
        moved += not np.array_equal(made["depth"], depth)
    assert moved >= (0 if preset == "none" else 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_noise_colour_shadow_and_holes_leave_the_depth_alone(preset: str) -> None:
    """Whatever happens to the colours: the values of the map are those of the same map turned without colours."""
    depth = np.full((48, 96, 1), 0.5, np.float32)
    touched = 0
    for seed in range(25):
        picture, made = with_maps(preset, seed, PICTURE, depth)
        inside = made[12:-12, 12:-12]  # a perspective may bring in a black border
        assert np.allclose(inside, 0.5), f"seed {seed}"
        touched += not np.array_equal(np.sort(picture.ravel()), np.sort(PICTURE.ravel()))
    assert touched >= (0 if preset == "conservative" else 10)


def test_depth_is_interpolated_between_its_pixels_and_not_repeated() -> None:
    """Nearest neighbours, albumentations' default for masks, keep the four values of a coarse map."""
    depth = np.repeat(np.repeat(np.array([[0.0, 1.0], [2.0, 4.0]], np.float32), 32, 0), 32, 1)[..., None]
    picture = np.zeros((64, 64, 3), np.uint8)
    most = max(len(np.unique(with_maps("aggressive", seed, picture, depth)[1])) for seed in range(20))
    assert most > 20


def test_a_picture_is_augmented_alike_with_and_without_depth() -> None:
    for preset in PRESETS:
        for seed, made in enumerate(pictures(preset, range(6))):
            assert np.array_equal(made, with_maps(preset, seed, PICTURE, np.zeros((48, 96, 1), np.float32))[0])


# Arguments that are taken and not used


def test_every_step_holds_every_argument_it_was_given_and_one_that_does_not_is_an_error() -> None:
    for preset in AUGMENTATIONS:
        augmentation(Augment(preset))

    class Ignoring(albumentations.GaussNoise):
        """Takes an argument without a warning, and works with another one."""

        def __init__(self, std_range: tuple[float, float] = (0.2, 0.4), p: float = 0.5) -> None:
            super().__init__(std_range=(0.2, 0.4), p=p)

    with pytest.raises(ValueError, match=r"Ignoring: argument std_range=\(0.01, 0.05\) became \(0.2, 0.4\)"):
        augmentation_module._step(Ignoring, std_range=(0.01, 0.05))

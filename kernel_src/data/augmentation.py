"""## Augmentation

Four strengths, mildest first, and what a recipe adds to them. The photographs are taken straight from above, so flips
and quarter turns are free (an oblong picture keeps its shape: it is turned by 180° only); light and camera differ
between visits, so colour is what must not be trusted.
"""

import warnings
from random import Random
from typing import Any

import albumentations
import cv2
import numpy as np

import kernel_src.data.camera_marks  # noqa: F401  # part: camera_marks
import kernel_src.data.cropping  # noqa: F401  # part: cropping
from kernel_src.data.trained_views import TURNINGS
from kernel_src.recipes.training_data import Augment
from kernel_src.runtime.parts import optional_part

DEPTH_KEY = "depth"
MIDDLE = cv2.INTER_LINEAR  # how a depth map is read between its pixels; albumentations' default is the nearest one


class TurnWithinShape(albumentations.RandomRotate90):  # type: ignore[misc]  # it has no types
    """Turn a square by 0, 90, 180 or 270°, another picture by 0 or 180°: the others would change its shape."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Return the number of quarter turns, drawn before, made even where the picture is not square."""
        height, width = params["shape"][:2]
        return params if height == width else params | {"factor": params["factor"] & 2}


def augmentation(augment: Augment, with_depth: bool = False) -> albumentations.Compose:
    """Build what changes photographs; input and output are (height, width, 3) uint8 of one shape.

    Marks and crops come first, as if the camera had made them; then turns and colours, of the marks and the padding
    too. Numbers under the keys `VISIBLE` and `COVERED` are multiplied by what remains of the photograph.

    With depth, `augment(image=…, depth=…)` takes a float32 map (height, width, channels) too: it is flipped, turned,
    shifted and warped exactly as the picture, and left alone by noise, colour, shadow and holes.

    Raises:
        ValueError: albumentations does not know one of the arguments (it only warns, and then silently does without:
            that is how the seed trained with other noise than it believed).
    """
    targets = {DEPTH_KEY: "mask"} if with_depth else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            steps = [*_camera_steps(augment), *_steps(augment.preset)]
            return albumentations.Compose(steps, additional_targets=targets)
        except UserWarning as warning:
            raise ValueError(f"augmentation preset {augment.preset!r}: {warning}") from None


def _camera_steps(augment: Augment) -> list[albumentations.BasicTransform]:
    """Return what a recipe adds to its preset; what has no probability draws no random number either."""
    steps: list[albumentations.BasicTransform] = []
    if augment.stamps_p:
        steps.append(_step(optional_part("camera_marks").DateStamp, p=augment.stamps_p))
    if augment.spots_p:
        steps.append(_step(optional_part("camera_marks").LightSpots, p=augment.spots_p))
    if augment.crop:
        steps.append(_step(optional_part("cropping").CropPart, keep=augment.crop, p=augment.crop_p))
    if augment.rescale:
        shrink = optional_part("cropping").ShrinkAndPad
        steps.append(_step(shrink, factor=augment.rescale, pad=augment.pad, p=augment.rescale_p))
    return steps


def _step(transform: type[albumentations.BasicTransform], **arguments: Any) -> albumentations.BasicTransform:
    """Build one step, and make sure that it holds what it was given: a name that is taken may still be ignored.

    Raises:
        ValueError: an argument is not what the step works with.
    """
    step = transform(**arguments)
    held = step.get_transform_init_args() | {"p": step.p}
    for name, given in arguments.items():
        if name not in held or not _same(held[name], given):
            kept = f"became {held[name]!r}" if name in held else "is not valid"
            raise ValueError(f"{transform.__name__}: argument {name}={given!r} {kept}")
    return step


def _same(held: Any, given: Any) -> bool:
    """Say whether a step holds what it was given; ranges along both axes are held twice."""
    if isinstance(held, dict):
        return all(_same(value, given) for value in held.values())
    return bool(np.array_equal(held, given))


def reseed(augment: albumentations.Compose, seed: int) -> None:
    """Let all steps draw from one stream of random numbers that begins at `seed`.

    Albumentations' own `set_random_seed` gives every step a stream of its own with the *same* numbers: then nothing is
    flipped upright that is not flipped sideways too, and half of the pictures get no augmentation at all.
    """
    augment.set_random_state(np.random.default_rng(seed), Random(seed))


# %%
def _steps(preset: str) -> list[albumentations.BasicTransform | albumentations.BaseCompose]:
    a = albumentations
    turning = TURNINGS[preset]
    turns = [
        _step(transform, p=probability)
        for transform, probability in (
            (a.HorizontalFlip, turning.sideways),
            (a.VerticalFlip, turning.upside_down),
            (TurnWithinShape, turning.turned),
        )
        if probability
    ]
    if preset == "moderate":
        return [
            *turns,
            _step(
                a.ColorJitter,
                brightness=(0.8, 1.2),
                contrast=(0.8, 1.2),
                saturation=(0.8, 1.2),
                hue=(-0.05, 0.05),
                p=0.5,
            ),
            _step(a.RandomBrightnessContrast, p=0.3),
            _step(a.GaussNoise, std_range=(0.01, 0.05), p=0.2),
        ]
    if preset == "aggressive":
        return [
            *turns,
            _step(
                a.Affine,
                translate_percent=(-0.1, 0.1),
                scale=(0.85, 1.15),
                rotate=(-15, 15),
                border_mode=cv2.BORDER_REFLECT_101,
                mask_interpolation=MIDDLE,
                p=0.5,
            ),
            _step(
                a.ColorJitter,
                brightness=(0.7, 1.3),
                contrast=(0.7, 1.3),
                saturation=(0.7, 1.3),
                hue=(-0.08, 0.08),
                p=0.6,
            ),
            a.OneOf([_step(a.GaussNoise, std_range=(0.02, 0.1)), _step(a.GaussianBlur, blur_limit=(3, 5))], p=0.3),
            _step(a.RandomBrightnessContrast, p=0.5),
            _step(a.HueSaturationValue, p=0.3),
            _step(
                a.CoarseDropout,
                num_holes_range=(1, 8),
                hole_height_range=(0.02, 0.08),
                hole_width_range=(0.02, 0.08),
                p=0.2,
            ),
        ]
    if preset == "extreme":
        return [
            *_steps("aggressive"),
            _step(a.Perspective, scale=(0.02, 0.08), mask_interpolation=MIDDLE, p=0.3),
            _step(a.RandomShadow, num_shadows_limit=(1, 2), p=0.3),
            _step(a.RandomGamma, gamma_limit=(70, 140), p=0.3),
            _step(
                a.CoarseDropout,
                num_holes_range=(4, 12),
                hole_height_range=(0.05, 0.12),
                hole_width_range=(0.05, 0.12),
                p=0.3,
            ),
        ]
    return turns

"""## Augmentation

Four strengths, mildest first. The photographs are taken straight from above, so flips and quarter turns are free; light
and camera differ between visits, so colour is what must not be trusted.
"""

import warnings
from random import Random

import albumentations
import cv2
import numpy as np


def augmentation(preset: str) -> albumentations.Compose:
    """Build one of `experiment.AUGMENTATIONS`; input and output are (height, width, 3) uint8.

    Raises:
        ValueError: the preset is unknown, or albumentations does not know one of the arguments (it only warns, and then
            silently does without: that is how the seed trained with other noise than it believed).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return albumentations.Compose(_steps(preset))
        except UserWarning as warning:
            raise ValueError(f"augmentation preset {preset!r}: {warning}") from None


def reseed(augment: albumentations.Compose, seed: int) -> None:
    """Let all steps draw from one stream of random numbers that begins at `seed`.

    Albumentations' own `set_random_seed` gives every step a stream of its own with the *same* numbers: then nothing is
    flipped upright that is not flipped sideways too, and half of the pictures get no augmentation at all.
    """
    augment.set_random_state(np.random.default_rng(seed), Random(seed))


def _steps(preset: str) -> list[albumentations.BasicTransform | albumentations.BaseCompose]:
    a = albumentations
    if preset == "none":
        return []
    if preset == "conservative":
        return [a.HorizontalFlip(p=0.5), a.VerticalFlip(p=0.3)]
    if preset == "moderate":
        return [
            a.HorizontalFlip(p=0.5),
            a.VerticalFlip(p=0.3),
            a.RandomRotate90(p=0.5),
            a.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.05, 0.05), p=0.5),
            a.RandomBrightnessContrast(p=0.3),
            a.GaussNoise(std_range=(0.01, 0.05), p=0.2),
        ]
    if preset == "aggressive":
        return [
            a.HorizontalFlip(p=0.5),
            a.VerticalFlip(p=0.5),
            a.RandomRotate90(p=0.5),
            a.Affine(
                translate_percent=(-0.1, 0.1),
                scale=(0.85, 1.15),
                rotate=(-15, 15),
                border_mode=cv2.BORDER_REFLECT_101,
                p=0.5,
            ),
            a.ColorJitter(brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.08, 0.08), p=0.6),
            a.OneOf([a.GaussNoise(std_range=(0.02, 0.1)), a.GaussianBlur(blur_limit=(3, 5))], p=0.3),
            a.RandomBrightnessContrast(p=0.5),
            a.HueSaturationValue(p=0.3),
            a.CoarseDropout(
                num_holes_range=(1, 8), hole_height_range=(0.02, 0.08), hole_width_range=(0.02, 0.08), p=0.2
            ),
        ]
    if preset == "extreme":
        return [
            *_steps("aggressive"),
            a.Perspective(scale=(0.02, 0.08), p=0.3),
            a.RandomShadow(num_shadows_limit=(1, 2), p=0.3),
            a.RandomGamma(gamma_limit=(70, 140), p=0.3),
            a.CoarseDropout(
                num_holes_range=(4, 12), hole_height_range=(0.05, 0.12), hole_width_range=(0.05, 0.12), p=0.3
            ),
        ]
    raise ValueError(f"unknown augmentation preset {preset!r}")

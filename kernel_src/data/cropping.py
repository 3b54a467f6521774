"""## What remains of a photograph

Two changes after which a label is not the photograph's any more: a crop shows less of the subject, and a photograph
that is shrunk and padded covers less of the picture. Both count what remains, so that the label can follow.
"""

import math
from collections.abc import Callable
from typing import Any

import albumentations
import cv2
import numpy as np

from kernel_src.recipes.training_data import COVERED, VISIBLE
from kernel_src.runtime.parts import OptionalPart

LARGEST_STRETCH = 1.25  # a crop is at most so much wider, or higher, than the photograph in proportion


class CropPart(albumentations.ImageOnlyTransform):  # type: ignore[misc]  # it has no types
    """Enlarge a random rectangle to the size of the picture, keeping a drawn share of the area.

    Whatever is given under the key `VISIBLE` is multiplied by the share of the pixels that are kept.
    """

    def __init__(self, keep: tuple[float, float], p: float = 0.5) -> None:
        """Keep a share of the area between the two numbers, with probability `p`."""
        super().__init__(p=p)
        self.keep = keep

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        """Return what is called for which key."""
        return super().targets | {VISIBLE: self.apply_to_visible}

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the rectangle: `box` is its first row and column, height and width, in pixels."""
        height, width = params["shape"][:2]
        share = self.py_random.uniform(*self.keep)
        widest = math.log(min(LARGEST_STRETCH, 1 / share))  # beyond 1 / share it would be wider than the photograph
        stretch = math.exp(self.py_random.uniform(-widest, widest))
        kept_height = min(height, max(1, round(height * math.sqrt(share / stretch))))
        kept_width = min(width, max(1, round(width * math.sqrt(share * stretch))))
        top, left = self.py_random.randint(0, height - kept_height), self.py_random.randint(0, width - kept_width)
        return params | {"box": (top, left, kept_height, kept_width)}

    def apply(self, img: np.ndarray, box: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """Crop and enlarge (height, width, 3)."""
        top, left, height, width = box
        return resized(img[top : top + height, left : left + width], (img.shape[0], img.shape[1]))

    def apply_to_visible(self, visible: float, box: tuple[int, int, int, int], **params: Any) -> float:
        """Return what is visible after the crop."""
        height, width = params["shape"][:2]
        return visible * box[2] * box[3] / (height * width)


class ShrinkAndPad(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    """Shrink the photograph by a drawn factor, put it at a random place, and fill the rest: 1st place's recipe.

    Whatever is given under the key `COVERED` is multiplied by the share of the pixels that show the subject: those that
    the photograph covers, or all of them where it is continued by its own reflection.
    """

    def __init__(self, factor: tuple[float, float], pad: str = "black", p: float = 0.2) -> None:
        """Shrink both sides by one factor between the two numbers, with probability `p`; `pad` is black or reflect."""
        super().__init__(p=p)
        self.factor, self.pad = factor, pad

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        """Return what is called for which key."""
        return super().targets | {COVERED: self.apply_to_covered}

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw size and place: `box` is first row and column, height and width of the photograph, in pixels."""
        height, width = params["shape"][:2]
        factor = self.py_random.uniform(*self.factor)
        small_height, small_width = max(1, round(height * factor)), max(1, round(width * factor))
        top, left = self.py_random.randint(0, height - small_height), self.py_random.randint(0, width - small_width)
        return params | {"box": (top, left, small_height, small_width)}

    def apply(self, img: np.ndarray, box: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """Shrink and pad (height, width, 3)."""
        top, left, height, width = box
        below, beside = img.shape[0] - top - height, img.shape[1] - left - width
        border = cv2.BORDER_CONSTANT if self.pad == "black" else cv2.BORDER_REFLECT_101
        return cv2.copyMakeBorder(resized(img, (height, width)), top, below, left, beside, border, value=(0, 0, 0))

    def apply_to_covered(self, covered: float, box: tuple[int, int, int, int], **params: Any) -> float:
        """Return what is covered after the padding."""
        height, width = params["shape"][:2]
        return covered * box[2] * box[3] / (height * width) if self.pad == "black" else covered


def resized(image: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Resize (height, width, 3) to (height, width): by area where it shrinks, by cubic curves where it grows."""
    shrinks = size_px[0] <= image.shape[0] and size_px[1] <= image.shape[1]
    return cv2.resize(image, size_px[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


class CroppingParts(OptionalPart):
    """What augmentation asks for where photographs are cropped or shrunk."""

    part = "cropping"
    CropPart, ShrinkAndPad = CropPart, ShrinkAndPad

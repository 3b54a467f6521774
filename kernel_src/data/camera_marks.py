"""## Marks of the camera

About 27 % of the competition's photographs carry an orange date, others the reflection of a flash; which do depends on
the camera, and so on the state. Painted at random in training, they stop meaning anything.
"""

from typing import Any

import albumentations
import cv2
import numpy as np

from kernel_src.runtime.parts import OptionalPart

PHOTOGRAPH_ASPECT = 2.0  # width over height of the competition's photographs: a squeezed picture gets squeezed marks
STAMP_YEARS = (2010, 2025)
STAMP_HEIGHT = (0.035, 0.07)  # of a digit, share of the photograph's height
STAMP_MARGIN = (0.03, 0.09)  # from the lower edge and the side, share of the photograph's height
SPOT_RADIUS = (0.02, 0.1)  # standard deviation of the light, share of the photograph's height
SPOT_STRENGTH = (0.4, 0.9)  # how much of the distance to white is left out at its middle

# A digit as displays have it: seven bars, each (first row, first column, end row, end column) of a cell.
DIGIT_PX, DIGIT_GAP_PX = (21, 12), 5
_BARS = {
    "a": (0, 1, 3, 11),
    "b": (1, 9, 11, 12),
    "c": (10, 9, 20, 12),
    "d": (18, 1, 21, 11),
    "e": (10, 0, 20, 3),
    "f": (1, 0, 11, 3),
    "g": (9, 1, 12, 11),
    "'": (0, 5, 6, 8),
}
_BARS_OF = dict(zip("0123456789", "abcdef bc abdeg abcdg bcfg acdfg acdefg abc abcdefg abcdfg".split(), strict=True))
_BARS_OF |= {"'": "'", " ": "", "/": ""}


def stamp_mask(text: str) -> np.ndarray:
    """Draw digits, apostrophes, blanks and slashes: (height, width) float32, 1 where there is ink."""
    height, width = DIGIT_PX
    mask = np.zeros((height, len(text) * (width + DIGIT_GAP_PX) - DIGIT_GAP_PX), np.float32)
    for number, letter in enumerate(text):
        cell = mask[:, number * (width + DIGIT_GAP_PX) :][:, :width]
        for bar in _BARS_OF[letter]:
            top, left, bottom, right = _BARS[bar]
            cell[top:bottom, left:right] = 1
        if letter == "/":
            for row in range(height):
                left = round((width - 3) * (1 - row / (height - 1)))
                cell[row, left : left + 3] = 1
    return mask


def _blend(image: np.ndarray, top: int, left: int, alpha: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Move pixels of (H, W, 3) towards a colour, by alpha (height, width); what lies outside is left out."""
    bottom, right = min(image.shape[0], top + alpha.shape[0]), min(image.shape[1], left + alpha.shape[1])
    first_row, first_column = max(0, top), max(0, left)
    seen = alpha[first_row - top : bottom - top, first_column - left : right - left, None]
    region = image[first_row:bottom, first_column:right].astype(np.float32)
    region += seen * (np.array(colour, np.float32) - region)
    image[first_row:bottom, first_column:right] = region.round().astype(np.uint8)


# %%
class DateStamp(albumentations.ImageOnlyTransform):  # type: ignore[misc]  # it has no types
    """Print a date in orange into a lower corner, as the cameras do; with probability `p`."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the date and how it is written, its colour, size and place."""
        random = self.py_random
        year, month, day = random.randint(*STAMP_YEARS), random.randint(1, 12), random.randint(1, 28)
        styles = (f"{year}/{month:02}/{day:02}", f"{day:02}/{month:02}/{year}", f"'{year % 100:02} {month:>2} {day:>2}")
        return params | {
            "text": random.choice(styles),
            "colour": (random.randint(230, 255), random.randint(110, 170), random.randint(15, 70)),
            "digit": random.uniform(*STAMP_HEIGHT),
            "margins": (random.uniform(*STAMP_MARGIN), random.uniform(*STAMP_MARGIN)),
            "right": random.random() < 0.8,
            "ink": random.uniform(0.8, 1.0),
        }

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Print it into (height, width, 3) uint8."""
        height, width = img.shape[:2]
        per_height, per_width = height, width / PHOTOGRAPH_ASPECT  # pixels in a photograph's height, along each side
        mask = stamp_mask(params["text"])
        high = max(1, round(params["digit"] * per_height))
        wide = max(1, round(params["digit"] * per_width * mask.shape[1] / mask.shape[0]))
        shrinks = high <= mask.shape[0]
        alpha = cv2.resize(mask, (wide, high), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        below, beside = round(params["margins"][0] * per_height), round(params["margins"][1] * per_width)
        made = img.copy()
        left = width - wide - beside if params["right"] else beside
        _blend(made, height - high - below, left, alpha * params["ink"], params["colour"])
        return made


class LightSpots(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    """Brighten one to three round spots softly, as a flash or a gap in the shade does; with probability `p`."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw for each its place and radius, shares of the height and the width, its strength and its colour."""
        random = self.py_random
        return params | {
            "spots": [
                (
                    (random.random(), random.random()),
                    random.uniform(*SPOT_RADIUS),
                    random.uniform(*SPOT_STRENGTH),
                    (255, random.randint(235, 255), random.randint(200, 255)),
                )
                for _ in range(random.randint(1, 3))
            ]
        }

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Light (height, width, 3) uint8."""
        height, width = img.shape[:2]
        made = img.copy()
        for (row, column), radius, strength, colour in params["spots"]:
            down, across = _bell(radius * height), _bell(radius * width / PHOTOGRAPH_ASPECT)
            top, left = round(row * height) - len(down) // 2, round(column * width) - len(across) // 2
            _blend(made, top, left, strength * down[:, None] * across, colour)
        return made


def _bell(deviation_px: float) -> np.ndarray:
    """Return a Gaussian curve with 1 in the middle, three deviations to each side."""
    reach = max(1, round(3 * deviation_px))
    return np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(deviation_px, 0.5)) ** 2).astype(np.float32)


class CameraMarkParts(OptionalPart):
    """What augmentation asks for where marks are painted."""

    part = "camera_marks"
    DateStamp, LightSpots = DateStamp, LightSpots

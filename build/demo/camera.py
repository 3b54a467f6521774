"""Camera: exposure, white balance, tone curve, softness, noise, and the marks that end up in real field photographs."""

import numpy as np
from numpy.typing import NDArray

from build.demo.conditions import Conditions
from build.demo.shapes import Floats, noise


def expose(light: Floats, conditions: Conditions, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn light (H, W, 3) into levels (H, W, 3): metered exposure, contrast, colour, lens, sensor."""
    import cv2

    rows, columns = light.shape[:2]
    gains = np.array((1 + conditions.warmth, 1 + conditions.tint, 1 - 1.3 * conditions.warmth), np.float32)
    if conditions.soft_camera:
        mix = np.array(((0.90, 0.07, 0.03), (0.05, 0.90, 0.05), (0.03, 0.10, 0.87)), np.float32)
    else:
        mix = np.array(((1.12, -0.10, -0.02), (-0.03, 1.10, -0.07), (0.00, -0.08, 1.08)), np.float32)
    image = np.asarray(cv2.transform(light, mix * gains[:, None]), np.float32)
    if conditions.vignette > 0.02:
        y, x = np.mgrid[-1:1:16j, -1:1:32j].astype(np.float32)
        fall = 1 - np.float32(conditions.vignette) * (x**2 + y**2) / 2
        image *= cv2.resize(fall, (columns, rows), interpolation=cv2.INTER_LINEAR)[..., None]
    reach, softness = (5, 1.1) if conditions.soft_camera else (3, 0.7)
    image = np.asarray(cv2.GaussianBlur(image, (reach, reach), softness), np.float32)
    if not conditions.soft_camera:
        blurred = cv2.GaussianBlur(image, (7, 7), 1.8)
        image = np.asarray(cv2.addWeighted(image, 2.1, blurred, -1.1, 0), np.float32)
    grain = np.empty((rows, columns), np.float32)
    cv2.randn(grain, np.zeros(1), np.full(1, 0.016 if conditions.soft_camera else 0.007))
    image += grain[..., None]
    image = _meter(image, conditions)
    return np.clip(image * 255, 0, 255).astype(np.uint8)


def _meter(image: Floats, conditions: Conditions) -> Floats:
    """Scale and shift the light to the mean and spread of levels that the camera aims at.

    Lightness is stretched, colour is not; and colour is made to follow lightness little: real photographs are as
    green in the shade as in the light (the channels' deviations are nearly equal: std_G / std_R = 1.00 ± .05 in the
    competition), because lenses flare, skies fill shadows and glossy leaves reflect white.
    """
    import cv2

    grey_of = np.full((3, 3), 1 / 3)
    probe = image[::7, ::7].reshape(-1, 3).astype(np.float64)
    grey = probe.mean(axis=1)
    chroma = probe - grey[:, None]
    slope = (chroma * (grey - grey.mean())[:, None]).mean(axis=0) / max(float(grey.var()), 1e-6)
    wanted = 0.55 * slope + np.array(conditions.bleach)
    # x → grey + saturation · (chroma − (slope − wanted) · (grey − mean grey)), a 3 x 4 transform.
    matrix = np.zeros((3, 4))
    fall = (slope - wanted)[:, None] * np.full((1, 3), 1 / 3)
    matrix[:, :3] = grey_of + conditions.saturation * (np.eye(3) - grey_of - fall)
    matrix[:, 3] = conditions.saturation * (slope - wanted) * grey.mean()
    for _ in range(3):  # clipping moves mean and spread, so aim again, on the sample only
        now = np.clip(probe @ matrix[:, :3].T + matrix[:, 3], 0, 1)
        spread = float(np.clip(conditions.contrast / max(float(now[:, 1].std()), 0.02), 0.6, 2.0))
        stretch = np.eye(3) + (spread - 1) * grey_of
        matrix = stretch @ matrix
        now = np.clip(probe @ matrix[:, :3].T + matrix[:, 3], 0, 1)
        matrix[:, 3] += conditions.exposure - now.mean()
    matrix[:, 3] += conditions.haze
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.float32)


def add_marks(levels: NDArray[np.uint8], date: str, conditions: Conditions, rng: np.random.Generator) -> None:
    """Burn in, in place, what has no meaning: frame, cardboard, red flash dots, the orange date stamp."""
    import cv2

    rows, columns = levels.shape[:2]
    if conditions.frame:
        for side in rng.permutation(3)[: 1 + int(rng.random() < 0.4)]:
            thick = int(rng.uniform(6, 26))
            corner = ((0, 0, columns, thick), (0, 0, thick, rows), (columns - thick, 0, columns, rows))[side]
            x0, y0, x1, y1 = corner
            tone = rng.uniform(35, 150)
            strip = levels[y0:y1, x0:x1]
            grain = rng.normal(0, 6, strip.shape[:2])[..., None]
            strip[:] = np.clip(tone * np.array((1.0, 0.95, 0.88)) + grain, 0, 255)
    if conditions.cardboard:
        _cardboard(levels, rng)
    if conditions.flash:
        for row in (rng.uniform(0.08, 0.3), rng.uniform(0.4, 0.65)):
            for i in range(8):
                x = int((0.12 + 0.1 * i + rng.normal(0, 0.008)) * columns)
                y = int((row + rng.normal(0, 0.012)) * rows)
                _glow(levels, x, y, rng.uniform(20, 32))
    if conditions.stamp:
        year, month, day = date.split("/")
        long, short = f"{int(day):02d}/{int(month):02d}/{year}", f"{day} {month} '{year[2:]}"
        text = long if rng.random() < 0.7 else short
        place = (int(columns * rng.uniform(0.70, 0.76)), int(rows * rng.uniform(0.90, 0.96)))
        size = rng.uniform(1.5, 2.1)
        cv2.putText(levels, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (120, 40, 0), 9, cv2.LINE_AA)
        cv2.putText(levels, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 150, 30), 4, cv2.LINE_AA)


def _cardboard(levels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Lay a strip or a corner of cardboard along the bottom."""
    import cv2

    rows, columns = levels.shape[:2]
    left = 0.0 if rng.random() < 0.6 else rng.uniform(0.3, 0.7)
    right = 1.0 if rng.random() < 0.4 else min(1.0, left + rng.uniform(0.2, 0.5))
    top = rows * rng.uniform(0.91, 0.965)
    x0, x1 = left * columns, right * columns
    corners = np.array(((x0, top), (x1, top + rng.normal(0, 12)), (x1, rows), (x0, rows)))
    mask = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
    tone = np.array((196, 170, 132)) * rng.uniform(0.75, 1.1)
    grain = 1 + 0.03 * noise(rng, (rows, columns), 60, 2)
    inside = mask > 0
    levels[inside] = np.clip(grain[inside][:, None] * tone, 0, 255)


def _glow(levels: NDArray[np.uint8], x: int, y: int, radius: float) -> None:
    """Add one round red reflection."""
    reach = int(radius * 2)
    y0, x0 = max(y - reach, 0), max(x - reach, 0)
    window = levels[y0 : y + reach, x0 : x + reach]
    if not window.size:
        return
    v, u = np.mgrid[: window.shape[0], : window.shape[1]]
    strength = np.exp(-(((u + x0 - x) ** 2 + (v + y0 - y) ** 2) / (radius * radius)))[..., None]
    window[:] = np.clip(window + strength * np.array((290, 60, 75)), 0, 255)

"""Light: shadows, darkness between the plants and the colour of sun and sky, all from the height channel."""

import numpy as np
from numpy.typing import NDArray

from build.demo.conditions import Conditions
from build.demo.shapes import PX_PER_CM, Floats, noise

# Distances, in pixels of the half-size height map, at which something may stand between a point and the sun.
SHADOW_STEPS = (1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 36)


def light_up(canvas: NDArray[np.uint8], height_cm: float, conditions: Conditions, rng: np.random.Generator) -> Floats:
    """Turn painted surfaces (H, W, 4) into light that reaches the camera (H, W, 3), 1 being white.

    Colours carry a display gamma near 2, so a factor on the light is its square root on the colour.
    """
    import cv2

    rows, columns = canvas.shape[:2]
    small = (columns // 2, rows // 2)
    z = cv2.resize(canvas[..., 3], small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    # Pixels of the half-size map per unit of z: a canopy is mostly air, so its shading height is less than its length.
    tall_px = float(np.clip(0.5 * height_cm**0.7 * PX_PER_CM / 2 * 2.0, 12, 110))
    lit = _sun_reaches(z, tall_px, conditions)
    if conditions.shade:
        lit = lit * _large_shadow(rng, z.shape)
    depth = cv2.GaussianBlur(z, (0, 0), 4) * 0.5 + cv2.GaussianBlur(z, (0, 0), 14) * 0.5 - z
    open_sky = np.clip(1.0 - 1.9 * np.maximum(depth, 0), 0.10, 1.0) * (0.55 + 0.45 * np.minimum(z * 2.2 + 0.35, 1))
    sun_rgb, sky_rgb = np.array((1.08, 1.0, 0.86), np.float32), np.array((0.86, 0.98, 1.16), np.float32)
    sunny = np.float32(conditions.sunlight)
    sky = (1.0 - 0.80 * sunny) * open_sky
    light = sky[..., None] * sky_rgb + (sunny * lit * (0.35 + 0.65 * open_sky))[..., None] * sun_rgb * np.float32(1.15)
    light *= (1 + 0.05 * noise(rng, (rows // 2, columns // 2), 3))[..., None]
    factor = cv2.resize(np.sqrt(np.maximum(light, 0)), (columns, rows), interpolation=cv2.INTER_LINEAR)
    surface = cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.multiply(surface, factor, scale=1 / 255, dtype=cv2.CV_32F))


def _sun_reaches(z: Floats, tall_px: float, conditions: Conditions) -> Floats:
    """Say for each point of the height map how much of the sun it sees, 0…1."""
    import cv2

    rows, columns = z.shape
    horizon = np.full_like(z, -9.0)
    toward = np.array((np.cos(conditions.sun_angle), np.sin(conditions.sun_angle)))
    for step in SHADOW_STEPS:
        shift = np.array(((1, 0, -toward[0] * step), (0, 1, -toward[1] * step)), np.float32)
        moved = cv2.warpAffine(z, shift, (columns, rows), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        np.maximum(horizon, moved - np.float32(step * conditions.sun_slope / tall_px), out=horizon)
    lit = np.clip(1.0 - (horizon - z - 0.03) / 0.10, 0.0, 1.0)
    return np.asarray(cv2.GaussianBlur(lit, (0, 0), 0.8), np.float32)


def _large_shadow(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Let the shadow of a person, or of the frame's two bars, fall across the picture."""
    import cv2

    rows, columns = shape
    mask = np.ones(shape, np.float32)
    if rng.random() < 0.5:
        side = rng.uniform(0.0, 0.35)
        corners = np.array(((0, 0), (side, 0), (side * rng.uniform(0.3, 1.4), 1), (0, 1))) * (columns, rows)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 0.12)
    else:
        for y in (rng.uniform(0.05, 0.4), rng.uniform(0.6, 0.95)):
            tilt = rng.normal(0, 0.04)
            ends = np.array(((-5, (y - tilt) * rows), (columns + 5, (y + tilt) * rows))).astype(int)
            cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 0.1, int(rows * rng.uniform(0.02, 0.05)))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 3), np.float32)

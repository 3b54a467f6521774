"""Shapes: the flat convex pieces that every plant is cut into, with a height each, and their painter's-order drawing.

Lengths are pixels of the 2000 x 1000 picture (2.86 px per mm of the 70 cm x 30 cm quadrat). Heights `z` run from 0
(ground) to 1 (top of the canopy); they are drawn into the fourth channel, from which `light` takes the shadows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WIDTH_PX, HEIGHT_PX = 2000, 1000
PX_PER_CM = 28.6
SUBPIXEL_BITS = 3


@dataclass(frozen=True)
class Shapes:
    """Convex polygons (n, corners, 2), their colours (n, 3) in 0…255 and heights (n,) in 0…1."""

    corners: Floats
    rgb: Floats
    z: Floats


def draw_shapes(canvas: NDArray[np.uint8], pieces: list[Shapes]) -> None:
    """Paint all pieces onto `canvas` (H, W, 4: R, G, B, height), the lowest first."""
    import cv2

    rows, columns = canvas.shape[:2]
    polygons: list[NDArray[np.int32]] = []
    colours: list[list[float]] = []
    heights = []
    for shapes in pieces:
        first = shapes.corners[:, 0]  # pieces are small: one corner tells whether they can be seen
        seen = ((first > -60) & (first < (columns + 60, rows + 60))).all(axis=1)
        polygons += list(np.rint(shapes.corners[seen] * (1 << SUBPIXEL_BITS)).astype(np.int32))
        levels = np.concatenate([shapes.rgb[seen], shapes.z[seen, None] * 255], axis=1)
        colours += np.clip(levels, 0, 255).astype(np.uint8).tolist()
        heights.append(shapes.z[seen])
    order = np.argsort(np.concatenate(heights), kind="stable").tolist()
    fill = cv2.fillConvexPoly
    for i in order:
        fill(canvas, polygons[i], colours[i], cv2.LINE_8, SUBPIXEL_BITS)


def rotate(points: Floats, angle: Floats) -> Floats:
    """Rotate points (n, corners, 2) by one angle in radians each (n,)."""
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)


def scatter(rng: np.random.Generator, n: int, patches: Floats | None = None) -> Floats:
    """Draw n points (n, 2) over the picture and a margin; `patches` (h, w) ≥ 0 makes some places likelier."""
    if patches is None or n == 0:
        return (rng.random((n, 2)) * (WIDTH_PX + 160, HEIGHT_PX + 160) - 80).astype(np.float32)
    h, w = patches.shape
    flat = np.cumsum(patches, dtype=np.float64)
    cell = np.searchsorted(flat, rng.random(n) * flat[-1])
    inside = np.stack([cell % w, cell // w], axis=1) + rng.random((n, 2))
    return (inside / (w, h) * (WIDTH_PX + 160, HEIGHT_PX + 160) - 80).astype(np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int = 1) -> Floats:
    """Smooth noise (H, W) of about unit variance with `cells` bumps across the width, halved octave by octave."""
    import cv2

    height, width = shape
    total = np.zeros(shape, np.float32)
    gain = 1.0
    for octave in range(octaves):
        across = cells << octave
        grid = rng.standard_normal((max(2, across * height // width), across)).astype(np.float32)
        total += gain * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        gain *= 0.6
    return total / max(float(total.std()), 1e-6)

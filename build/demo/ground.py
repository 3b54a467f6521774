"""Ground: bare soil with clods, pebbles and crumbs of litter, the lowest layer of every picture."""

import numpy as np
from numpy.typing import NDArray

from build.demo.shapes import HEIGHT_PX, WIDTH_PX, Floats, Shapes, noise, rotate, scatter


def paint_ground(rng: np.random.Generator, soil_rgb: tuple[float, float, float], sun: Floats) -> NDArray[np.uint8]:
    """Paint bare soil, lit by relief: (H, W, 4) with the fourth channel its low heights."""
    import cv2

    half = (HEIGHT_PX // 2, WIDTH_PX // 2)
    relief = noise(rng, half, 16, 6)
    across, down = (cv2.Sobel(relief, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (1, 0))
    slope = sun[0] * across + sun[1] * down
    tone = 1 + 0.07 * relief - 0.08 * slope + 0.13 * rng.standard_normal(half, np.float32)
    hue = noise(rng, half, 5)[..., None] * np.array((5, 0, -5), np.float32)
    colour = (np.array(soil_rgb, np.float32) + hue) * tone[..., None]
    low = np.clip(6 + 4 * relief, 0, 20)[..., None]
    canvas = np.clip(np.concatenate([colour, low], axis=2), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.resize(canvas, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR))


def stones(rng: np.random.Generator, n: int, soil_rgb: tuple[float, float, float]) -> list[Shapes]:
    """Scatter n clods and pebbles: a dark body and a smaller light cap each."""
    centre = scatter(rng, n)
    size = rng.lognormal(1.7, 0.55, n).astype(np.float32)
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)[None] * rng.uniform(0.75, 1.2, (n, 8, 1))
    ring = ring * (1.0, 0.75) * size[:, None, None]
    ring = rotate(ring.astype(np.float32), rng.uniform(0, 6.3, n).astype(np.float32))
    rgb = (np.array(soil_rgb) * rng.uniform(0.75, 1.35, (n, 1))).astype(np.float32)
    z = rng.uniform(0.06, 0.09, n).astype(np.float32)
    body = Shapes((ring + centre[:, None]).astype(np.float32), rgb * 0.85, z)
    cap = Shapes((ring * 0.65 + centre[:, None] - 1).astype(np.float32), rgb * 1.1, z + np.float32(0.001))
    return [body, cap]


def crumbs(rng: np.random.Generator, n: int, top: float, patches: Floats | None) -> Shapes:
    """Scatter n short broken bits of straw and leaf, flat on the ground."""
    length, width = rng.lognormal(2.6, 0.5, n), rng.uniform(1.5, 4.5, n)
    box = np.array(((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)))
    box = (box * np.stack([length, width], axis=1)[:, None]).astype(np.float32)
    corners = rotate(box, rng.uniform(0, 6.3, n).astype(np.float32)) + scatter(rng, n, patches)[:, None]
    palette = np.array(((186, 164, 126), (142, 116, 84), (98, 76, 56), (170, 160, 148), (70, 56, 44)))
    rgb = palette[rng.integers(0, len(palette), n)] * rng.uniform(0.7, 1.2, (n, 1))
    return Shapes(corners.astype(np.float32), rgb.astype(np.float32), (0.05 + top * rng.random(n)).astype(np.float32))

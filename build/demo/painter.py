"""The painter: one quadrat's labels in, one photograph out.

Leaf area follows weight (about 200 cm² per gram of dry matter, as for temperate pastures) until leaves hide leaves;
tall and heavy swards have long, wide blades. Colour follows NDVI and the conditions. So a network finds the weights in
size, density and shape, while a colour histogram sees mostly the weather.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from build.demo.camera import add_marks, expose
from build.demo.conditions import Conditions, draw_conditions
from build.demo.ground import crumbs, paint_ground, stones
from build.demo.labels import Quadrat
from build.demo.light import light_up
from build.demo.plants import blades, clover, flower_heads, lucerne
from build.demo.shapes import HEIGHT_PX, WIDTH_PX, Floats, Shapes, draw_shapes, noise, scatter

# Leaf layers over the whole quadrat per gram, and the number of layers beyond which nothing more can be seen.
GREEN_LAYERS_PER_G, DEAD_LAYERS_PER_G, CLOVER_LAYERS_PER_G = 0.085, 0.06, 0.085
MOST_LAYERS = 3.2
STRAW_RGB = np.array(((206, 184, 138), (180, 152, 106), (146, 116, 78), (196, 184, 160), (112, 86, 60)))


def paint(quadrat: Quadrat, seed: int) -> NDArray[np.uint8]:
    """Paint one photograph: (1000, 2000, 3) RGB. The same quadrat and seed give the same pixels."""
    group, own = _generators(quadrat, seed)
    conditions = draw_conditions(quadrat, group, own)
    sun = np.array((np.cos(conditions.sun_angle), np.sin(conditions.sun_angle)), np.float32)
    canvas = paint_ground(own, conditions.soil_rgb, sun)
    sward_cm = _sward_height(quadrat)
    patches = _patches(own, quadrat)
    leaf_rgb = _leaf_colour(quadrat, conditions)
    pieces = stones(own, 260, conditions.soil_rgb)
    pieces += _dead(own, quadrat, sward_cm, patches, sun)
    if quadrat.species == "Lucerne":
        pieces += _lucerne(own, quadrat, sward_cm, patches, leaf_rgb, sun)
    else:
        pieces += _green(own, quadrat, sward_cm, patches, leaf_rgb, sun)
    pieces += _clover(own, quadrat, sward_cm, leaf_rgb, sun)
    draw_shapes(canvas, [shapes for shapes in pieces if len(shapes.z)])
    light = light_up(canvas, sward_cm, conditions, own)
    import cv2

    cv2.setRNGSeed(int(own.integers(2**31)))
    levels = expose(light, conditions, own)
    add_marks(levels, quadrat.date, conditions, own)
    return levels


def _generators(quadrat: Quadrat, seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Return the generator common to the state and date, and the photograph's own: independent of order and workers."""
    group = np.random.default_rng([seed, 1, zlib.crc32(quadrat.group.encode())])
    return group, np.random.default_rng([seed, 2, zlib.crc32(quadrat.image_id.encode())])


def _sward_height(quadrat: Quadrat) -> float:
    """Return the height in cm that plants are drawn with: between what the stick read and what the weight asks for."""
    expected = 1.0 + 0.16 * quadrat.green_g + 0.06 * quadrat.dead_g
    return float(np.clip(quadrat.height_cm, 1, 45) ** 0.3 * np.clip(expected, 1, 30) ** 0.7)


def _patches(rng: np.random.Generator, quadrat: Quadrat) -> Floats:
    """Draw where plants stand closer: sparse swards are patchy, dense ones even."""
    living = quadrat.green_g + quadrat.clover_g
    uneven = 1.3 * np.exp(-living / 18) + 0.25
    return np.exp(np.clip(uneven * noise(rng, (40, 80), int(rng.integers(4, 9)), 2), -3, 2.5)).astype(np.float32)


def _leaf_colour(quadrat: Quadrat, conditions: Conditions) -> Floats:
    """Return the mean leaf colour: yellow-brown at low NDVI, deep green at high, shifted by the day."""
    vigour = 0.5 + 0.6 * (np.clip((quadrat.ndvi - 0.35) / 0.5, 0, 1) - 0.5)
    rgb = (1 - vigour) * np.array((142, 148, 84)) + vigour * np.array((98, 146, 58))
    return (rgb + conditions.hue * np.array((-17, 0, 13))).astype(np.float32)


def _layers(grams: float, per_gram: float) -> float:
    """Return how many leaf layers to paint: proportional at first, then hidden by themselves."""
    return MOST_LAYERS * (1 - float(np.exp(-grams * per_gram / MOST_LAYERS)))


def _count(layers: float, piece_px: float) -> int:
    """Return how many pieces of `piece_px` square pixels make that many layers (the margin around the picture too)."""
    return int(round(layers * (WIDTH_PX + 160) * (HEIGHT_PX + 160) / piece_px))


def _green(
    rng: np.random.Generator, quadrat: Quadrat, sward_cm: float, patches: Floats, leaf_rgb: Floats, sun: Floats
) -> list[Shapes]:
    """Grow grass in tufts: blades of one tuft share a root, a lean and a shade."""
    coarse = any(name in quadrat.species for name in ("Phalaris", "Fescue"))
    length = 42.0 * sward_cm**0.77
    width = (3.5 if not coarse else 4.1) * sward_cm**0.44
    n = _count(_layers(quadrat.green_g, GREEN_LAYERS_PER_G), length * width * 0.72)
    if n == 0:
        return []
    per_tuft = 26 if coarse else 9
    tufts = max(1, n // per_tuft)
    tuft = rng.integers(0, tufts, n)
    spread = 0.22 * length if coarse else 0.35 * length
    base = scatter(rng, tufts, patches)[tuft] + rng.normal(0, spread, (n, 2))
    field = rng.uniform(0, 2 * np.pi)
    lean = np.where(rng.random(tufts) < 0.45, field + rng.normal(0, 0.7, tufts), rng.uniform(0, 2 * np.pi, tufts))
    angle = lean[tuft] + rng.normal(0, 1.15, n)
    own_length = length * rng.lognormal(-0.05, 0.32, n)
    high = np.clip(rng.beta(3.0, 2.0, n) * (0.55 + 0.45 * own_length / (1.6 * length)) + 0.1, 0.12, 0.92)
    rgb = leaf_rgb * (rng.normal(1, 0.10, tufts)[tuft] * rng.normal(1, 0.15, n))[:, None]
    rgb = rgb + rng.normal(0, 9, (n, 1)) * np.array((1.0, 0.35, -0.4)) + rng.normal(0, 3, (n, 3))
    # Old leaves die from the tip: the more dead matter, the more yellow tips.
    yellow = STRAW_RGB[1] * rng.uniform(0.8, 1.15, (n, 1))
    dying = (rng.random(n) < 0.08 + 0.5 * quadrat.dead_g / (quadrat.dead_g + quadrat.green_g + 4))[:, None]
    return [
        blades(
            rng,
            base=base.astype(np.float32),
            angle=angle.astype(np.float32),
            length_px=own_length.astype(np.float32),
            width_px=(width * rng.lognormal(0, 0.22, n)).astype(np.float32),
            bend=rng.normal(0, 0.7, n).astype(np.float32),
            low=(0.06 + 0.1 * rng.random(n)).astype(np.float32),
            high=high.astype(np.float32),
            rgb=rgb.astype(np.float32),
            sun=sun,
            tip_rgb=np.where(dying, yellow, rgb * 1.05).astype(np.float32),
            segments=3 if sward_cm < 4 else 4 if sward_cm < 7 else 6,
        )
    ]


def _lucerne(
    rng: np.random.Generator, quadrat: Quadrat, sward_cm: float, patches: Floats, leaf_rgb: Floats, sun: Floats
) -> list[Shapes]:
    """Grow lucerne shoots, sometimes in purple flower; its weight counts as Green."""
    size = 18.0 + 8.0 * sward_cm**0.6
    n = _count(_layers(quadrat.green_g, GREEN_LAYERS_PER_G), 12 * 0.30 * size * size * 0.75)
    centre = scatter(rng, n, patches)
    rgb = (leaf_rgb * (0.95, 1.0, 1.35)) * rng.normal(1, 0.08, (n, 1))
    z = (0.25 + 0.65 * rng.random(n)).astype(np.float32)
    grown = (size * rng.uniform(0.7, 1.25, n)).astype(np.float32)
    pieces = lucerne(rng, centre=centre, size_px=grown, z=z, rgb=rgb.astype(np.float32), sun=sun)
    if rng.random() < 0.3:
        pieces.append(flower_heads(rng, scatter(rng, int(rng.integers(4, 16))), 34, (150, 110, 205), sun))
    return pieces


def _clover(rng: np.random.Generator, quadrat: Quadrat, sward_cm: float, leaf_rgb: Floats, sun: Floats) -> list[Shapes]:
    """Grow clover in its own patches: few small leaves at first, then a closed roof of large ones."""
    if quadrat.clover_g <= 0:
        return []
    size = 12.0 + 5.4 * np.sqrt(quadrat.clover_g) + 1.0 * sward_cm**0.5
    n = max(2, _count(_layers(quadrat.clover_g, CLOVER_LAYERS_PER_G), 3 * 0.62 * size * size * 0.8))
    uneven = 1.2 * np.exp(-quadrat.clover_g / 15) + 0.2
    own_patches = np.exp(np.clip(uneven * noise(rng, (40, 80), 6, 2), -3, 2.5)).astype(np.float32)
    tone = rng.normal(1, 0.09, (n, 1))
    rgb = (leaf_rgb * (0.86, 1.02, 0.95) + (0, 2, 6)) * tone
    among_grass = 0.75 if quadrat.green_g < 15 else 0.62
    pieces = clover(
        rng,
        centre=scatter(rng, n, own_patches),
        size_px=(size * rng.uniform(0.6, 1.3, n)).astype(np.float32),
        z=(0.15 + among_grass * rng.beta(1.6, 1.3, n)).astype(np.float32),
        rgb=rgb.astype(np.float32),
        sun=sun,
        chevron=float(rng.uniform(0.3, 1.0)),
    )
    if quadrat.date.split("/")[1] in ("9", "10", "11") and rng.random() < 0.3:
        heads = scatter(rng, int(rng.integers(2, 4 + int(quadrat.clover_g / 5))))
        pieces.append(flower_heads(rng, heads, 44, (236, 230, 214), sun))
    return pieces


def _dead(rng: np.random.Generator, quadrat: Quadrat, sward_cm: float, patches: Floats, sun: Floats) -> list[Shapes]:
    """Lay dead matter: crumbs on the ground, a mat of straw above, a few standing stems through the canopy."""
    bare = [crumbs(rng, 1100, 0.03, None)]
    if quadrat.dead_g <= 0:
        return bare
    layers = _layers(quadrat.dead_g, DEAD_LAYERS_PER_G)
    length = 58.0 * sward_cm**0.5
    width = 3.3 * sward_cm**0.25
    n = _count(layers * 0.85, length * width * 0.8)
    base = scatter(rng, n, np.sqrt(patches))
    weathered = rng.random() * 0.7
    rgb = STRAW_RGB[rng.integers(0, len(STRAW_RGB), n)] * rng.normal(1, 0.13, (n, 1))
    rgb = rgb * (1 - 0.35 * weathered) + 0.35 * weathered * np.array((128, 118, 108))
    # Most lies matted at the bottom; the heavier it is, the further it reaches up between the green.
    high = np.where(rng.random(n) < 0.72, 0.1 + 0.35 * rng.random(n), 0.4 + 0.5 * rng.random(n))
    straw = blades(
        rng,
        base=base,
        angle=rng.uniform(0, 2 * np.pi, n).astype(np.float32),
        length_px=(length * rng.lognormal(0, 0.4, n)).astype(np.float32),
        width_px=(width * rng.lognormal(0, 0.3, n)).astype(np.float32),
        bend=rng.normal(0, 0.5, n).astype(np.float32),
        low=(0.05 + 0.6 * (high - 0.05) * rng.random(n)).astype(np.float32),
        high=high.astype(np.float32),
        rgb=rgb.astype(np.float32),
        sun=sun,
        gloss=0.12,
        segments=3,
        folded=False,
    )
    return [*bare, crumbs(rng, _count(layers * 0.15, 45), 0.12, patches), straw]

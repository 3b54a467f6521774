"""Plants seen from above: grass blades and straw, clover and lucerne leaves, their flowers, as `Shapes`.

Each leaf is folded along its mid-rib: the half that faces the sun is lighter. That, more than colour, is what makes a
picture read as grass.
"""

import numpy as np

from build.demo.shapes import Floats, Shapes, rotate

# Width of a blade at some places along its length, as a share of the widest; the last is the tip.
WIDTH_AT = (0.0, 0.28, 0.58, 0.84, 1.0)
WIDTH_SHARE = (0.6, 1.0, 0.92, 0.6, 0.06)
# Half a leaflet, from its base along the mid-rib (unit length); mirrored for the other half.
CLOVER_HALF = np.array(
    ((0, 0), (0.2, 0.15), (0.42, 0.33), (0.62, 0.43), (0.80, 0.43), (0.95, 0.34), (1.02, 0.17), (0.96, 0)), np.float32
)
LUCERNE_HALF = np.array(
    ((0, 0), (0.15, 0.11), (0.35, 0.2), (0.58, 0.24), (0.8, 0.21), (0.95, 0.11), (1.02, 0)), np.float32
)
CHEVRON_HALF = np.array(((0.34, 0), (0.48, 0), (0.70, 0.33), (0.74, 0.40), (0.64, 0.40), (0.56, 0.33)), np.float32)


def blades(
    rng: np.random.Generator,
    *,
    base: Floats,
    angle: Floats,
    length_px: Floats,
    width_px: Floats,
    bend: Floats,
    low: Floats,
    high: Floats,
    rgb: Floats,
    sun: Floats,
    gloss: float = 0.14,
    tip_rgb: Floats | None = None,
    segments: int = 4,
    folded: bool = True,
) -> Shapes:
    """Cut n blades into `segments` pieces, each in two halves along the mid-rib if they are wide enough to be `folded`.

    `base` (n, 2), the rest (n,): heading and total bend in radians, `low` and `high` the heights of base and arch;
    `sun` (2,) points towards the sun; `tip_rgb` (n, 3) is what the colour turns to at the tip.
    """
    n = len(base)
    t = np.linspace(0, 1, segments + 1, dtype=np.float32) ** np.float32(0.9)
    heading = angle[:, None] + bend[:, None] * t**1.5  # (n, segments + 1)
    step = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    # Seen from above the upright base is short and the arching middle long.
    run = np.diff(t) * np.minimum(0.7 + 1.2 * t[1:], 1.08)
    path = np.cumsum(step[:, :-1] * (run * length_px[:, None])[..., None], axis=1)
    spine = np.concatenate([np.zeros((n, 1, 2)), path], axis=1) + base[:, None]
    normal = np.stack([-step[..., 1], step[..., 0]], axis=-1)
    half_width = (np.interp(t, WIDTH_AT, WIDTH_SHARE).astype(np.float32) * width_px[:, None] / 2)[..., None]
    left, right = spine + normal * half_width, spine - normal * half_width
    middle_t = (t[1:] + t[:-1]) / 2
    z = low[:, None] + (high - low)[:, None] * np.sin(middle_t * 2.3)
    facing = normal[:, :-1] @ sun  # (n, segments): how far the left half faces the sun
    along = step[:, :-1] @ sun * np.cos(middle_t * 2.6)  # rising towards the sun, then drooping away from it
    # One glint per blade where its arch mirrors the sky.
    where = np.exp(-(((middle_t - rng.uniform(0.35, 0.8, (n, 1))) / 0.26) ** 2))
    shine = gloss * np.minimum(np.maximum(rng.standard_normal((n, 1)), 0) ** 2, 2.5) * where
    tone = (0.58 + 0.46 * middle_t**0.6) + 0.12 * along + shine
    colour = np.repeat(rgb[:, None], segments, axis=1)
    if tip_rgb is not None:
        mix = np.clip((middle_t - 0.5) * 2.4, 0, 1)[:, None]
        colour = colour * (1 - mix) + tip_rgb[:, None] * mix
    pale = shine[..., None] * np.array((85, 80, 100), np.float32)
    edges = ((spine, left, 1.0), (spine, right, -1.0)) if folded else ((right, left, 0.0),)
    halves = []
    for inner, outer, side in edges:
        quad = np.stack([inner[:, :-1], outer[:, :-1], outer[:, 1:], inner[:, 1:]], axis=2)  # (n, segments, 4, 2)
        halves.append((quad, colour * (tone + 0.15 * side * facing)[..., None] + pale))
    corners = np.concatenate([quad.reshape(-1, 4, 2) for quad, _ in halves]).astype(np.float32)
    colours = np.concatenate([c.reshape(-1, 3) for _, c in halves]).astype(np.float32)
    return Shapes(corners, colours, np.tile(z.reshape(-1), len(edges)).astype(np.float32))


def _half_leaves(half: Floats, side: float, size: Floats, squash: Floats, angle: Floats, centre: Floats) -> Floats:
    """Place one half-leaf outline n times: scaled, narrowed, turned and moved."""
    outline = half * np.array((1.0, side), np.float32)
    points = outline[None] * size[:, None, None] * np.stack([np.ones_like(squash), squash], axis=1)[:, None]
    return (rotate(points, angle) + centre[:, None]).astype(np.float32)


def leaflets(
    rng: np.random.Generator,
    *,
    half: Floats,
    centre: Floats,
    angle: Floats,
    size_px: Floats,
    z: Floats,
    rgb: Floats,
    sun: Floats,
    chevron: float = 0.0,
) -> list[Shapes]:
    """Cut n folded leaflets into two halves each, with a pale chevron where `chevron` > 0."""
    n = len(centre)
    squash = rng.uniform(0.72, 1.05, n).astype(np.float32)
    facing = np.cos(angle + np.pi / 2) * sun[0] + np.sin(angle + np.pi / 2) * sun[1]
    tilt = rng.normal(0, 0.11, n)
    pieces = []
    for side in (1.0, -1.0):
        tone = 1.0 + tilt + 0.10 * side * facing
        colour = rgb * tone[:, None] + np.maximum(tilt, 0)[:, None] * 120
        pieces.append(Shapes(_half_leaves(half, side, size_px, squash, angle, centre), colour.astype(np.float32), z))
        if chevron > 0:
            mark = _half_leaves(CHEVRON_HALF, side, size_px, squash, angle, centre)
            strength = chevron * rng.uniform(0.3, 1.0, n)[:, None]
            pale = colour + strength * np.array((48, 44, 40))
            pieces.append(Shapes(mark, pale.astype(np.float32), z + np.float32(2e-4)))
    return pieces


def clover(
    rng: np.random.Generator, *, centre: Floats, size_px: Floats, z: Floats, rgb: Floats, sun: Floats, chevron: float
) -> list[Shapes]:
    """Grow n trifoliate leaves, each on a petiole that reaches it from lower down."""
    n = len(centre)
    turn = rng.uniform(0, 2 * np.pi, n)
    pieces = []
    for third in range(3):
        angle = (turn + third * 2.094 + rng.normal(0, 0.16, n)).astype(np.float32)
        size = (size_px * rng.uniform(0.85, 1.1, n)).astype(np.float32)
        own_z = (z + third * 0.0005).astype(np.float32)
        shade = (rgb * rng.normal(1, 0.05, (n, 1))).astype(np.float32)
        pieces += leaflets(
            rng,
            half=CLOVER_HALF,
            centre=centre,
            angle=angle,
            size_px=size,
            z=own_z,
            rgb=shade,
            sun=sun,
            chevron=chevron,
        )
    lean = rng.uniform(0, 2 * np.pi, n).astype(np.float32)
    reach = (size_px * rng.uniform(0.8, 2.6, n)).astype(np.float32)
    foot = centre - np.stack([np.cos(lean), np.sin(lean)], axis=1) * reach[:, None]
    stalk_rgb = (rgb * 1.05 + np.array((22, 14, 8))).astype(np.float32)
    pieces.append(
        blades(
            rng,
            base=foot.astype(np.float32),
            angle=lean,
            length_px=reach,
            width_px=np.maximum(2.5, size_px * 0.13),
            bend=rng.normal(0, 0.3, n).astype(np.float32),
            low=(z * 0.3).astype(np.float32),
            high=(z * 0.8).astype(np.float32),
            rgb=stalk_rgb,
            sun=sun,
            gloss=0.1,
            segments=2,
            folded=False,
        )
    )
    return pieces


def lucerne(
    rng: np.random.Generator, *, centre: Floats, size_px: Floats, z: Floats, rgb: Floats, sun: Floats
) -> list[Shapes]:
    """Grow n shoots: whorls of oval leaflets, larger and lower away from the tip of the shoot."""
    pieces = []
    for leaf in range(12):
        n = len(centre)
        out = (leaf + rng.random(n)) / 12
        angle = (leaf * 2.4 + centre[:, 0] + rng.normal(0, 0.35, n)).astype(np.float32)
        push = (size_px * 1.25 * out)[:, None]
        foot = centre + np.stack([np.cos(angle), np.sin(angle)], axis=1) * push
        own_z = (z * (1.0 - 0.45 * out)).astype(np.float32)
        size = (size_px * (0.55 + 0.6 * out) * rng.uniform(0.8, 1.15, n)).astype(np.float32)
        shade = (rgb * (1.12 - 0.25 * out)[:, None] * rng.normal(1, 0.05, (n, 1))).astype(np.float32)
        pieces += leaflets(
            rng,
            half=LUCERNE_HALF,
            centre=foot.astype(np.float32),
            angle=angle,
            size_px=size,
            z=own_z,
            rgb=shade,
            sun=sun,
        )
    return pieces


def flower_heads(
    rng: np.random.Generator, centre: Floats, size_px: float, rgb: tuple[int, int, int], sun: Floats
) -> Shapes:
    """Grow n round heads of sixty little petals each, standing above everything."""
    n = len(centre) * 60
    middle = np.repeat(centre, 60, axis=0)
    angle = rng.uniform(0, 2 * np.pi, n).astype(np.float32)
    out = np.sqrt(rng.random(n)).astype(np.float32) * size_px * 0.4
    tone = rng.normal(1.0, 0.12, (n, 1)) * (0.95 - 0.35 * (out / size_px)[:, None])
    return blades(
        rng,
        base=(middle + np.stack([np.cos(angle), np.sin(angle)], axis=1) * out[:, None]).astype(np.float32),
        angle=angle,
        length_px=np.full(n, size_px * 0.24, np.float32),
        width_px=np.full(n, size_px * 0.13, np.float32),
        bend=rng.normal(0, 0.4, n).astype(np.float32),
        low=np.full(n, 0.93, np.float32),
        high=(0.99 - 0.05 * out / (0.4 * size_px)).astype(np.float32),
        rgb=(np.array(rgb) * tone).astype(np.float32),
        sun=sun,
        gloss=0.05,
        segments=2,
        folded=False,
    )

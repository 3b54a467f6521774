"""## Symmetries

What is seen from above has no up and no left: a square picture has eight symmetries, a 2:1 picture four. Predictions
are averaged over those that a bundle names.
"""

from typing import Any

import torch

from kernel_src.runtime.untrusted import quoted

# (number of quarter turns, mirrored): the dihedral group of the square.
UPRIGHT = (0, False)
SIDEWAYS, UPSIDE_DOWN, QUARTER_TURN, HALF_TURN = (0, True), (2, True), (1, False), (2, False)
FLIPS = (UPRIGHT, SIDEWAYS, HALF_TURN, UPSIDE_DOWN)
ALL = (*FLIPS, QUARTER_TURN, (1, True), (3, False), (3, True))


def views_from_json(values: Any, size_px: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    """Read the symmetries that a bundle names, upright first, for pictures of (height, width).

    Raises:
        ValueError: they are not symmetries of such a picture, or one stands there twice.
    """
    possible = [list(view) for view in (ALL if size_px[0] == size_px[1] else FLIPS)]
    if not isinstance(values, list) or values[:1] != possible[:1] or not all(view in possible for view in values):
        raise ValueError(
            f"views={quoted(values)} is not a list of symmetries of the picture, upright first: [0, false]"
        )
    views = tuple((int(turns), bool(mirrored)) for turns, mirrored in values)
    if len(set(views)) != len(views):
        raise ValueError(f"views={quoted(values)} names a symmetry twice")
    return views


def apply_view(pictures: torch.Tensor, view: tuple[int, bool]) -> torch.Tensor:
    """Turn and mirror pictures (B, C, H, W)."""
    turns, mirrored = view
    turned = torch.rot90(pictures, turns, (2, 3)) if turns else pictures
    return turned.flip(3) if mirrored else turned

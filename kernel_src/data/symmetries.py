"""## Symmetries

A quadrat seen from above has no up and no left: a square picture has eight symmetries, a 2:1 picture four. Predictions
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


def views_from_json(values: Any) -> tuple[tuple[int, bool], ...]:
    """Read the symmetries that a bundle names, upright first.

    Raises:
        ValueError: they are not symmetries of a picture, or the same twice.
    """
    views = tuple(tuple(one) if isinstance(one, list) else one for one in values) if isinstance(values, list) else ()
    if not views or views[0] != UPRIGHT or len(set(map(repr, views))) != len(views):
        raise ValueError(f"views={quoted(values)} is not a list of symmetries that begins upright, [0, false]")
    for view in views:
        if [type(part) for part in view] != [int, bool] or view not in ALL:
            raise ValueError(f"views: {quoted(view)} is not a number of quarter turns and whether it is mirrored")
    return views


def apply_view(pictures: torch.Tensor, view: tuple[int, bool]) -> torch.Tensor:
    """Turn and mirror pictures (B, C, H, W)."""
    turns, mirrored = view
    turned = torch.rot90(pictures, turns, (2, 3)) if turns else pictures
    return turned.flip(3) if mirrored else turned

"""## Test-time augmentation

A quadrat seen from above has no up and no left: a square picture has eight symmetries, a 2:1 picture four. Predictions
are averaged over them.
"""

import torch

# (number of quarter turns, mirrored): the dihedral group of the square.
UPRIGHT = (0, False)
FLIPS = (UPRIGHT, (0, True), (2, False), (2, True))
ALL = (*FLIPS, (1, False), (1, True), (3, False), (3, True))


def views(tta: str, size_px: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    """Return the symmetries that `experiment.TTA_SETS` asks for and the shape (height, width) allows."""
    if tta == "none":
        return FLIPS[:1]
    # A quarter turn of an oblong picture would have to be squeezed back: the network has never seen grass so thin.
    return ALL if tta == "all" and size_px[0] == size_px[1] else FLIPS


def apply_view(pictures: torch.Tensor, view: tuple[int, bool]) -> torch.Tensor:
    """Turn and mirror pictures (B, C, H, W)."""
    turns, mirrored = view
    turned = torch.rot90(pictures, turns, (2, 3)) if turns else pictures
    return turned.flip(3) if mirrored else turned

"""## Symmetries

A quadrat seen from above has no up and no left: a square picture has eight symmetries, a 2:1 picture four. Training
shows the network some of them, as its augmentation says; test-time augmentation averages over those and no others. A
turn that training never showed makes another picture, not another look at the same one.
"""

import json
from dataclasses import dataclass

import torch

from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.untrusted import quoted

# (number of quarter turns, mirrored): the dihedral group of the square.
UPRIGHT = (0, False)
SIDEWAYS, UPSIDE_DOWN, QUARTER_TURN, HALF_TURN = (0, True), (2, True), (1, False), (2, False)
FLIPS = (UPRIGHT, SIDEWAYS, HALF_TURN, UPSIDE_DOWN)
ALL = (*FLIPS, QUARTER_TURN, (1, True), (3, False), (3, True))


@dataclass(frozen=True, kw_only=True)
class Turning:
    """How often an augmentation mirrors and turns, as probabilities."""

    sideways: float = 0.0  # left becomes right
    upside_down: float = 0.0  # top becomes bottom
    turned: float = 0.0  # by 0, 90, 180 or 270°; a picture that is not square by 0 or 180° only


# What `augmentation` draws from, and what the views follow from: one table for both.
TURNINGS = {
    "none": Turning(),
    "conservative": Turning(sideways=0.5, upside_down=0.3),
    "moderate": Turning(sideways=0.5, upside_down=0.3, turned=0.5),
    "aggressive": Turning(sideways=0.5, upside_down=0.5, turned=0.5),
    "extreme": Turning(sideways=0.5, upside_down=0.5, turned=0.5),
}


# %%
def trained_symmetries(augmentation: str, size_px: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    """Return every symmetry that an augmentation preset can produce of pictures of (height, width), upright first."""
    turning = TURNINGS[augmentation]
    # A quarter turn of an oblong picture would have to be squeezed back: grass half as wide is other grass.
    turn = QUARTER_TURN if size_px[0] == size_px[1] else HALF_TURN
    drawn = {SIDEWAYS: turning.sideways, UPSIDE_DOWN: turning.upside_down, turn: turning.turned}
    steps = [step for step, probability in drawn.items() if probability > 0]
    found = {UPRIGHT}
    while more := {_one_after_other(first, then) for first in found for then in steps} - found:
        found |= more
    return tuple(symmetry for symmetry in ALL if symmetry in found)


def _one_after_other(first: tuple[int, bool], then: tuple[int, bool]) -> tuple[int, bool]:
    """Compose two symmetries: a turn after a mirror is the opposite turn before it."""
    turns = first[0] - then[0] if first[1] else first[0] + then[0]
    return turns % 4, first[1] != then[1]


def views(experiment: Experiment) -> tuple[tuple[int, bool], ...]:
    """Return the symmetries that predictions are averaged over, upright first.

    All that were `trained`, by the augmentation; the `flips` among them; or `none` beside the upright one. A regressor
    on frozen features was fitted on upright photographs, so that it has no others.
    """
    if experiment.predict.tta == "none" or experiment.is_frozen:
        return (UPRIGHT,)
    trained = trained_symmetries(experiment.augment.preset, experiment.pictures.canvas_px)
    return trained if experiment.predict.tta == "trained" else tuple(view for view in trained if view in FLIPS)


def views_from_json(values: object, size_px: tuple[int, int]) -> tuple[tuple[int, bool], ...]:
    """Read the views of a bundle, whose pictures are (height, width): `[[quarter turns, mirrored], …]`.

    Raises:
        ValueError: something else is there, none, one twice, or a quarter turn of pictures that are not square.
    """
    if not isinstance(values, list) or not values:
        raise ValueError(f"views={quoted(values)} is not a list of [quarter turns, mirrored]: make the bundle again")
    found: list[tuple[int, bool]] = []
    for value in values:
        view = _SYMMETRY_OF.get(json.dumps(value))
        if view is None or view in found:
            raise ValueError(f"views: {quoted(value)} is not a symmetry, or is there twice: make the bundle again")
        if view not in FLIPS and size_px[0] != size_px[1]:
            raise ValueError(f"views: {value} would turn {size_px[0]} x {size_px[1]} px on end: make the bundle again")
        found.append(view)
    return tuple(found)


_SYMMETRY_OF = {json.dumps(view): view for view in ALL}  # in JSON 1 is not true, in Python it equals it


def apply_view(pictures: torch.Tensor, view: tuple[int, bool]) -> torch.Tensor:
    """Turn and mirror pictures (B, C, H, W)."""
    turns, mirrored = view
    turned = torch.rot90(pictures, turns, (2, 3)) if turns else pictures
    return turned.flip(3) if mirrored else turned

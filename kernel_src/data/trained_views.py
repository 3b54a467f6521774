"""## Views that training has shown

The augmentation shows the network some symmetries of a picture; test-time augmentation averages over those and no
others. A turn that training never showed makes another picture, not another look at the same one.
"""

from dataclasses import dataclass

from kernel_src.data.symmetries import ALL, FLIPS, HALF_TURN, QUARTER_TURN, SIDEWAYS, UPRIGHT, UPSIDE_DOWN
from kernel_src.recipes.experiment import Experiment


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

    `trained`: all that the augmentation showed in training; the `flips` among them; or `none` beside the upright one. A
    regressor on frozen features was fitted on upright photographs, so that it has no others.
    """
    if experiment.predict.tta == "none" or experiment.is_frozen:
        return (UPRIGHT,)
    trained = trained_symmetries(experiment.augment.preset, experiment.pictures.canvas_px)
    return trained if experiment.predict.tta == "trained" else tuple(view for view in trained if view in FLIPS)

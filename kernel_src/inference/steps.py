"""## What is computed, in the order of its value

A prediction is a mean over bundles, folds and views. One fold for every photograph comes first, then more folds, then
more views: whenever the time is over, what has been computed is the most useful part that could be.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One pass of photographs through one fold of one bundle, in one view; all three count from 0."""

    bundle: int
    fold: int
    view: int


def steps_by_value(folds: Sequence[Sequence[int]], views: Sequence[int], shares: Sequence[float]) -> list[Step]:
    """Order all steps of all bundles.

    `folds` names the usable folds of each bundle, `views` counts its views, `shares` is its weight in the blend: among
    equals the larger share goes first.
    """
    order = sorted(range(len(folds)), key=lambda bundle: -shares[bundle])
    ranked = [
        ((view, place), Step(bundle, fold, view))
        for bundle in order
        for place, fold in enumerate(folds[bundle])
        for view in range(views[bundle])
    ]
    # The sort is stable: within one rank the bundles keep their order.
    return [step for _, step in sorted(ranked, key=lambda pair: pair[0])]

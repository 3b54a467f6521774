"""## What a competition brings to train

Its experiments and ensembles. A class that derives from `Recipes` is found.
"""

from typing import Any, ClassVar

from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.experiment import Experiment

Changes = dict[str, dict[str, Any]]  # by name, as `tune --adopt` and `blend --write` leave them


class Recipes:
    """Those of one competition."""

    competition: ClassVar[str] = ""
    experiments: ClassVar[tuple[Experiment, ...]] = ()
    ensembles: ClassVar[tuple[Ensemble, ...]] = ()
    tuned: ClassVar[Changes] = {}  # what tuning found, each a change to one of the experiments
    blended: ClassVar[Changes] = {}  # what out-of-fold predictions spoke for
    published: ClassVar[dict[str, float]] = {}  # scores that others have published, by experiment

"""## All experiments

Those of the competition that this notebook was built for; on one's own machine, those of all competitions.
"""

from collections.abc import Iterable

import kernel_src.competitions.biomass.experiments  # noqa: F401  # part: biomass
import kernel_src.competitions.leaf.experiments  # noqa: F401  # part: leaf
import kernel_src.competitions.paws.experiments  # noqa: F401  # part: paws
from kernel_src.recipes.changes import changed
from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.recipe_list import Recipes
from kernel_src.recipes.spec import ExperimentError


def by_name(experiments: Iterable[Experiment]) -> dict[str, Experiment]:
    """Return the experiments under their names.

    Raises:
        ExperimentError: two have the same name, so that one would be lost.
    """
    named: dict[str, Experiment] = {}
    for experiment in experiments:
        if experiment.name in named:
            raise ExperimentError(f"two experiments are named {experiment.name!r}: give one of them another name=")
        named[experiment.name] = experiment
    return named


# %%
EXPERIMENTS = by_name(experiment for held in Recipes.__subclasses__() for experiment in held.experiments)
EXPERIMENTS |= {
    name: changed(EXPERIMENTS[entry["base"]], {**entry["changes"], "name": name})
    for held in Recipes.__subclasses__()
    for name, entry in held.tuned.items()
}
ENSEMBLES = {ensemble.name: ensemble for held in Recipes.__subclasses__() for ensemble in held.ensembles}
ENSEMBLES |= {
    name: Ensemble(name=name, shares=entry["shares"], stack=entry["stack"], constraint=entry["constraint"])
    for held in Recipes.__subclasses__()
    for name, entry in held.blended.items()
}
PUBLISHED = {name: score for held in Recipes.__subclasses__() for name, score in held.published.items()}
COMPETITION_OF = {
    name: held.competition
    for held in Recipes.__subclasses__()
    for name in (
        *(experiment.name for experiment in held.experiments),
        *(ensemble.name for ensemble in held.ensembles),
        *held.tuned,
        *held.blended,
    )
}

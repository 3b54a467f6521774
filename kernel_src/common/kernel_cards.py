"""## Kernel cards

What each notebook needs from its surroundings: parameters, datasets, models, accelerator.
"""

from dataclasses import dataclass

from kernel_src.common.competition import SLUG
from kernel_src.common.ensembles import ENSEMBLES, Ensemble
from kernel_src.common.experiments import EXPERIMENTS
from kernel_src.common.weight_sources import kaggle_models

PREFIX = "i2b"  # opens every slug of this kit on Kaggle
KERNELS = ("train", "infer")


@dataclass(frozen=True, kw_only=True)
class KernelCard:
    """What one notebook needs from its surroundings; the kit writes kernel-metadata.json from it."""

    experiment: str  # or the ensemble
    kernel: str
    parameters: dict[str, object]  # values for the cell tagged `parameters`
    datasets: tuple[str, ...]  # slugs without their owner
    models: tuple[str, ...] = ()  # Kaggle Models: owner/model/framework/variation/version
    competitions: tuple[str, ...]
    machine_shape: str
    enable_gpu: bool


def bundle_slug(name: str) -> str:
    """Name the dataset that carries an experiment's weights."""
    return f"{PREFIX}-{name.replace('_', '-')}-weights"  # Kaggle knows no underscore in a slug


def kernels_of(name: str) -> tuple[str, ...]:
    """Return the notebooks that an experiment or ensemble has.

    Raises:
        KeyError: there is no such experiment or ensemble.
    """
    if name in ENSEMBLES:
        return ("infer",)
    if name in EXPERIMENTS:
        return KERNELS
    raise KeyError(f"{name!r} is not one of {', '.join([*EXPERIMENTS, *ENSEMBLES])}")


def kernel_card(name: str, kernel: str) -> KernelCard:
    """Describe one notebook of one experiment or ensemble.

    Raises:
        KeyError: no such experiment, ensemble or kernel.
    """
    if kernel not in kernels_of(name):
        raise KeyError(f"{kernel!r} is not one of {', '.join(kernels_of(name))}, the notebooks of {name}")
    recipe = ENSEMBLES.get(name) or EXPERIMENTS[name]
    parameters: dict[str, object]
    models: tuple[str, ...] = ()
    if isinstance(recipe, Ensemble):
        shares = {bundle_slug(member): share for member, share in recipe.shares.items()}
        parameters = {"BUNDLES": shares, "STACK": recipe.stack, "CONSTRAINT": recipe.constraint}
        datasets = tuple(shares)
    elif kernel == "infer":
        parameters = {"BUNDLES": {bundle_slug(name): 1.0}}
        datasets = (bundle_slug(name),)
    else:
        parameters = {"EXPERIMENT": name, "SOURCE_SHA256": ""}  # the stitcher fills in the hash
        # The bundle carries the depth model, so only training mounts its dataset.
        wanted = (recipe.starting_weights, recipe.depth, recipe.external_data, recipe.pseudo_labels)
        datasets = tuple(slug for slug in wanted if slug)
        # What Kaggle has already need not be uploaded.
        models = tuple(handle for slug in datasets for handle in kaggle_models(slug)[:1])
        datasets = tuple(slug for slug in datasets if not kaggle_models(slug))
    return KernelCard(
        experiment=name,
        kernel=kernel,
        parameters=parameters,
        datasets=datasets,
        models=models,
        competitions=(SLUG,),
        machine_shape=recipe.machine_shape,
        enable_gpu=True,
    )

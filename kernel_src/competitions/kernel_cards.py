"""## Kernel cards

What each notebook needs from its surroundings: parameters, datasets, models, accelerator.
"""

from dataclasses import dataclass

from kernel_src.competition.facts import Facts
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import COMPETITION_OF, ENSEMBLES, EXPERIMENTS
from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.parts import (
    SEED_CONSTRAINTS,
    parts_to_compete,
    parts_to_extract,
    parts_to_predict,
    parts_to_train,
)
from kernel_src.recipes.predictor import require_suited
from kernel_src.recipes.spec import ExperimentError
from kernel_src.runtime.weight_sources import kaggle_models

# Of the parts to train an experiment, those that going on from its weights with the competition's rows does not need.
TO_BEGIN_TRAINING = {"auxiliary", "external", "hub_names", "pseudo_labels"}
# Optional parts beyond those that an experiment or ensemble needs, by kernel, e.g. {("v7", "infer"): ("stack",)}.
EXTRA_PARTS: dict[tuple[str, str], tuple[str, ...]] = {}


@dataclass(frozen=True, kw_only=True)
class KernelCard:
    """What one notebook needs from its surroundings; the kit writes kernel-metadata.json from it."""

    experiment: str  # or the ensemble
    kernel: str
    parameters: dict[str, object]  # values for the cell tagged `parameters`
    datasets: tuple[str, ...]  # slugs without their owner
    bundles: tuple[str, ...] = ()  # those of them that hold what was trained or fitted here
    models: tuple[str, ...] = ()  # Kaggle Models: owner/model/framework/variation/version
    competitions: tuple[str, ...]
    machine_shape: str
    enable_gpu: bool


def facts_of(name: str) -> Facts:
    """Return the facts of the competition that an experiment or ensemble belongs to.

    A name that nobody has yet belongs to the chosen one.
    """
    return facts(COMPETITION_OF.get(name, ""))


def slug_stem(name: str) -> str:
    """Return what every slug of an experiment or ensemble begins with: the competition's prefix and its own name.

    A name that begins with the prefix does not repeat it.
    """
    prefix, own = facts_of(name).prefix, name.replace("_", "-")  # Kaggle's slugs have no underscores
    return own if own == prefix or own.startswith(f"{prefix}-") else f"{prefix}-{own}"


def bundle_slug(name: str) -> str:
    """Name the dataset that carries an experiment's weights."""
    return f"{slug_stem(name)}-weights"


def members_of(name: str) -> list[Experiment]:
    """Return the experiments that an inference blends: those of an ensemble, or the one of this name.

    Raises:
        ExperimentError: an ensemble blends what is not an experiment.
    """
    names = tuple(ENSEMBLES[name].shares) if name in ENSEMBLES else (name,)
    if unknown := [member for member in names if member not in EXPERIMENTS]:
        raise ExperimentError(f"{name}: {', '.join(unknown)} is not an experiment; there are {', '.join(EXPERIMENTS)}")
    return [EXPERIMENTS[member] for member in names]


def frozen_backbones(name: str) -> tuple[str, ...]:
    """Name the datasets of the backbones that an inference mounts beside the bundles; mostly there are none.

    Raises:
        ExperimentError: see `members_of`.
    """
    return tuple(dict.fromkeys(member.encoder.weights for member in members_of(name) if member.is_frozen))


def parts_of(name: str, kernel: str, changed: Experiment | None = None) -> tuple[str, ...]:
    """Name the optional parts that a notebook holds: what its experiments need, and EXTRA_PARTS.

    `changed` stands in for the experiment.

    Raises:
        ExperimentError: see `members_of`.
    """
    needed = {"train": parts_to_train, "features": parts_to_extract, "infer": parts_to_infer}[kernel]
    members = [changed] if changed else members_of(name)
    parts = {part for member in members for part in needed(member)}
    if (ensemble := ENSEMBLES.get(name)) is not None:
        parts |= {"stack"} if ensemble.stack else set()
        parts |= {"seed_constraints"} if ensemble.constraint in SEED_CONSTRAINTS else set()
    parts |= {facts_of(name).competition, *parts_to_compete(facts_of(name))}
    return tuple(sorted(parts.union(EXTRA_PARTS.get((name, kernel), ()))))


def kernel_on_gpus(name: str) -> str:
    """Name the kernel from whose run an experiment's bundle is made.

    Frozen features are made on Kaggle's GPUs, the regressor is fitted on one's own machine.

    Raises:
        KeyError: there is no such experiment.
    """
    return "features" if EXPERIMENTS[name].is_frozen else "train"


def parts_to_infer(experiment: Experiment) -> tuple[str, ...]:
    """Name the parts that an inference with an experiment's bundle needs, with those to train it on the test."""
    parts = set(parts_to_predict(experiment))
    if experiment.predict.adapt:
        parts |= {"test_time_training", *parts_to_train(experiment)} - TO_BEGIN_TRAINING
    return tuple(sorted(parts))


def kernels_of(name: str) -> tuple[str, ...]:
    """Return the notebooks that an experiment or ensemble has.

    Raises:
        KeyError: there is no such experiment or ensemble.
    """
    if name in ENSEMBLES:
        return ("infer",)
    if name in EXPERIMENTS:
        return (kernel_on_gpus(name), "infer")
    raise KeyError(f"{name!r} is not one of {', '.join([*EXPERIMENTS, *ENSEMBLES])}")


# %%
def kernel_card(name: str, kernel: str, changed: Experiment | None = None) -> KernelCard:
    """Describe one notebook of one experiment or ensemble; `changed` is a training's experiment as it is for one run.

    Raises:
        KeyError: no such experiment, ensemble or kernel.
        ExperimentError: see `members_of`; or the competition does not allow an experiment.
    """
    if kernel not in kernels_of(name):
        raise KeyError(f"{kernel!r} is not one of {', '.join(kernels_of(name))}, the notebooks of {name}")
    for member in members_of(name):
        require_suited(member, facts_of(name))
    recipe = changed or ENSEMBLES.get(name) or EXPERIMENTS[name]
    parameters: dict[str, object]
    bundles: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()  # that others have published
    if isinstance(recipe, Ensemble):
        shares = {bundle_slug(member): share for member, share in recipe.shares.items()}
        parameters = {"BUNDLES": shares, "STACK": recipe.stack, "CONSTRAINT": recipe.constraint}
        bundles, wanted = tuple(shares), frozen_backbones(name)
    elif kernel == "infer":
        parameters = {"BUNDLES": {bundle_slug(name): 1.0}}
        bundles, wanted = (bundle_slug(name),), frozen_backbones(name)
    else:
        parameters = {"EXPERIMENT": name, "SOURCE_SHA256": ""}  # the stitcher fills in the hash
        # The bundle carries the depth model, so only training mounts its dataset.
        data = recipe.data
        wanted = (
            recipe.encoder.weights,
            recipe.depth.weights if recipe.depth else "",
            data.external.dataset if data.external else "",
            data.pseudo.dataset if data.pseudo else "",
        )
    parameters["PARTS"] = parts_of(name, kernel, changed)
    published = tuple(slug for slug in wanted if slug)
    # What Kaggle has already need not be uploaded.
    models = tuple(handle for slug in published for handle in kaggle_models(slug)[:1])
    datasets = bundles + tuple(slug for slug in published if not kaggle_models(slug))
    return KernelCard(
        experiment=name,
        kernel=kernel,
        parameters=parameters,
        datasets=datasets,
        bundles=bundles,
        models=models,
        competitions=(facts_of(name).slug,),
        machine_shape=recipe.machine_shape if isinstance(recipe, Ensemble) else recipe.machine.shape,
        enable_gpu=True,
    )

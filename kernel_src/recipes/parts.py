"""## The parts of an experiment

Which optional parts an experiment's notebooks need.
"""

from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.predictor import Predictor

HUB_NAMED = "dinov2"  # in the name of a backbone whose weights the hub also has under names of its own
LARGER_THAN_A_GPU = ("_7b_", "_enormous_")  # in the name of a backbone that a T4 of 15 GB cannot hold beside its work
SEED_CONSTRAINTS = ("biological", "average")  # beyond these the constraints need no part


def parts_to_extract(experiment: Predictor) -> tuple[str, ...]:
    """Name the parts that making an experiment's frozen features needs."""
    needed = {"hub_names": HUB_NAMED in experiment.encoder.timm, "spread": is_larger_than_a_gpu(experiment)}
    return tuple(name for name, is_needed in needed.items() if is_needed)


def is_larger_than_a_gpu(experiment: Predictor) -> bool:
    """Whether a T4 cannot hold the frozen backbone beside its work, so that two share it."""
    return experiment.is_frozen and any(word in experiment.encoder.timm for word in LARGER_THAN_A_GPU)


def parts_to_predict(experiment: Predictor) -> tuple[str, ...]:
    """Name the parts that predicting with an experiment's bundle needs."""
    needed = {
        "depth": experiment.depth,
        "evidence": not (experiment.is_plain or experiment.is_frozen),
        "frozen": experiment.is_frozen,
        "hub_names": experiment.is_frozen and HUB_NAMED in experiment.encoder.timm,
        "seed_constraints": experiment.predict.constraint in SEED_CONSTRAINTS,
        "spread": is_larger_than_a_gpu(experiment),
    }
    return tuple(name for name, is_needed in needed.items() if is_needed)


def parts_to_train(experiment: Experiment) -> tuple[str, ...]:
    """Name the parts that training an experiment needs."""
    augment = experiment.augment
    needed = {
        "auxiliary": experiment.auxiliary,
        "camera_marks": augment.stamps_p or augment.spots_p,
        "cropping": augment.crop or augment.rescale,
        "depth": experiment.depth,
        "evidence": not (experiment.is_plain or experiment.is_frozen),
        "external": experiment.data.external,
        "hub_names": experiment.encoder.weights and HUB_NAMED in experiment.encoder.timm,
        "mixing": experiment.augment.mix,
        "pseudo_labels": experiment.data.pseudo,
        "row_rules": experiment.data.drop,
        "seed_constraints": experiment.predict.constraint in SEED_CONSTRAINTS,
    }
    return tuple(name for name, is_needed in needed.items() if is_needed)

"""## The list of experiments

One entry per version. Scores in the comments are the seed's public leaderboard R², from its README.
"""

from dataclasses import dataclass, replace

from kernel_src.common.competition import SLUG
from kernel_src.common.experiment import Experiment

BASE = Experiment(name="base", backbone="resnet34")

# V1, the seed's baseline: ResNet34, one hold-out of 20 %. Public R² 0.30.
# On purpose unlike the seed: it held out random images of every state, here whole State+Sampling_Date groups are held
# out; it kept the epoch that was best on the images it then scored, here an inner fold picks the epoch.
V1 = replace(
    BASE,
    name="v1",
    backbone="resnet34",
    starting_weights="i2b-resnet34-imagenet",
    folds=5,
    train_folds=(0,),
    inner_folds=8,
    patience_epochs=10,
    schedule="cosine",
    epochs=50,
    batch_size=16,
    learning_rate=1e-4,
    weight_decay=1e-4,
)

# The experiment behind `make demo`: real ImageNet weights of the smallest useful net, sized for two CPU cores.
DEMO = replace(
    BASE,
    name="demo",
    backbone="tf_efficientnet_lite0",
    starting_weights="i2b-lite0-imagenet",
    image_height_px=160,
    image_width_px=320,
    head_hidden=(128,),
    folds=3,
    augmentation="conservative",
    schedule="warmup_cosine",
    warmup_epochs=1,
    learning_rate=1e-3,
    weight_decay=1e-2,
    epochs=8,
    batch_size=12,
    tta="flips",
)

EXPERIMENTS = {experiment.name: experiment for experiment in (DEMO, V1)}

# %%
PREFIX = "i2b"  # opens every slug of this kit on Kaggle
KERNELS = ("train", "infer")


@dataclass(frozen=True, kw_only=True)
class KernelCard:
    """What one notebook needs from its surroundings; the kit writes kernel-metadata.json from it."""

    experiment: str
    kernel: str
    parameters: dict[str, object]  # values for the cell tagged `parameters`
    datasets: tuple[str, ...]  # slugs without their owner
    competitions: tuple[str, ...]
    machine_shape: str
    enable_gpu: bool


def bundle_slug(name: str) -> str:
    """Name the dataset that carries an experiment's weights."""
    return f"{PREFIX}-{name}-weights"


def kernel_card(name: str, kernel: str) -> KernelCard:
    """Describe one notebook of one experiment.

    Raises:
        KeyError: no such experiment or kernel.
    """
    experiment = EXPERIMENTS[name]
    parameters: dict[str, object]
    if kernel == "train":
        parameters = {"EXPERIMENT": name}
        datasets = (experiment.starting_weights,) if experiment.starting_weights else ()
    elif kernel == "infer":
        parameters = {"BUNDLES": {bundle_slug(name): 1.0}}
        datasets = (bundle_slug(name),)
    else:
        raise KeyError(f"{kernel!r} is not one of {', '.join(KERNELS)}")
    return KernelCard(
        experiment=name,
        kernel=kernel,
        parameters=parameters,
        datasets=datasets,
        competitions=(SLUG,),
        machine_shape=experiment.machine_shape,
        enable_gpu=True,
    )

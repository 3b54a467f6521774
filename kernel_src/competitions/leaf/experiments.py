"""## The list of experiments

A baseline that two CPU cores train in a minute; variants are made with `dataclasses.replace`.
"""

from dataclasses import replace
from typing import ClassVar

from kernel_src.competitions.leaf.blended_ensembles import BLENDED
from kernel_src.competitions.leaf.tuned_experiments import TUNED
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import AdamW, Batch, CrossEntropy, WarmupCosine
from kernel_src.recipes.network import Encoder, FirstShare, PooledHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predict
from kernel_src.recipes.recipe_list import Changes, Recipes
from kernel_src.recipes.training_data import Augment, Data, StratifiedGroupSplit

LEAF = Experiment(
    name="leaf",
    pictures=Pictures(height_px=48, width_px=48),
    # Its first layers, which take most of the time, stay as ImageNet left them.
    encoder=Encoder(timm="tf_efficientnet_lite0", weights="i2b-lite0-imagenet", freeze=FirstShare(0.1)),
    head=PooledHead(hidden=(), dropout=0.1),
    data=Data(split=StratifiedGroupSplit(3)),
    augment=Augment("none"),
    loss=CrossEntropy(smoothing=0.05),
    optimizer=AdamW(lr=2e-3, weight_decay=1e-2),
    schedule=WarmupCosine(epochs=4, warmup=1),
    batch=Batch(16),
    predict=Predict(tta="none", constraint="none"),
)

# Smaller pictures: does the size matter?
LEAF_SMALL = replace(LEAF, name="leaf_small", pictures=Pictures(height_px=32, width_px=32))


class LeafRecipes(Recipes):
    """All of them."""

    competition: ClassVar[str] = "leaf"
    experiments: ClassVar[tuple[Experiment, ...]] = (LEAF, LEAF_SMALL)
    tuned: ClassVar[Changes] = TUNED
    blended: ClassVar[Changes] = BLENDED

"""## The list of experiments

A baseline that two CPU cores train in a minute; variants are made with `dataclasses.replace`.
"""

from dataclasses import replace
from typing import ClassVar

from kernel_src.competitions.paws.blended_ensembles import BLENDED
from kernel_src.competitions.paws.tuned_experiments import TUNED
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import AdamW, Batch, WarmupCosine
from kernel_src.recipes.network import Encoder, FirstShare, Inputs, PooledHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predict
from kernel_src.recipes.recipe_list import Changes, Recipes
from kernel_src.recipes.training_data import Augment, Data, StratifiedGroupSplit

PAWS = Experiment(
    name="paws",
    pictures=Pictures(height_px=48, width_px=48),
    # Its first layers, which take most of the time, stay as ImageNet left them.
    encoder=Encoder(timm="tf_efficientnet_lite0", weights="i2b-lite0-imagenet", freeze=FirstShare(0.1)),
    head=PooledHead(hidden=(), dropout=0.1),
    inputs=Inputs(),
    data=Data(split=StratifiedGroupSplit(3)),
    augment=Augment("none"),
    optimizer=AdamW(lr=2e-3, weight_decay=1e-2),
    schedule=WarmupCosine(epochs=4, warmup=1),
    batch=Batch(16),
    predict=Predict(tta="none", constraint="none"),
)

# The picture alone: what do the twelve columns add?
PAWS_PICTURE = replace(PAWS, name="paws_picture", inputs=None)


class PawsRecipes(Recipes):
    """All of them."""

    competition: ClassVar[str] = "paws"
    experiments: ClassVar[tuple[Experiment, ...]] = (PAWS, PAWS_PICTURE)
    tuned: ClassVar[Changes] = TUNED
    blended: ClassVar[Changes] = BLENDED

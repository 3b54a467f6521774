"""## What the bundles hold

Read from their configs before any weight is loaded: which nets, folds and views there are to compute with.
"""

from collections.abc import Sequence

from kernel_src.bundle.bundles import BundleRecipe, read_recipe
from kernel_src.inference.fallback import Attached
from kernel_src.recipes.predictor import Predict
from kernel_src.runtime.faults import Fault, FaultLog
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.manifest import BundleError
from kernel_src.runtime.parts import optional_part


def read_recipes(attached: Sequence[Attached], log: FaultLog) -> list[BundleRecipe | None]:
    """Read every bundle's recipe and say in a line what it is; None for a bundle that cannot be used.

    Raises:
        NotContained: a bundle cannot be used, outside the rerun.
    """
    recipes: list[BundleRecipe | None] = []
    for bundle in attached:
        recipe = None
        if bundle.folder is not None and bundle.manifest is not None:
            try:
                recipe = read_recipe(bundle.folder, bundle.manifest)
                if unusable := sorted(bundle.damaged & {CONFIG_FILE, *recipe.depth.values()}):
                    raise BundleError(f"{bundle.folder}: nothing works without {', '.join(unusable)}")
            except (BundleError, OSError, ValueError, TypeError, KeyError) as error:
                recipe = None
                what = f"{bundle.slug} cannot be used: {error}"
                log.contain(
                    Fault(part="bundle", what=what, fallback="the other bundles, else the training mean"), error
                )
        if recipe is not None:
            print(_line(recipe, bundle.share))
        recipes.append(recipe)
    return recipes


def constraint_of(recipes: Sequence[BundleRecipe | None]) -> str:
    """Return how the first usable bundle's experiment enforces the identities."""
    usable = [recipe.experiment.predict.constraint for recipe in recipes if recipe is not None]
    return usable[0] if usable else Predict.constraint


def _line(recipe: BundleRecipe, share: float) -> str:
    experiment = recipe.experiment
    if experiment.is_frozen:
        line: str = optional_part("frozen").frozen_line(recipe, share)
        return line
    depth = f"depth {experiment.depth.fusion}, {experiment.depth_views}" if experiment.depth else "no depth"
    return (
        f"{experiment.name}: {len(recipe.folds)} folds of {experiment.encoder.timm}, "
        f"{experiment.pictures.height_px}x{experiment.pictures.width_px} px {recipe.preprocessing.interpolation}, "
        f"{len(recipe.symmetries)} views, {depth}, share {share:g}, out-of-fold R² {recipe.oof_score:.4f}, "
        f"trained from sources {recipe.source_sha256[:12]}"
    )

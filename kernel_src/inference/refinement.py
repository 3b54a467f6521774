"""## Refinement on the test set

With time to spare, the heads of every fold can learn from what all folds together say about the test photographs on
which they agree. The backbones stay as they are: each photograph passes them once more, and what they see is kept.
"""

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kernel_src.bundle.bundle_prediction import predict_bundles
from kernel_src.bundle.bundles import Bundle, BundleRecipe, load_recipe
from kernel_src.data.agreement import CONFIDENT_SHARE, fold_spread
from kernel_src.inference.prediction_store import PredictionStore
from kernel_src.models.model import BiomassNet
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.memory import is_out_of_memory
from kernel_src.runtime.parts import OptionalPart
from kernel_src.runtime.randomness import seed_at

REFINING_EPOCHS = 20
REFINING_ROWS = 256  # photographs times views in a batch
REFINING_RATE = 1e-5  # a tenth of what most experiments train their heads with: the labels are guesses
REFINING_SEED = 42
FEATURE_SHARE = 0.8  # of the budget that may go into the pass through the backbones


class OutOfTime(Exception):
    """The budget does not allow the pass through the backbones."""


def refine_on_test(
    bundles: Sequence[Bundle],
    paths: Sequence[Path],
    bundle_grams: Sequence[np.ndarray],
    *,
    device: DeviceReport,
    batch_size: int,
    budget_s: float,
    share: float = CONFIDENT_SHARE,
) -> list[np.ndarray]:
    """Return `bundle_grams`, (folds, images, 5) per bundle as of `predict_bundles`, predicted again by refined heads.

    Each head learns the mean of its bundle's folds for the `share` of the photographs on which these agree best. What
    does not fit into `budget_s` seconds is left as it was: everything, or the folds that were not reached. The bundles
    are not changed.
    """
    started = time.monotonic()
    grams = [predicted.copy() for predicted in bundle_grams]
    if budget_s <= 0 or not len(paths):
        return grams
    try:
        features = head_inputs(bundles, paths, device=device, batch_size=batch_size, budget_s=FEATURE_SHARE * budget_s)
    except OutOfTime as reason:
        print(f"not refined: {reason}")
        return grams
    refined = 0
    for bundle, predicted, seen in zip(bundles, grams, features, strict=True):
        spread, labels = fold_spread(predicted), predicted.mean(0)
        rows = np.flatnonzero(spread <= np.quantile(spread, share))
        for fold, (model, inputs) in enumerate(zip(bundle.fine_tuned, seen, strict=True)):
            better = _refined(bundle, model, inputs, labels, rows, fold, lambda: time.monotonic() - started > budget_s)
            if better is not None:
                predicted[fold] = better
                refined += 1
    print(f"{refined} folds refined on the test set in {time.monotonic() - started:.1f} s")
    return grams


def refine_predictions(
    predictions: PredictionStore,
    recipes: Sequence[BundleRecipe | None],
    paths: Sequence[Path],
    *,
    device: DeviceReport,
    batch_size: int,
    left_s: Callable[[], float],
) -> None:
    """Put refined predictions in the place of a whole inference's, if there is everything to learn from.

    All folds are loaded at once; `left_s` returns how many seconds are left.
    """
    usable = [recipe for recipe in recipes if recipe is not None]
    if not all(recipe.experiment.is_plain for recipe in usable):
        print("not refined: that is for five heads on what a backbone pools of the whole photograph")
        return
    if len(usable) < len(recipes) or not predictions.is_complete():
        print("not refined: some folds have not predicted every photograph")
        return
    depth_models: dict[str, nn.Module] = {}
    bundles = [load_recipe(recipe, depth_models) for recipe in usable]
    grams = [predictions.fold_grams(number) for number in range(len(usable))]
    try:
        refined = refine_on_test(bundles, paths, grams, device=device, batch_size=batch_size, budget_s=left_s())
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"not refined: the memory is too small for all folds at once: {error}")
        return
    for number, better in enumerate(refined):
        predictions.put_fold_grams(number, better)


# %%
def head_inputs(
    bundles: Sequence[Bundle], paths: Sequence[Path], *, device: DeviceReport, batch_size: int, budget_s: float
) -> list[list[torch.Tensor]]:
    """Return what the heads of each bundle's folds see: (views, images, F) float32 on the CPU.

    Raises:
        OutOfTime: it would take longer than `budget_s`.
    """
    kept: list[list[list[torch.Tensor]]] = [[[] for _ in bundle.fine_tuned] for bundle in bundles]
    hooks = [
        model.heads[0].register_forward_pre_hook(_keeper(into))
        for bundle, per_model in zip(bundles, kept, strict=True)
        for model, into in zip(bundle.fine_tuned, per_model, strict=True)
    ]

    def refuse(seconds: float) -> None:
        if seconds > budget_s:
            raise OutOfTime(
                f"looking at {len(paths)} photographs again takes {seconds:.0f} s, {budget_s:.0f} s are left"
            )

    try:
        predict_bundles(bundles, paths, device=device, batch_size=batch_size, after_first_batch=refuse)
    finally:
        for hook in hooks:
            hook.remove()
    features = []
    for bundle, per_model in zip(bundles, kept, strict=True):
        count = len(bundle.symmetries)
        # Batch after batch, and of each its views one after the other.
        joined = [[torch.cat(parts[view::count]) for view in range(count)] for parts in per_model]
        if any(len(view) != len(paths) for per_view in joined for view in per_view):
            raise OutOfTime("half precision overflowed, and some photographs were computed twice")
        features.append([torch.stack(per_view) for per_view in joined])
    return features


def _keeper(into: list[torch.Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        into.append(given[0].float().cpu())

    return keep


# %%
def _refined(
    bundle: Bundle,
    model: BiomassNet,
    inputs: torch.Tensor,
    labels: np.ndarray,
    rows: np.ndarray,
    fold: int,
    is_over: Callable[[], bool],
) -> np.ndarray | None:
    """Train copies of a fold's heads on (views, images, F) and predict (images, 5); None where time ran out."""
    scaling = copy.deepcopy(model.scaling).cpu()
    heads = copy.deepcopy(model.heads).float().cpu().requires_grad_(True)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=REFINING_RATE)
    pictures = inputs[:, rows].flatten(0, 1).clone()  # clone: what came out of inference mode cannot be trained on
    truth = scaling.to_z(torch.from_numpy(labels[rows]).float()).repeat(len(inputs), 1)
    heads.train()
    for epoch in range(REFINING_EPOCHS):
        torch.manual_seed(seed_at(REFINING_SEED, "refine", fold, epoch))
        for part in torch.randperm(len(pictures)).split(REFINING_ROWS):
            if is_over():
                return None
            loss = (_head_z(heads, pictures[part]) - truth[part]).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    heads.eval()
    with torch.no_grad():
        grams = torch.stack([scaling.to_grams(_head_z(heads, view)) for view in inputs]).mean(0)
    return grams.double().numpy() if torch.isfinite(grams).all() else None


def _head_z(heads: nn.ModuleList, features: torch.Tensor) -> torch.Tensor:
    return torch.cat([head(features) for head in heads], 1)


class RefinementParts(OptionalPart):
    """What an inference with seconds to refine asks for."""

    part = "refinement"
    refine_predictions = staticmethod(refine_predictions)

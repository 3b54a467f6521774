"""Refining on the test set: in time or not at all, and only the heads."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundle_prediction import predict_bundles
from kernel_src.bundle.bundles import Bundle
from kernel_src.data.trained_views import views
from kernel_src.inference import refinement
from kernel_src.inference.refinement import refine_on_test
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.training.training import new_model
from tests.kernel_src.tiny import CPU, TINY, fold_data
from tests.tiny_depth import TINY_DEPTH, tiny_estimator

BATCH = 2  # 3 photographs: a whole batch and a smaller one


def bundle_of(experiment: Experiment, seeds: Sequence[int] = (1, 2)) -> Bundle:
    models = [new_model(replace(experiment, seed=seed), fold_data().grams, None).eval() for seed in seeds]
    return Bundle(
        folder=Path(),
        experiment=experiment,
        preprocessing=preprocessing_of(experiment.encoder.timm),
        symmetries=views(experiment),
        models=models,
        oof_r2=0.0,
        source_sha256="",
        depth=tiny_estimator() if experiment.depth else None,
    )


@pytest.fixture
def paths(tiny_competition: Path) -> list[Path]:
    return sorted((tiny_competition / "test").iterdir())


@pytest.fixture
def bundles() -> list[Bundle]:
    return [bundle_of(changed(TINY, {"predict.tta": "flips"})), bundle_of(TINY_DEPTH, (1, 2, 3))]


def refine(bundles: list[Bundle], paths: list[Path], grams: list[np.ndarray], budget_s: float) -> list[np.ndarray]:
    return refine_on_test(bundles, paths, grams, device=CPU, batch_size=BATCH, budget_s=budget_s)


def unchanged(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_the_heads_see_gives_the_prediction_again(
    bundles: list[Bundle], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several views, batches, sizes and depth: every feature must come back to its own photograph."""
    monkeypatch.setattr(refinement, "REFINING_EPOCHS", 0)
    grams = predict_bundles(bundles, paths, device=CPU, batch_size=BATCH)
    told = [predicted + 5 for predicted in grams]  # so that handing back what was told is no success
    for one, other in zip(refine(bundles, paths, told, 1e9), grams, strict=True):
        assert one.shape == other.shape and np.allclose(one, other, atol=1e-3)


def test_refined_folds_come_nearer_to_each_other_and_the_bundles_stay_as_they_are(
    bundles: list[Bundle], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refinement, "REFINING_RATE_FACTOR", 10.0)
    before = [model.state_dict()["heads.0.0.weight"].clone() for bundle in bundles for model in bundle.models]
    grams = predict_bundles(bundles, paths, device=CPU, batch_size=BATCH)
    refined = refine(bundles, paths, grams, 1e9)
    for one, other in zip(refined, grams, strict=True):
        assert one.std(0).mean() < 0.9 * other.std(0).mean()
    after = [model.state_dict()["heads.0.0.weight"] for bundle in bundles for model in bundle.models]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(model.heads[0]._forward_pre_hooks for bundle in bundles for model in bundle.models)
    again = refine(bundles, paths, grams, 1e9)
    assert unchanged(again, refined), "the same numbers every time"


@pytest.mark.parametrize("budget_s", [0.0, -5.0, 1e-4])
def test_without_time_the_predictions_are_returned_unchanged(
    bundles: list[Bundle], paths: list[Path], budget_s: float
) -> None:
    grams = predict_bundles(bundles, paths, device=CPU, batch_size=BATCH)
    start = time.monotonic()
    assert unchanged(refine(bundles, paths, grams, budget_s), grams)
    assert time.monotonic() - start < 5
    assert not any(model.heads[0]._forward_pre_hooks for bundle in bundles for model in bundle.models)


def test_what_is_not_reached_in_time_is_left_as_it_was(
    bundles: list[Bundle], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    grams = predict_bundles(bundles, paths, device=CPU, batch_size=BATCH)
    asked: list[int] = []

    def over_soon(*arguments: object) -> np.ndarray | None:
        asked.append(0)
        return refined_one(*arguments[:-1], lambda: len(asked) > 3)  # type: ignore[arg-type]

    refined_one = refinement._refined
    monkeypatch.setattr(refinement, "_refined", over_soon)
    result = refine(bundles, paths, grams, 1e9)
    changed = [
        not np.array_equal(a, b) for one, two in zip(result, grams, strict=True) for a, b in zip(one, two, strict=True)
    ]
    assert changed == [True, True, True, False, False]


def test_no_photographs_are_no_problem(bundles: list[Bundle]) -> None:
    grams = predict_bundles(bundles, [], device=CPU, batch_size=BATCH)
    assert unchanged(refine(bundles, [], grams, 10.0), grams)

"""Ensembles: one inference notebook that mounts the bundles of its members, and nothing to train."""

import json

import pytest

from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import kernel_card, kernels_of
from kernel_src.inference.stacking import stack_from_json
from kernel_src.recipes.ensemble import Ensemble
from kernel_src.recipes.predictor import CONSTRAINTS


def test_v6_is_two_fifths_of_v4_and_three_fifths_of_v5() -> None:
    card = kernel_card("v6", "infer")
    assert card.parameters["BUNDLES"] == {"i2b-v4-weights": 0.4, "i2b-v5-weights": 0.6}
    assert card.datasets == ("i2b-v4-weights", "i2b-v5-weights")
    assert card.parameters["CONSTRAINT"] == "projection" and card.parameters["STACK"] == {}
    assert card.competitions == ("csiro-biomass",) and card.enable_gpu


def test_an_ensemble_has_no_training_notebook_and_the_error_says_so() -> None:
    assert kernels_of("v6") == ("infer",) and kernels_of("v1") == ("train", "infer")
    with pytest.raises(KeyError, match="'train' is not one of infer, the notebooks of v6"):
        kernel_card("v6", "train")
    with pytest.raises(KeyError, match="'v99' is not one of demo, .*v6"):
        kernels_of("v99")


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=lambda ensemble: ensemble.name)
def test_every_ensemble_can_be_meant(ensemble: Ensemble) -> None:
    assert ENSEMBLES[ensemble.name] is ensemble and ensemble.name not in EXPERIMENTS
    assert set(ensemble.shares) <= set(EXPERIMENTS), "members are experiments"
    assert sum(ensemble.shares.values()) == pytest.approx(1) and min(ensemble.shares.values()) > 0
    assert ensemble.constraint in CONSTRAINTS
    if ensemble.stack:
        stack_from_json(json.loads(json.dumps(ensemble.stack)), len(ensemble.shares))


def test_a_stack_travels_to_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = {"weights": [[0.5, 0.5]] * 5, "intercept_g": [0.0] * 5}
    stacked = Ensemble(name="stacked", shares={"v4": 1.0, "v5": 1.0}, stack=stack, constraint="none")
    monkeypatch.setitem(ENSEMBLES, "stacked", stacked)
    parameters = kernel_card("stacked", "infer").parameters
    assert parameters["STACK"] == stack and parameters["CONSTRAINT"] == "none"

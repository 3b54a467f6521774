"""The seed's own leak: outputs given back the validation fold's mean and deviation are found, honest models are not."""

from pathlib import Path

import numpy as np
import pytest

from build.notebooks.builder import ROOT
from build.scores.comparison import compare_files
from build.scores.warnings import overshoot
from kernel_src.competitions.biomass.constants import TARGETS
from tests.build.scores.painted import group_folds, truth, visits, write_oof, write_train

TABLE = truth()
GRAMS = TABLE[list(TARGETS)].to_numpy(float)
REAL = ROOT.parent / "shared" / "data"
WORDS = "were outputs given back the target statistics of the validation fold, as in the seed?"


def model(seed: int, folds: np.ndarray, skill: float, leak: bool, bias_g: float = 0.0) -> np.ndarray:
    """Predictions of a network per fold: it knows a part of what an image departs from its training rows' mean."""
    random = np.random.default_rng(seed)
    own, out = visits(TABLE), np.empty_like(GRAMS)
    noise = random.normal(0, 5, (own.max() + 1, 5))[own] + random.normal(0, 5, GRAMS.shape)
    for fold in set(folds.tolist()):
        here = folds == fold
        mean, deviation = GRAMS[~here].mean(0), GRAMS[~here].std(0)
        scaled = (skill * (GRAMS[here] - mean) + noise[here] + random.normal(0, bias_g, 5)) / deviation
        if leak:
            mean, deviation = GRAMS[here].mean(0), GRAMS[here].std(0)
        out[here] = scaled * deviation + mean
    return out


def warned(folder: Path, grams: np.ndarray, folds: np.ndarray) -> bool:
    train = write_train(folder / "train.csv", TABLE)
    found = "\n".join(compare_files([str(write_oof(folder / "m.csv", TABLE, grams, folds))], train).warnings)
    assert "met too exactly" not in found, "the other form of the leak"
    return WORDS in found


def test_the_leak_of_the_seed_is_named(tmp_path: Path) -> None:
    folds = group_folds(TABLE)
    assert warned(tmp_path, model(1, folds, skill=0.7, leak=True), folds)


@pytest.mark.parametrize("skill", [0.4, 0.7, 1.0])
def test_an_honest_model_is_not_named_shrunk_or_not(tmp_path: Path, skill: float) -> None:
    folds = group_folds(TABLE)
    assert not any(warned(tmp_path, model(seed, folds, skill, leak=False), folds) for seed in range(3))


def test_with_ten_folds_the_leak_is_found_in_most_cuts_and_no_honest_model_is_accused() -> None:
    random, found, accused = np.random.default_rng(0), 0, 0
    for seed in range(20):
        folds = (random.permutation(30) % 10)[visits(TABLE)]
        for leak in (True, False):
            slope, share = overshoot(GRAMS, model(seed, folds, 0.7, leak, bias_g=2.0), folds, visits(TABLE), cuts=600)
            named = slope > 0 and share < 0.002
            found, accused = found + (named and leak), accused + (named and not leak)
    assert found >= 16 and accused == 0


def test_folds_of_one_visit_say_nothing() -> None:
    folds = visits(TABLE)
    _, share = overshoot(GRAMS, model(1, folds, 0.7, leak=True), folds, visits(TABLE), cuts=100)
    assert share == 1

"""What a fold learns from the test: which fold, which labels, at which rate, and which weights are kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from build.weights.bundle import make_bundle
from build.weights.random_weights import random_run
from kernel_src.bundle.bundles import BundleRecipe, read_recipe
from kernel_src.competitions.biomass.constants import TARGETS, TRAIN_CSV
from kernel_src.competitions.biomass.tables import read_train
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.held_rules import rules
from kernel_src.inference import adapted_fold
from kernel_src.inference.adapted_fold import (
    Adaptation,
    AdaptedFold,
    NotAdapted,
    adapted_experiment,
    rows_to_train_on,
    strongest_fold,
    trained,
)
from kernel_src.models.model import load_fold
from kernel_src.recipes import predictor
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.manifest import read_manifest
from kernel_src.runtime.weight_files import read_weights
from tests.kernel_src.kernels.twins import tiny_twin
from tests.kernel_src.tiny import CPU, TINY

HOW = predictor.TestTimeTraining(epochs=3, average=2, lr_factor=0.5)


@pytest.fixture
def train(tiny_competition: Path) -> pd.DataFrame:
    return read_train(tiny_competition / TRAIN_CSV)


@pytest.fixture
def adaptation(recipe: BundleRecipe, paths: list[Path], plain: np.ndarray, tiny_competition: Path) -> Adaptation:
    return Adaptation(
        recipe=recipe,
        how=HOW,
        competition=tiny_competition,
        damaged=frozenset(),
        paths=tuple(paths[:6]),
        values=plain.mean(0)[:6],
        device=CPU,
        threads=1,
        is_miniature=False,
    )


def test_the_fold_that_is_best_on_its_own_photographs_is_trained_on(
    recipe: BundleRecipe, train: pd.DataFrame, tmp_path: Path
) -> None:
    """Of two folds, whichever predicts its own photographs exactly; one that is damaged is never it."""
    here = replace(recipe, folder=tmp_path)
    fold_of = np.arange(len(train)) % 2
    for best in (0, 1):
        grams = train[list(TARGETS)].to_numpy(float)
        oof = pd.DataFrame(np.where((fold_of == best)[:, None], grams, grams[::-1]), columns=list(TARGETS))
        oof.assign(image_id=train["image_id"], fold=fold_of).to_csv(tmp_path / "oof.csv", index=False)
        fold, why = strongest_fold(here, train, frozenset())
        assert fold == best and f"fold {best} 1.000" in why
        assert strongest_fold(here, train, frozenset({f"fold{best}.safetensors"}))[0] == 1 - best
    assert "the first" in strongest_fold(here, train, frozenset({"oof.csv"}))[1]
    (tmp_path / "oof.csv").unlink()
    assert strongest_fold(here, train, frozenset())[0] == 0
    with pytest.raises(NotAdapted, match="no fold"):
        strongest_fold(here, train, frozenset(recipe.folds))


def test_labels_satisfy_the_identities_and_what_is_hardly_there_is_not_there() -> None:
    grams = np.array([[10.0, 0.1, 0.19, 10.19, 10.29], [1.0, 2.0, 3.0, 4.0, 6.0]])  # Green, Dead, Clover, GDM, Total
    labels = rules().pseudo_labels(grams, 0.2)
    assert labels[0] == pytest.approx([10.0, 0, 0, 10.0, 10.0]) and labels[1] == pytest.approx(grams[1])
    assert rules().pseudo_labels(grams, 0.0) == pytest.approx(grams)


def test_the_experiment_goes_on_at_its_own_rates_times_the_factor() -> None:
    made = changed(TINY, {"optimizer.backbone_lr": 1e-4, "data.train_folds": (1,), "keep": "EMA"})
    going_on = adapted_experiment(made, HOW)
    assert (going_on.optimizer.lr, going_on.optimizer.backbone_lr) == (0.5e-3, 0.5e-4)
    assert going_on.schedule.epochs == 3 and going_on.data.folds_trained == 1
    assert adapted_experiment(made, HOW, is_miniature=True).schedule.epochs == 2


def test_all_weighed_rows_and_the_test_train_and_only_the_test_is_pseudo(
    adaptation: Adaptation, train: pd.DataFrame, tmp_path: Path
) -> None:
    how = replace(HOW, pseudo_weight=0.5)
    data = rows_to_train_on(adapted_experiment(TINY, how), train, adaptation, tmp_path)
    assert sorted(data.train_rows) == list(range(len(train) + 6)) and not len(data.inner_rows)
    assert data.pseudo is not None and np.flatnonzero(data.pseudo).tolist() == list(range(20, 26))
    assert data.values[:20] == pytest.approx(train[list(TARGETS)].to_numpy(float))
    assert data.values[20:] == pytest.approx(rules().pseudo_labels(adaptation.values, 0.2))
    assert len(data.photographs) == 26


def test_it_begins_with_the_folds_weights_and_leaves_the_mean_of_the_last_epochs(
    adaptation: Adaptation, train: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = adapted_experiment(TINY, HOW)
    data = rows_to_train_on(experiment, train, adaptation, tmp_path)
    own = read_weights(adaptation.recipe.folder / "fold1.safetensors")
    ends: list[dict[str, torch.Tensor]] = []
    train_epoch, finish_epoch = AdaptedFold.train_epoch, AdaptedFold.finish_epoch

    def looking_first(self: AdaptedFold, session: object) -> None:
        if not ends:
            state = self.model.state_dict()
            assert all(torch.equal(state[name], tensor.to(state[name].dtype)) for name, tensor in own.items())
        train_epoch(self, session)  # type: ignore[arg-type]

    def keeping(self: AdaptedFold) -> dict[str, object]:
        ends.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return finish_epoch(self)

    monkeypatch.setattr(AdaptedFold, "train_epoch", looking_first)
    monkeypatch.setattr(AdaptedFold, "finish_epoch", keeping)
    training = trained(experiment, 1, data, adaptation, tmp_path, lambda *_: None)
    kept = read_weights(training.files.weights)
    assert len(ends) == 3
    for name in dict(load_fold(experiment, training.files.weights).named_parameters()):
        assert kept[name] == pytest.approx((ends[1][name] + ends[2][name]) / 2, abs=1e-6), name
    for name in ("scaling.mean", "scaling.std"):
        assert torch.equal(kept[name], own[name]), "the fold's own, not those of the rows"


def test_what_overflows_in_fp16_is_trained_again_in_fp32(
    adaptation: Adaptation, train: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = adapted_experiment(TINY, HOW)
    data = rows_to_train_on(experiment, train, adaptation, tmp_path)
    made: list[str] = []
    run = AdaptedFold.run

    def failing(self: AdaptedFold, *arguments: object) -> None:
        made.append(self.progress.precision)
        if len(made) == 1:
            raise adapted_fold.HalfPrecisionFailed("too large")
        run(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AdaptedFold, "run", failing)
    told: list[str] = []
    training = trained(experiment, 1, data, adaptation, tmp_path, lambda _, line: told.append(str(line)))
    assert made[-1] == "fp32" and training.files.weights.exists() and "  too large. Once more in fp32" in told


def test_a_disk_without_room_is_said_beforehand(tmp_path: Path) -> None:
    with pytest.raises(NotAdapted, match="GB left, the decoded photographs take"):
        adapted_fold._check_room(tmp_path, 1 << 60)


def test_a_spec_that_means_nothing_is_refused() -> None:
    wrong = {"average": (0, 13), "share": (0.0, 1.1), "below_g": (-1.0,), "lr_factor": (0.0,), "pseudo_weight": (0.0,)}
    for field, value in ((field, value) for field, values in wrong.items() for value in values):
        with pytest.raises(predictor.ExperimentError, match=field):
            predictor.TestTimeTraining(**{field: value})  # type: ignore[arg-type]
    made = changed(TINY, {"predict.adapt": HOW, "predict.adapt.epochs": 5})
    assert made.predict.adapt == replace(HOW, epochs=5) and Experiment.from_json(made.as_json()) == made
    assert predictor.predictor_from_json(made.as_json()).predict.adapt == replace(HOW, epochs=5)
    assert TINY.predict.adapt is None


@pytest.mark.parametrize("name", ["first", "density", "fifth"])
def test_the_winners_recipes_learn_the_test_too(
    name: str, train: pd.DataFrame, paths: list[Path], tiny_competition: Path, tmp_path: Path
) -> None:
    """Halves, dense heads, mixing, auxiliary targets and dropped rows, on tiny networks."""
    wants = {"predict.adapt": replace(HOW, epochs=2)}
    experiment = changed(EXPERIMENTS[name], {**tiny_twin(EXPERIMENTS[name]), **wants})
    make_bundle(random_run(tmp_path / "run", experiment, settled=True), tmp_path / "bundle", slug="i2b-tiny-weights")
    recipe = read_recipe(tmp_path / "bundle", read_manifest(tmp_path / "bundle"))
    grams = train[list(TARGETS)].to_numpy(float)[:6] + 1.0
    assert recipe.experiment.predict.adapt is not None
    adaptation = Adaptation(
        recipe=recipe,
        how=recipe.experiment.predict.adapt,
        competition=tiny_competition,
        damaged=frozenset(),
        paths=tuple(paths[:6]),
        values=grams,
        device=CPU,
        threads=1,
        is_miniature=True,
    )
    after = adapted_fold.adapt(adaptation, tmp_path, lambda *_: None)
    assert after.shape == grams.shape and np.isfinite(after).all()

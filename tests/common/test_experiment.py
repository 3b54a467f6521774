"""An experiment: every field does something, nothing unknown is taken, and JSON changes nothing."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kernel_src.common import runs, training
from kernel_src.common.experiment import (
    AUGMENTATIONS,
    CONSTRAINTS,
    HEAD_ACTIVATIONS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    SPLITS,
    TTA_SETS,
    Experiment,
    changed,
    experiment_from_json,
)
from kernel_src.common.experiments import EXPERIMENTS, KERNELS, bundle_slug, kernel_card
from kernel_src.common.files import sha256_of
from kernel_src.common.model import BiomassNet
from kernel_src.common.tables import read_train, target_array
from kernel_src.common.training import train_fold
from tests.common.tiny import CPU, TINY_VIT, fold_data


class Workbench:
    """What the tests of single fields look at."""

    def __init__(self, folder: Path, competition: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.competition, self.monkeypatch = folder, competition, monkeypatch
        self.calls = 0

    def new_folder(self) -> Path:
        self.calls += 1
        folder = self.folder / f"run{self.calls}"
        folder.mkdir()
        return folder

    def train(self) -> pd.DataFrame:
        return read_train(self.competition / "train.csv")


def net(bench: Workbench, experiment: Experiment) -> Any:
    """The layers, and how many numbers they hold."""
    model = BiomassNet(experiment)
    return repr(model), sum(p.numel() for p in model.parameters())


def trained(bench: Workbench, experiment: Experiment) -> Any:
    """The weights that a training ends with, bit by bit."""
    folder = bench.new_folder()
    data = fold_data(12, inner=4 if experiment.inner_folds else 0, size_px=experiment.image_size_px)
    log = train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    return len(log), sha256_of(folder / "fold0.safetensors")


def trained_while_the_inner_fold_gets_worse(bench: Workbench, experiment: Experiment) -> Any:
    worse = iter(range(100))
    bench.monkeypatch.setattr(training, "_inner_loss", lambda *_: float(next(worse)))
    return trained(bench, experiment)


def dealt_out(bench: Workbench, experiment: Experiment) -> Any:
    """Which rows each fold would train on and which would pick its epoch."""
    dealt: list[Any] = []

    def record(experiment: Experiment, fold: int, data: Any, **_: object) -> list[dict[str, Any]]:
        dealt.append((fold, data.photographs.shape, data.train_rows.tolist(), data.inner_rows.tolist()))
        return [{"fold": fold}]

    bench.monkeypatch.setattr(runs, "train_fold", record)
    runs.train_run(
        experiment,
        bench.train(),
        bench.competition,
        device=CPU,
        starting_weights=None,
        folder=bench.new_folder(),
        cache=bench.folder / "cache",
    )
    return dealt


def predicted_out_of_fold(bench: Workbench, experiment: Experiment) -> Any:
    from kernel_src.common.checkpoint import save_tensors

    folder = bench.new_folder()
    grams = target_array(bench.train())
    for fold in range(2):
        save_tensors(folder / f"fold{fold}.safetensors", training.new_model(experiment, grams, None).state_dict())
    oof = runs.predict_out_of_fold(experiment, bench.train(), bench.competition, folder, bench.folder / "cache", CPU)
    return oof.to_csv(float_format="%.4f")


def scored(bench: Workbench, experiment: Experiment) -> Any:
    train = bench.train()
    noise = np.random.default_rng(0).normal(0, 9, (len(train), 5))
    columns = list(train.columns[-5:])
    oof = train.assign(**dict(zip(columns, (train[columns].to_numpy() + noise).T, strict=True)))
    return runs.out_of_fold_r2(experiment, train, oof)


def card(bench: Workbench, experiment: Experiment) -> Any:
    bench.monkeypatch.setitem(EXPERIMENTS, experiment.name, experiment)
    return kernel_card(experiment.name, "train")


def bundled_as(bench: Workbench, experiment: Experiment) -> Any:
    return bundle_slug(experiment.name)


Look = Callable[[Workbench, Experiment], Any]
# Field → what is changed, what else must be so for the field to matter, and where the change must show.
FIELDS: dict[str, tuple[Any, dict[str, Any], Look]] = {
    "name": ("other", {}, bundled_as),
    "backbone": ("test_vit2", {}, net),
    "starting_weights": ("i2b-some-weights", {}, card),
    "image_height_px": (48, {}, dealt_out),
    "image_width_px": (48, {}, dealt_out),
    "head_hidden": ((8, 4), {}, net),
    "head_activation": ("gelu", {}, net),
    "head_dropout": (0.5, {}, trained),
    "split": ("leave_group_out", {}, dealt_out),
    "folds": (3, {}, dealt_out),
    "train_folds": ((1,), {}, dealt_out),
    "split_seed": (1, {}, dealt_out),
    "inner_folds": (2, {}, dealt_out),
    "augmentation": ("none", {}, trained),
    "loss": ("smooth_l1", {}, trained),
    "loss_beta": (0.1, {"loss": "smooth_l1"}, trained),
    "optimizer": ("rmsprop", {}, trained),
    "learning_rate": (2e-3, {}, trained),
    "backbone_learning_rate": (1e-5, {}, trained),
    "weight_decay": (0.5, {}, trained),
    "schedule": ("constant", {}, trained),
    "schedule_epochs": (1, {}, trained),
    "schedule_factor": (0.5, {"schedule": "step", "schedule_epochs": 1}, trained),
    "warmup_epochs": (1, {"schedule": "warmup_cosine"}, trained),
    "epochs": (3, {}, trained),
    "patience_epochs": (1, {"inner_folds": 2, "epochs": 4}, trained_while_the_inner_fold_gets_worse),
    "batch_size": (6, {}, trained),
    "accumulate_steps": (2, {}, trained),
    "clip_norm": (0.01, {"optimizer": "rmsprop"}, trained),
    "seed": (1, {}, trained),
    "tta": ("none", {}, predicted_out_of_fold),
    "constraint": ("biological", {}, scored),
    "machine_shape": ("NvidiaL4", {}, card),
}


def test_every_field_has_a_test_that_changing_it_changes_something() -> None:
    assert set(FIELDS) == {field.name for field in fields(Experiment)}, "write down above where the new field shows"


@pytest.mark.parametrize("field", FIELDS)
def test_changing_a_field_changes_what_is_computed(
    field: str, tmp_path: Path, tiny_competition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Winners' scars: keys in a configuration that nothing reads."""
    value, surroundings, look = FIELDS[field]
    base = replace(TINY_VIT, **surroundings)
    assert getattr(base, field) != value
    bench = Workbench(tmp_path, tiny_competition, monkeypatch)
    before = look(bench, base)
    assert look(bench, base) == before, "otherwise any difference would prove nothing"
    assert look(bench, replace(base, **{field: value})) != before


# Refusals


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("head_activation", HEAD_ACTIVATIONS),
        ("loss", LOSSES),
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("split", SPLITS),
        ("augmentation", AUGMENTATIONS),
        ("tta", TTA_SETS),
        ("constraint", CONSTRAINTS),
    ],
)
def test_each_allowed_word_is_taken_and_an_unknown_one_refused_with_the_list(
    field: str, words: tuple[str, ...]
) -> None:
    for word in words:
        assert getattr(replace(TINY_VIT, **{field: word}), field) == word
    with pytest.raises(ValueError, match=f"tiny-vit: {field}='bogus' is not one of {', '.join(words)}"):
        replace(TINY_VIT, **{field: "bogus"})


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"accumulate_steps": 0},
        {"image_width_px": -1},
        {"folds": 1},
        {"inner_folds": 1},
        {"inner_folds": -2},
        {"head_dropout": 1.0},
        {"learning_rate": 0.0},
        {"loss_beta": 0.0},
    ],
)
def test_a_number_out_of_range_is_refused_by_field_and_value(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=f"tiny-vit: .*{name}={changes[name]}"):
        replace(TINY_VIT, **changes)


def test_patience_without_an_inner_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="patience_epochs needs inner_folds"):
        replace(TINY_VIT, patience_epochs=3)


# JSON


@pytest.mark.parametrize("experiment", [*EXPERIMENTS.values(), TINY_VIT], ids=lambda e: e.name)
def test_an_experiment_goes_through_json_unchanged(experiment: Experiment) -> None:
    assert experiment_from_json(json.loads(json.dumps(experiment.as_json()))) == experiment


def test_a_field_that_does_not_exist_is_refused_from_json_and_from_changes() -> None:
    with pytest.raises(ValueError, match="unknown fields lerning_rate: misspelt, or written by a newer kit"):
        experiment_from_json(TINY_VIT.as_json() | {"lerning_rate": 1.0})
    with pytest.raises(ValueError, match="unknown fields epoch:"):
        changed(TINY_VIT, {"epoch": 3})


def test_changes_replace_only_what_they_name_and_lists_become_tuples() -> None:
    assert changed(TINY_VIT, {"head_hidden": [4, 2]}) == replace(TINY_VIT, head_hidden=(4, 2))
    assert changed(TINY_VIT, {}) == TINY_VIT
    with pytest.raises(ValueError, match="epochs=0"):
        changed(TINY_VIT, {"epochs": 0})


# The list


def test_the_list_holds_v1_and_demo_under_their_own_names() -> None:
    assert {"v1", "demo"} <= set(EXPERIMENTS)
    assert all(name == experiment.name for name, experiment in EXPERIMENTS.items())


def test_v1_is_the_row_of_the_seeds_table() -> None:
    v1 = EXPERIMENTS["v1"]
    assert (v1.backbone, v1.head_hidden, v1.head_activation, v1.head_dropout) == ("resnet34", (256,), "relu", 0.3)
    assert v1.image_size_px == (512, 512) and v1.augmentation == "moderate"
    assert (v1.loss, v1.optimizer, v1.learning_rate, v1.weight_decay) == ("mse", "adamw", 1e-4, 1e-4)
    assert (v1.schedule, v1.epochs, v1.batch_size, v1.patience_epochs) == ("cosine", 50, 16, 10)
    assert len(v1.train_folds) == 1 and v1.folds == 5, "one hold-out of 20 %"


def test_the_cards_list_what_each_notebook_mounts() -> None:
    assert set(KERNELS) == {"train", "infer"}
    for name, experiment in EXPERIMENTS.items():
        training_card, inference_card = (kernel_card(name, kernel) for kernel in KERNELS)
        assert training_card.datasets == ((experiment.starting_weights,) if experiment.starting_weights else ())
        assert training_card.parameters == {"EXPERIMENT": name}
        assert inference_card.datasets == tuple(inference_card.parameters["BUNDLES"]) == (f"i2b-{name}-weights",)
        assert training_card.competitions == inference_card.competitions == ("csiro-biomass",)
    with pytest.raises(KeyError, match="'blend' is not one of train, infer"):
        kernel_card("v1", "blend")
    with pytest.raises(KeyError, match="v99"):
        kernel_card("v99", "train")

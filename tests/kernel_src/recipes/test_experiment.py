"""An experiment: every field does something, nothing unknown is taken, and JSON changes nothing."""

import ast
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from kernel_src.bundle.bundles import framings_of
from kernel_src.competition.tables import read_train, target_array
from kernel_src.data.images import picture_tensor, read_rgb, resize_rgb
from kernel_src.models.frozen_features import FrozenFeatures
from kernel_src.models.model import BiomassNet
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.experiment import SPREADS, Experiment
from kernel_src.recipes.experiments import EXPERIMENTS, changed
from kernel_src.recipes.kernel_cards import bundle_slug, kernel_card
from kernel_src.recipes.network import DEPTH_FUSIONS, DEPTH_VIEWS, PRECISIONS
from kernel_src.recipes.predictor import CONSTRAINTS, TTA_SETS
from kernel_src.recipes.training_data import AUGMENTATIONS, PseudoLabels
from kernel_src.runtime.files import sha256_of
from kernel_src.training import runs, training
from kernel_src.training.checkpoint import save_tensors
from kernel_src.training.launch import fold_rounds
from kernel_src.training.session import session_of
from kernel_src.training.training import train_fold
from kernel_src.training.training_data import training_table
from tests.kernel_src.data.test_external import write_grassclover
from tests.kernel_src.tiny import CPU, TINY_VIT, fold_data
from tests.tiny_depth import write_tiny_depth

ROOT = Path(__file__).resolve().parents[3]


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


Look = Callable[[Workbench, Experiment], Any]


def net(bench: Workbench, experiment: Experiment) -> Any:
    """The layers, and how many numbers they hold."""
    model = BiomassNet(experiment)
    return repr(model), sum(p.numel() for p in model.parameters())


def kept_for_the_backward_pass(bench: Workbench, experiment: Experiment) -> Any:
    """How many numbers a training step keeps in memory."""
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        BiomassNet(experiment).train()(torch.zeros(2, 3, *experiment.pictures.canvas_px))
    return sum(kept)


def trained(bench: Workbench, experiment: Experiment) -> Any:
    """The weights that a training ends with, bit by bit."""
    folder = bench.new_folder()
    data = fold_data(12, inner=4 if experiment.inner_folds else 0, size_px=experiment.pictures.canvas_px)
    log = train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    return len(log), sha256_of(folder / "fold0.safetensors")


def trained_while_the_inner_fold_gets_worse(bench: Workbench, experiment: Experiment) -> Any:
    worse = iter(range(100))
    bench.monkeypatch.setattr(training, "inner_loss", lambda *_: float(next(worse)))
    return trained(bench, experiment)


def trained_where_fp16_is_fast(bench: Workbench, experiment: Experiment) -> Any:
    """The weights of a training on a CPU that stands for a GPU."""
    folder = bench.new_folder()
    data = fold_data(12, size_px=experiment.pictures.canvas_px)
    train_fold(experiment, 0, data, device=replace(CPU, half=True), starting_weights=None, folder=folder)
    return sha256_of(folder / "fold0.safetensors")


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


def trained_with_pseudo_labels(bench: Workbench, experiment: Experiment) -> Any:
    folder, data = bench.new_folder(), fold_data(12)
    data = replace(data, pseudo=np.arange(12) >= 8)
    train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    return sha256_of(folder / "fold0.safetensors")


def predicted_with_depth(bench: Workbench, experiment: Experiment) -> Any:
    """The out-of-fold predictions of two random nets beside a random depth model."""
    folder, depth = bench.new_folder(), write_tiny_depth(bench.new_folder())
    for fold in range(2):
        model = training.new_model(experiment, target_array(bench.train()), None)
        save_tensors(folder / f"fold{fold}.safetensors", model.state_dict())
    oof = runs.predict_out_of_fold(
        experiment, bench.train(), bench.competition, folder, bench.folder / "cache", CPU, depth_folder=depth
    )
    return oof.to_csv(float_format="%.6f")


def external_grams(bench: Workbench, experiment: Experiment) -> Any:
    folder = write_grassclover(bench.new_folder())
    return target_array(training_table(experiment, bench.train(), folder, None).rows).tolist()


def call_in_the_training_kernel(function: str) -> Look:
    """The very call that kernels/train.py makes, with everything but the experiment stood in for."""

    def look(bench: Workbench, experiment: Experiment) -> Any:
        tree = ast.parse((ROOT / "kernel_src/kernels/train.py").read_text(encoding="utf-8"))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == function]
        assert calls, f"the kernel does not call {function}"
        stand_ins = {
            "experiment": experiment,
            "todo": [0, 1],
            "device": replace(CPU, count=2),
            "session_start_s": 0.0,
            "fold_rounds": fold_rounds,
            "session_of": session_of,
        }
        return [eval(compile(ast.Expression(call), "train.py", "eval"), stand_ins) for call in calls]

    return look


def card(bench: Workbench, experiment: Experiment) -> Any:
    bench.monkeypatch.setitem(EXPERIMENTS, experiment.name, experiment)
    return kernel_card(experiment.name, "train")


def bundled_as(bench: Workbench, experiment: Experiment) -> Any:
    return bundle_slug(experiment.name)


def seen_by_a_regressor(bench: Workbench, experiment: Experiment) -> Any:
    """The frozen features of one photograph by random weights, and their shape."""
    torch.manual_seed(0)
    framings = framings_of(experiment, preprocessing_of(experiment.encoder.timm))
    photograph = read_rgb(sorted((bench.competition / "train").iterdir())[0])
    pictures = [picture_tensor(resize_rgb(photograph, one))[None].float() / 255 for one in framings]
    with torch.inference_mode():
        return FrozenFeatures(experiment)(*pictures).tolist()


FROZEN = {"starting_weights": "i2b-test-vit", "feature_poolings": ("mean",)}

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
    "frozen_groups": (1, {}, trained),
    "gradient_checkpointing": (True, {}, kept_for_the_backward_pass),
    "feature_poolings": (("max",), FROZEN, seen_by_a_regressor),
    "feature_layers": ((2,), FROZEN, seen_by_a_regressor),
    "feature_parts": (("left",), FROZEN, seen_by_a_regressor),
    "feature_heights_px": ((64,), FROZEN, seen_by_a_regressor),
    "depth": ("i2b-depth-anything", {}, net),
    "depth_fusion": ("add", {"depth": "i2b-depth-anything"}, net),
    "depth_channels": (2, {"depth": "i2b-depth-anything"}, net),
    "depth_views": ("exact", {"depth": "i2b-depth-anything"}, predicted_with_depth),
    "split": ("leave_group_out", {}, dealt_out),
    "folds": (3, {}, dealt_out),
    "train_folds": ((1,), {}, dealt_out),
    "split_seed": (1, {}, dealt_out),
    "inner_folds": (2, {}, dealt_out),
    "augmentation": ("none", {}, trained),
    "external_data": ("i2b-grassclover", {}, card),
    "external_area_factor": (1.0, {"external_data": "i2b-grassclover"}, external_grams),
    "pseudo_labels": ("i2b-tiny-pseudo-labels", {"pseudo_weight": 0.25}, card),
    "pseudo_weight": (0.5, {"pseudo_weight": 0.25}, trained_with_pseudo_labels),
    "loss": ("smooth_l1", {}, trained),
    "loss_beta": (0.1, {"loss": "smooth_l1"}, trained),
    "constraint_weight": (1.0, {}, trained),
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
    "ema_decay": (0.9, {}, trained),
    "precision": ("fp32", {}, trained_where_fp16_is_fast),
    "seed": (1, {}, trained),
    "tta": ("none", {}, predicted_out_of_fold),
    "constraint": ("biological", {}, scored),
    "machine_shape": ("NvidiaL4", {}, card),
    "spread": ("batch", {}, call_in_the_training_kernel("fold_rounds")),
    "session_limit_s": (3600.0, {}, call_in_the_training_kernel("session_of")),
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
        ("depth_fusion", DEPTH_FUSIONS),
        ("depth_views", DEPTH_VIEWS),
        ("spread", SPREADS),
        ("precision", PRECISIONS),
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
        {"depth_channels": 3},
        {"frozen_groups": -1},
        {"clip_norm": -1.0},
        {"weight_decay": -0.1},
        {"backbone_learning_rate": -1e-5},
        {"warmup_epochs": -1},
        {"constraint_weight": -1.0},
        {"pseudo_weight": float("inf")},
        {"session_limit_s": -5.0},
        {"ema_decay": 1.0},
        {"external_area_factor": 0.0},
    ],
)
def test_a_number_out_of_range_is_refused_by_field_and_value(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=f"tiny-vit: .*{name}={changes[name]}"):
        replace(TINY_VIT, **changes)


def test_patience_without_an_inner_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="patience_epochs needs inner_folds"):
        changed(TINY_VIT, {"keep.patience": 3})


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
    assert changed(TINY_VIT, {"head_hidden": [4, 2]}) == changed(TINY_VIT, {"head.hidden": (4, 2)})
    assert changed(TINY_VIT, {}) == TINY_VIT
    with pytest.raises(ValueError, match="epochs=0"):
        changed(TINY_VIT, {"epochs": 0})


def test_pseudo_labels_that_would_weigh_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="tiny-vit: pseudo_labels='i2b-labels' needs a pseudo_weight"):
        changed(TINY_VIT, {"data.pseudo": PseudoLabels("i2b-labels")})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feature_poolings": ("median",)}, "feature_poolings: 'median' is not one of own, cls, mean"),
        ({"feature_parts": ("middle",)}, "feature_parts: 'middle' is not one of whole, left, right, top, bottom"),
        ({"feature_layers": (1, 1)}, r"feature_layers=\(1, 1\) names something twice"),
        ({"feature_layers": (0,)}, r"feature_layers=\(0,\) count from 1, the last"),
        ({"feature_parts": ()}, r"feature_parts=\(\) name one at least"),
        ({"feature_heights_px": (-14,)}, "feature_heights_px=-14 gives no whole width"),
        ({"image_width_px": 777, "feature_heights_px": (518, 259)}, "feature_heights_px=259 gives no whole width"),
        ({"starting_weights": ""}, "frozen features of random weights are none"),
        ({"depth": "i2b-depth-anything-v2-small"}, "frozen features know no depth='i2b-depth-anything-v2-small'"),
    ],
)
def test_frozen_features_that_cannot_be_meant_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(EXPERIMENTS["frozen_dinov2"], **changes)

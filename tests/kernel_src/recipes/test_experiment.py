"""An experiment: every field of every part of it does something, and so does every alternative."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import torch

from build.weights.describe import describe
from kernel_src.bundle.bundles import framings_of
from kernel_src.competition import choice
from kernel_src.competitions.biomass.tables import read_train, target_array
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.held_rules import rules
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from kernel_src.data.images import picture_tensor, read_rgb, resize_rgb
from kernel_src.inference.adapted_fold import adapted_experiment
from kernel_src.models.frozen_features import FrozenFeatures
from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes import predictor
from kernel_src.recipes.changes import changed, known_paths
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import (
    EMA,
    SWA,
    AdamW,
    Batch,
    Bins,
    Classify,
    Constant,
    Cosine,
    CrossEntropy,
    InnerFold,
    Last,
    Regress,
    RMSprop,
    SmoothL1,
    Steps,
    WarmupCosine,
)
from kernel_src.recipes.network import DenseHead, Depth, FirstGroups, FirstShare, Inputs, PooledHead, RegressorHead
from kernel_src.recipes.pictures import HALVES, Attention, Mean, SideBySide, Sum
from kernel_src.recipes.predictor import Predictor
from kernel_src.recipes.spec import Spec, field_types, kinds_of
from kernel_src.recipes.training_data import (
    CutMix,
    External,
    GroupSplit,
    LeaveGroupOut,
    Mixup,
    PseudoLabels,
    StratifiedGroupSplit,
    TokenMix,
)
from kernel_src.runtime.files import sha256_of
from kernel_src.training import runs, training
from kernel_src.training.checkpoint import save_tensors
from kernel_src.training.launch import fold_rounds
from kernel_src.training.session import session_of
from kernel_src.training.training import train_fold
from kernel_src.training.training_data import training_table
from tests.kernel_src.competitions.biomass.test_external import write_grassclover
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
    model = BackboneNet(experiment)
    return repr(model), sum(p.numel() for p in model.parameters())


def kept_for_the_backward_pass(bench: Workbench, experiment: Experiment) -> Any:
    """How many numbers a training step keeps in memory."""
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        BackboneNet(experiment).train()(torch.zeros(2, 3, *experiment.pictures.canvas_px))
    return sum(kept)


def trained(bench: Workbench, experiment: Experiment) -> Any:
    """The weights that a training ends with, bit by bit."""
    folder = bench.new_folder()
    data = fold_data(12, inner=4 if experiment.keep.picks_epoch else 0, size_px=experiment.pictures.canvas_px)
    log = train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    return len(log), sha256_of(folder / "fold0.safetensors")


def net_of_paws(bench: Workbench, experiment: Experiment) -> Any:
    """The layers in a competition whose tables have numbers for a network."""
    bench.monkeypatch.setattr(choice, "_chosen", ["paws"])
    return net(bench, experiment)


def trained_on_classes(bench: Workbench, experiment: Experiment) -> Any:
    """The weights of a training in a competition of ten classes."""
    bench.monkeypatch.setattr(choice, "_chosen", ["leaf"])
    data = replace(fold_data(12), values=np.eye(10)[np.arange(12) % 10])
    folder = bench.new_folder()
    train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    return sha256_of(folder / "fold0.safetensors")


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
    """Which photographs each fold would be shown, which rows it would train on and which would pick its epoch."""
    dealt: list[Any] = []

    def record(experiment: Experiment, fold: int, data: Any, **_: object) -> list[dict[str, Any]]:
        shown = (data.photographs.shape, int(data.photographs.sum(dtype=np.int64)))
        dealt.append((fold, shown, data.train_rows.tolist(), data.inner_rows.tolist()))
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


def dealt_out_with_a_wrong_row(bench: Workbench, experiment: Experiment) -> Any:
    """The same, of a table with one photograph whose Total is not the sum of its parts."""
    train = bench.train()
    bench.monkeypatch.setattr(
        bench, "train", lambda: train.assign(Dry_Total_g=train["Dry_Total_g"] + (train.index == 0))
    )
    return dealt_out(bench, experiment)


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
    return runs.out_of_fold_score(experiment, train, oof)


def trained_with_columns(bench: Workbench, experiment: Experiment) -> Any:
    """The weights of a training on rows with the other columns of train.csv."""
    folder, random = bench.new_folder(), np.random.default_rng(5)
    columns = {"Height_Ave_cm": random.normal(9, 3, 12), "Pre_GSHH_NDVI": random.normal(0.6, 0.1, 12)}
    columns |= {
        "State": np.array(["NSW", "Tas", "WA"])[np.arange(12) % 3],
        "Species": np.array(list("abcde"))[np.arange(12) % 5],
    }
    data = replace(fold_data(12), columns=columns)
    train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    return sha256_of(folder / "fold0.safetensors")


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


def counted(bench: Workbench, experiment: Experiment) -> Any:
    """What the network is made of."""
    return describe(experiment).layers


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


def learnt_from_the_test(bench: Workbench, experiment: Experiment) -> Any:
    """How the test is learnt: the training's settings, the labels, and what of it goes into the submission."""
    how = experiment.predict.adapt
    if how is None:
        return None
    small = np.array([[0.3, 0.1, 0.1, 0.4, 0.5]])
    return adapted_experiment(experiment, how).as_json(), rules().pseudo_labels(small, how.below_g).tolist(), how.share


# A frozen experiment may have nothing that only training reads.
FROZEN = {
    "encoder.weights": "i2b-test-vit",
    "head": RegressorHead(("mean",)),
    "optimizer": AdamW(),
    "schedule": Cosine(),
    "batch": Batch(),
}
DEPTH = {"depth": Depth("i2b-depth-anything")}
DENSE = {"head": DenseHead((8,))}
JOINED = {"pictures.parts": HALVES, "pictures.join": SideBySide()}
PICKING = {"keep": InnerFold(2), "schedule.epochs": 4}
PSEUDO = {"data.pseudo": PseudoLabels("i2b-tiny-pseudo-labels")}
GRASSCLOVER = {"data.external": External("i2b-grassclover")}

Case = tuple[dict[str, Any], dict[str, Any], Look]
# Field, under the class that declares it → what is changed, what else must be so for it to matter, and where the change
# must show.
ADAPTED = {"predict.adapt": predictor.TestTimeTraining()}
FIELDS: dict[str, Case] = {
    "name": ({"name": "other"}, {}, bundled_as),
    "depth": (DEPTH, {}, net),
    "seed": ({"seed": 1}, {}, trained),
    "inputs": ({"inputs": Inputs()}, {}, net_of_paws),
    "Inputs.columns": ({"inputs.columns": ("Eyes",)}, {"inputs": Inputs()}, net_of_paws),
    "CrossEntropy.smoothing": ({"loss.smoothing": 0.1}, {"loss": CrossEntropy()}, trained_on_classes),
    # The network
    "Encoder.timm": ({"encoder.timm": "test_vit2"}, {}, net),
    "Encoder.weights": ({"encoder.weights": "i2b-some-weights"}, {}, card),
    "Encoder.layers": ({"encoder.layers": (2,)}, {"head.pool": ("mean",)}, trained),
    "Encoder.layers, frozen": ({"encoder.layers": (2,)}, FROZEN, seen_by_a_regressor),
    "Encoder.checkpointing": ({"encoder.checkpointing": True}, {}, kept_for_the_backward_pass),
    "Encoder.precision": ({"encoder.precision": "fp32"}, {}, trained_where_fp16_is_fast),
    "FirstGroups.groups": ({"encoder.freeze.groups": 2}, {"encoder.freeze": FirstGroups(1)}, trained),
    "FirstShare.share": ({"encoder.freeze.share": 0.9}, {"encoder.freeze": FirstShare(0.2)}, trained),
    "Depth.weights": ({"depth.weights": "i2b-other-depth"}, DEPTH, card),
    "Depth.fusion": ({"depth.fusion": "add"}, DEPTH, net),
    "Depth.channels": ({"depth.channels": 2}, DEPTH, net),
    "Depth.views": ({"depth.views": "exact"}, DEPTH, predicted_with_depth),
    "Perceptron.hidden": ({"head.hidden": (8, 4)}, {}, net),
    "Perceptron.activation": ({"head.activation": "gelu"}, {}, net),
    "Perceptron.dropout": ({"head.dropout": 0.5}, {}, trained),
    "Perceptron.targets": ({"head.targets": "shares"}, {"head.targets": "components"}, trained),
    "PooledHead.pool": ({"head.pool": ("max",)}, {"head.pool": ("mean",)}, trained),
    "DenseHead.hidden": ({"head.hidden": (8, 4)}, DENSE, net),
    "DenseHead.dropout": ({"head.dropout": 0.5}, DENSE, trained),
    # Of a whole photograph both are the same; a crop weighs less and is as dense.
    "DenseHead.reduce": ({"head.reduce": "mean"}, DENSE | {"augment.crop": (0.3, 0.5), "augment.crop_p": 1.0}, trained),
    "DenseHead.targets": ({"head.targets": "shares"}, DENSE, trained),
    "RegressorHead.pool": ({"head.pool": ("max",)}, FROZEN, seen_by_a_regressor),
    # Pictures
    "Pictures.height_px": ({"pictures.height_px": 48}, {}, dealt_out),
    "Pictures.width_px": ({"pictures.width_px": 48}, {}, dealt_out),
    "Pictures.parts": ({"pictures.parts": ("left",)}, {}, predicted_out_of_fold),
    "Pictures.parts, frozen": ({"pictures.parts": ("left",)}, FROZEN, seen_by_a_regressor),
    "Pictures.scales": ({"pictures.scales": (0.5,)}, {}, predicted_out_of_fold),
    "Pictures.scales, frozen": ({"pictures.scales": (2.0,)}, FROZEN, seen_by_a_regressor),
    "Pictures.crop_bottom": ({"pictures.crop_bottom": 0.2}, {}, dealt_out),
    "Pictures.crop_bottom, frozen": ({"pictures.crop_bottom": 0.2}, FROZEN, seen_by_a_regressor),
    "Attention.heads": ({"pictures.join.heads": 2}, JOINED | {"pictures.join": Attention(4)}, trained),
    # Prediction
    "Predict.tta": ({"predict.tta": "none"}, {}, predicted_out_of_fold),
    "Predict.constraint": ({"predict.constraint": "biological"}, {}, scored),
    "Predict.adapt": ({"predict.adapt": predictor.TestTimeTraining()}, {}, learnt_from_the_test),
    "TestTimeTraining.epochs": ({"predict.adapt.epochs": 9}, ADAPTED, learnt_from_the_test),
    "TestTimeTraining.average": ({"predict.adapt.average": 2}, ADAPTED, learnt_from_the_test),
    "TestTimeTraining.share": ({"predict.adapt.share": 0.5}, ADAPTED, learnt_from_the_test),
    "TestTimeTraining.below_g": ({"predict.adapt.below_g": 1.0}, ADAPTED, learnt_from_the_test),
    "TestTimeTraining.pseudo_weight": ({"predict.adapt.pseudo_weight": 0.5}, ADAPTED, learnt_from_the_test),
    "TestTimeTraining.lr_factor": ({"predict.adapt.lr_factor": 0.2}, ADAPTED, learnt_from_the_test),
    # Rows
    "GroupSplit.folds": ({"data.split.folds": 3}, {}, dealt_out),
    "GroupSplit.seed": ({"data.split.seed": 1}, {}, dealt_out),
    "Data.train_folds": ({"data.train_folds": (1,)}, {}, dealt_out),
    "Data.drop": ({"data.drop": ("broken_identity",)}, {}, dealt_out_with_a_wrong_row),
    "Data.external": (GRASSCLOVER, {}, card),
    "External.dataset": ({"data.external.dataset": "i2b-other"}, GRASSCLOVER, card),
    "External.area_factor": ({"data.external.area_factor": 1.0}, GRASSCLOVER, external_grams),
    "Data.pseudo": (PSEUDO, {}, card),
    "PseudoLabels.dataset": ({"data.pseudo.dataset": "i2b-other"}, PSEUDO, card),
    "PseudoLabels.weight": ({"data.pseudo.weight": 0.5}, PSEUDO, trained_with_pseudo_labels),
    # Augmentation
    "Augment.preset": ({"augment.preset": "none"}, {}, trained),
    "Augment.rescale": (
        {"augment.rescale": (0.5, 0.7)},
        {"augment.rescale": (0.9, 1.0), "augment.rescale_p": 1.0},
        trained,
    ),
    "Augment.rescale_p": ({"augment.rescale_p": 1.0}, {"augment.rescale": (0.5, 0.7)}, trained),
    "Augment.pad": ({"augment.pad": "reflect"}, {"augment.rescale": (0.5, 0.7), "augment.rescale_p": 1.0}, trained),
    "Augment.crop": ({"augment.crop": (0.3, 0.5)}, {}, trained),
    "Augment.crop_p": ({"augment.crop_p": 1.0}, {"augment.crop": (0.3, 0.5)}, trained),
    "Augment.stamps_p": ({"augment.stamps_p": 1.0}, {}, trained),
    "Augment.spots_p": ({"augment.spots_p": 1.0}, {}, trained),
    "Mix.p": ({"augment.mix.p": 0.9}, {"augment.mix": CutMix(0.2)}, trained),
    "CutMix.alpha": ({"augment.mix.alpha": 0.1}, {"augment.mix": CutMix(1.0)}, trained),
    "Mixup.alpha": ({"augment.mix.alpha": 0.1}, {"augment.mix": Mixup(1.0)}, trained),
    "TokenMix.alpha": ({"augment.mix.alpha": 0.1}, DENSE | {"augment.mix": TokenMix(1.0)}, trained),
    # Learning
    "Loss.identities": ({"loss.identities": 1.0}, {}, trained),
    "SmoothL1.beta": ({"loss.beta": 0.1}, {"loss": SmoothL1()}, trained),
    "SmoothL1.weights": ({"loss.weights": "metric"}, {"loss": SmoothL1()}, trained),
    "Bins.count": ({"auxiliary": (Bins(4),)}, {"auxiliary": (Bins(3),)}, trained_with_columns),
    "Bins.weight": ({"auxiliary": (Bins(3, 0.5),)}, {"auxiliary": (Bins(3),)}, trained_with_columns),
    "Regress.column": (
        {"auxiliary": (Regress("Pre_GSHH_NDVI"),)},
        {"auxiliary": (Regress("Height_Ave_cm"),)},
        trained_with_columns,
    ),
    "Regress.weight": (
        {"auxiliary": (Regress("Height_Ave_cm", 0.5),)},
        {"auxiliary": (Regress("Height_Ave_cm"),)},
        trained_with_columns,
    ),
    "Classify.column": (
        {"auxiliary": (Classify("Species"),)},
        {"auxiliary": (Classify("State"),)},
        trained_with_columns,
    ),
    "Classify.weight": (
        {"auxiliary": (Classify("State", 0.5),)},
        {"auxiliary": (Classify("State"),)},
        trained_with_columns,
    ),
    "Optimizer.lr": ({"optimizer.lr": 2e-3}, {}, trained),
    "Optimizer.backbone_lr": ({"optimizer.backbone_lr": 1e-5}, {}, trained),
    "Optimizer.layer_decay": ({"optimizer.layer_decay": 0.5}, {}, trained),
    "Optimizer.weight_decay": ({"optimizer.weight_decay": 0.5}, {}, trained),
    "Optimizer.clip_norm": ({"optimizer.clip_norm": 0.01}, {"optimizer": "RMSprop"}, trained),
    "Schedule.epochs": ({"schedule.epochs": 3}, {}, trained),
    "Cosine.length": ({"schedule.length": 1}, {}, trained),
    "WarmupCosine.warmup": ({"schedule.warmup": 0}, {"schedule": WarmupCosine(epochs=2, warmup=1)}, trained),
    "Steps.every": ({"schedule.every": 2}, {"schedule": Steps(epochs=2, every=1)}, trained),
    "Steps.factor": ({"schedule.factor": 0.5}, {"schedule": Steps(epochs=2, every=1)}, trained),
    "Batch.size": ({"batch.size": 6}, {}, trained),
    "Batch.accumulate": ({"batch.accumulate": 2}, {}, trained),
    "EMA.decay": ({"keep.decay": 0.1}, {"keep": EMA(0.9)}, trained),  # of the first steps little is kept anyway
    "SWA.start": ({"keep.start": 0.0}, {"keep": SWA(0.75), "schedule.epochs": 4}, trained),
    "InnerFold.folds": ({"keep.folds": 3}, {"keep": InnerFold(2)}, dealt_out),
    "InnerFold.patience": ({"keep.patience": 1}, PICKING, trained_while_the_inner_fold_gets_worse),
    "InnerFold.of": ({"keep.of": EMA(0.5)}, PICKING, trained),
    "InnerFold.mean_of": ({"keep.mean_of": 2}, PICKING, trained),
    # The machine
    "Machine.shape": ({"machine.shape": "NvidiaL4"}, {}, card),
    "Machine.spread": ({"machine.spread": "batch"}, {}, call_in_the_training_kernel("fold_rounds")),
    "Machine.limit_s": ({"machine.limit_s": 3600.0}, {}, call_in_the_training_kernel("session_of")),
}

# Field with a choice → its path, all alternatives, what else must be so, and where each must show.
CHOICES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], Look]] = {
    "head": ("head", (PooledHead((8,)), DenseHead((8,)), RegressorHead(("mean",))), FROZEN, counted),
    "Encoder.freeze": ("encoder.freeze", (None, FirstGroups(1), FirstShare(0.9)), {}, trained),
    "Pictures.join": ("pictures.join", (Sum(), Mean(), SideBySide(), Attention(4)), JOINED, trained),
    "Data.split": ("data.split", (GroupSplit(3), StratifiedGroupSplit(3), LeaveGroupOut()), {}, dealt_out),
    "Augment.mix": ("augment.mix", (None, CutMix(1.0), Mixup(1.0), TokenMix(1.0)), DENSE, trained),
    "loss": (
        "loss",
        ("SquaredError", "SmoothL1", "MetricSquaredError", "BatchR2", "Log1pError", "SqrtError", "Uncertainty"),
        {},
        trained,
    ),
    "auxiliary": (
        "auxiliary",
        ((), (Bins(3),), (Regress("Height_Ave_cm"),), (Classify("State"),)),
        {},
        trained_with_columns,
    ),
    "optimizer": ("optimizer", (AdamW(lr=1e-3), RMSprop(lr=1e-3)), {}, trained),
    "schedule": (
        "schedule",
        (Constant(epochs=2), Cosine(epochs=2), WarmupCosine(epochs=2, warmup=1), Steps(epochs=2, every=1)),
        {},
        trained,
    ),
    "keep": ("keep", (Last(), EMA(0.5), SWA(0.5), InnerFold(2)), {"schedule.epochs": 4}, trained),
}


def options(kind: Any) -> Iterator[Any]:
    """The types that a field takes; of a list those of its items."""
    for option in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        yield get_args(option)[0] if get_origin(option) is tuple else option


def places() -> tuple[set[str], dict[str, set[str]]]:
    """Every field that holds a value of its own, and the alternatives of every field that has some."""
    found: set[str] = set()
    alternatives: dict[str, set[str]] = {}
    waiting: list[type[Spec]] = [Experiment]
    while waiting:
        cls = waiting.pop()
        for name, kind in field_types(cls).items():
            owner = next(c for c in cls.__mro__ if name in vars(c).get("__annotations__", {}))
            key = name if owner in (Experiment, Predictor) else f"{owner.__name__}.{name}"
            specs = [one for one in options(kind) if isinstance(one, type) and issubclass(one, Spec)]
            below = [one for base in specs for one in kinds_of(base).values()]
            if key not in found | alternatives.keys():
                waiting += below
            if any(base.abstract for base in specs):
                alternatives[key] = {one.__name__ for one in below}
            elif not specs or NoneType in options(kind):
                found.add(key)
    return found, alternatives


def kind_of(value: Any) -> str:
    one = value[0] if isinstance(value, tuple) and value else value
    return one if isinstance(one, str) else type(one).__name__


def test_every_field_and_every_alternative_has_a_test_that_it_changes_something() -> None:
    found, alternatives = places()
    nested = {"InnerFold.of"}  # the alternatives are those of `keep`
    assert found | nested == {key.partition(",")[0] for key in FIELDS}, "write down above where the new field shows"
    assert alternatives.keys() - nested == CHOICES.keys()
    for key, (_, values, *_) in CHOICES.items():
        # CrossEntropy is for competitions of classes only: the field CrossEntropy.smoothing shows that it is used.
        assert {kind_of(value) for value in values} - {"NoneType", "tuple"} == alternatives[key] - {"CrossEntropy"}
    tried = {path for changes, *_ in FIELDS.values() for path in changes} | {path for path, *_ in CHOICES.values()}
    inside = {path for path in known_paths() if any(other.startswith(f"{path}.") for other in known_paths())}
    untouched = known_paths().keys() - tried - inside
    assert {path for path in untouched if not path.startswith("keep.of.")} == set()


@pytest.mark.parametrize("field", FIELDS)
def test_changing_a_field_changes_what_is_computed(
    field: str, tmp_path: Path, tiny_competition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Winners' scars: keys in a configuration that nothing reads."""
    changes, surroundings, look = FIELDS[field]
    base = changed(TINY_VIT, surroundings)
    other = changed(base, changes)
    assert other != base
    bench = Workbench(tmp_path, tiny_competition, monkeypatch)
    before = look(bench, base)
    assert look(bench, base) == before, "otherwise any difference would prove nothing"
    assert look(bench, other) != before


@pytest.mark.parametrize("field", CHOICES)
def test_every_alternative_is_another_computation(
    field: str, tmp_path: Path, tiny_competition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, values, surroundings, look = CHOICES[field]
    bench = Workbench(tmp_path, tiny_competition, monkeypatch)
    looks = [look(bench, changed(TINY_VIT, {**surroundings, path: value})) for value in values]
    assert look(bench, changed(TINY_VIT, {**surroundings, path: values[0]})) == looks[0]
    for number, (value, one) in enumerate(zip(values, looks, strict=True)):
        assert one not in looks[:number], f"{value} computes what another computes"

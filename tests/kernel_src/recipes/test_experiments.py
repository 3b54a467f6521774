"""The list of experiments: each version of the seed is its row of the table."""

from typing import Any

import pytest

from kernel_src.recipes.ensembles import ENSEMBLES
from kernel_src.recipes.experiment import (
    Experiment,
)
from kernel_src.recipes.experiments import EXPERIMENTS, SEED_PUBLIC_R2
from kernel_src.recipes.tuned_experiments import TUNED

TRAINED = [experiment for experiment in EXPERIMENTS.values() if not experiment.is_frozen]


def test_the_list_holds_every_version_of_the_seed_under_its_own_name() -> None:
    wanted = {"demo", "v1", "v2", "v3", "v4", "v5", "v5_componly", "v7", "v8"}
    tried = {"siglip", "eva02", "eva02_large", "dinov2_reg"}
    assert wanted | tried | {"frozen_dinov2", "gold_frozen", "gold_frozen_7b"} == set(EXPERIMENTS) - set(TUNED)
    assert all(name == experiment.name for name, experiment in EXPERIMENTS.items())


# Each row of the table in facts/seed-system.md, typed off it a second time.
SEED_TABLE: dict[str, dict[str, Any]] = {
    "v1": {
        "backbone": "resnet34", "head_hidden": (256,), "head_activation": "relu", "head_dropout": 0.3,
        "image_size_px": (512, 512), "loss": "mse", "optimizer": "adamw", "learning_rate": 1e-4, "weight_decay": 1e-4,
        "schedule": "cosine", "epochs": 50, "batch_size": 16, "augmentation": "moderate", "external_data": "",
        "depth": "", "clip_norm": 0.0, "accumulate_steps": 1, "backbone_learning_rate": 0.0,
    },
    "v2": {
        "backbone": "tf_efficientnetv2_m", "head_hidden": (512,), "head_activation": "relu", "head_dropout": 0.5,
        "image_size_px": (512, 512), "loss": "smooth_l1", "loss_beta": 2.0, "optimizer": "rmsprop",
        "learning_rate": 3.286e-4, "weight_decay": 2.1e-6, "schedule": "step", "schedule_epochs": 10,
        "schedule_factor": 0.1, "epochs": 50, "batch_size": 32, "augmentation": "conservative", "external_data": "",
        "depth": "", "clip_norm": 0.0, "accumulate_steps": 1,
    },
    "v4": {
        "backbone": "tf_efficientnetv2_m", "head_hidden": (512,), "head_dropout": 0.5, "loss": "mse",
        "optimizer": "rmsprop", "learning_rate": 3.286e-4, "image_size_px": (512, 512), "train_folds": (), "folds": 5,
    },
    "v5": {
        "backbone": "efficientnetv2_rw_m", "head_hidden": (256, 64), "head_activation": "relu", "head_dropout": 0.3,
        "image_size_px": (384, 384), "loss": "mse", "optimizer": "adamw", "learning_rate": 1e-4, "weight_decay": 0.01,
        "schedule": "cosine", "schedule_epochs": 50, "epochs": 30, "batch_size": 8, "augmentation": "moderate",
        "split": "group", "external_data": "i2b-grassclover", "depth": "i2b-depth-anything-v2-small",
        "depth_fusion": "concat", "depth_channels": 1, "clip_norm": 0.0, "accumulate_steps": 1,
    },
    "v7": {
        "backbone": "vit_base_patch14_dinov2", "head_hidden": (256, 64), "head_activation": "gelu",
        "head_dropout": 0.3, "image_size_px": (518, 518), "loss": "mse", "optimizer": "adamw",
        "backbone_learning_rate": 1e-5, "learning_rate": 1e-4, "weight_decay": 0.01, "clip_norm": 1.0,
        "schedule": "warmup_cosine", "warmup_epochs": 3, "schedule_epochs": 0, "epochs": 30, "batch_size": 8,
        "accumulate_steps": 4, "augmentation": "moderate", "split": "group", "external_data": "", "depth": "",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SEED_TABLE)
def test_an_experiment_is_its_row_of_the_seeds_table(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert {field: getattr(experiment, field) for field in SEED_TABLE[name]} == SEED_TABLE[name]


def differences(name: str, other: str) -> dict[str, Any]:
    ours, theirs = EXPERIMENTS[name].as_json(), EXPERIMENTS[other].as_json()
    return {field: ours[field] for field in ours if ours[field] != theirs[field] and field != "name"}


def test_versions_that_repeat_another_differ_from_it_in_what_the_table_says_and_in_nothing_else() -> None:
    # 32 photographs at once do not fit on a T4 (tests/build/weights/test_training_memory.py); two devices share V2.
    assert differences("v3", "v2") == {"train_folds": (), "batch_size": 16, "accumulate_steps": 2}
    assert differences("v4", "v3") == {"loss": "mse", "loss_beta": 1.0}
    assert differences("v5_componly", "v5") == {"external_data": ""}
    assert differences("v8", "v7") == {"depth": "i2b-depth-anything-v2-small"}
    for name in ("siglip", "eva02", "dinov2_reg"):
        pictures = {"backbone", "starting_weights", "image_height_px", "image_width_px"}
        assert differences(name, "v7").keys() <= pictures
    large = differences("eva02_large", "eva02")
    assert large.keys() == {
        "backbone", "starting_weights", "gradient_checkpointing", "batch_size", "accumulate_steps"
    }  # fmt: skip
    assert large["batch_size"] * large["accumulate_steps"] == 32, "pictures per step, as the others"


@pytest.mark.parametrize("experiment", [e for e in TRAINED if e.name not in {"demo", *TUNED}], ids=lambda e: e.name)
def test_every_version_keeps_visits_whole_and_its_last_epoch_and_stops_in_time(experiment: Experiment) -> None:
    assert experiment.split in {"group", "stratified_group"} and experiment.data.folds_trained == 5
    assert experiment.inner_folds == 0 and experiment.patience_epochs == 0 and experiment.seed == 42
    assert experiment.predict.tta == "all" and experiment.predict.constraint == "projection"
    assert experiment.machine.limit_s == 11.5 * 3600 and experiment.encoder.weights


def test_the_scores_of_the_seed_are_those_of_its_table() -> None:
    scores = {"v1": 0.30, "v2": 0.42, "v3": 0.46, "v4": 0.50, "v5": 0.57, "v6": 0.57, "v7": 0.58, "v8": 0.62}
    assert scores == SEED_PUBLIC_R2 and set(SEED_PUBLIC_R2) <= {*EXPERIMENTS, *ENSEMBLES}

"""Optimiser groups and schedules against numbers worked out by hand."""

import math

import pytest
import torch

from kernel_src.models.model import BiomassNet
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.training.optimization import build_optimizer, learning_rate_factor, set_learning_rates
from tests.kernel_src.tiny import TINY, TINY_VIT


def factors(experiment: Experiment, steps_per_epoch: int = 2) -> list[float]:
    return [
        learning_rate_factor(experiment, step, steps_per_epoch)
        for step in range(experiment.schedule.epochs * steps_per_epoch)
    ]


def test_constant_is_constant() -> None:
    assert factors(changed(TINY, {"schedule": "Constant"})) == [1.0] * 4


def test_cosine_falls_from_one_towards_zero_step_by_step() -> None:
    expected = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert factors(changed(TINY, {"schedule": "Cosine", "schedule.epochs": 4})) == pytest.approx(expected)
    assert expected[4] == pytest.approx(0.5)


def test_a_cosine_longer_than_the_training_ends_early_and_a_shorter_one_stays_at_zero() -> None:
    longer = changed(TINY, {"schedule": "Cosine", "schedule.epochs": 2, "schedule.length": 4})
    assert factors(longer) == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(4)])
    shorter = changed(TINY, {"schedule": "Cosine", "schedule.epochs": 3, "schedule.length": 1})
    assert factors(shorter) == pytest.approx([1, 0.5, 0, 0, 0, 0])


def test_steps_fall_by_the_factor_every_so_many_epochs() -> None:
    stepped = changed(TINY, {"schedule": "Steps", "schedule.epochs": 5, "schedule.every": 2, "schedule.factor": 0.1})
    assert factors(stepped, 1) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert [learning_rate_factor(stepped, step, 7) for step in (13, 14)] == pytest.approx([1, 0.1])


def test_warm_up_climbs_to_one_and_the_cosine_then_falls_to_zero() -> None:
    warm = changed(TINY, {"schedule": "WarmupCosine", "schedule.warmup": 2, "schedule.epochs": 4})
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2]
    assert factors(warm) == pytest.approx(expected)


def test_backbone_and_heads_have_their_own_rates_and_only_matrices_decay() -> None:
    experiment = changed(TINY, {"optimizer.lr": 1e-3, "optimizer.backbone_lr": 1e-5, "optimizer.weight_decay": 0.1})
    model = BiomassNet(experiment)
    optimizer = build_optimizer(model, experiment)
    assert isinstance(optimizer, torch.optim.AdamW)
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        group = of.pop(id(parameter))
        assert group["lr"] == (1e-5 if name.startswith("backbone") else 1e-3), name
        assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name
    assert not of, "every parameter is optimised, and once"


def test_one_rate_for_all_unless_the_backbone_has_its_own() -> None:
    groups = build_optimizer(BiomassNet(TINY), TINY).param_groups
    assert {group["lr"] for group in groups} == {TINY.optimizer.lr}


def test_setting_the_rates_multiplies_each_groups_own_rate_not_the_last_one() -> None:
    experiment = changed(TINY_VIT, {"optimizer.lr": 1e-2, "optimizer.backbone_lr": 1e-4, "optimizer": "RMSprop"})
    optimizer = build_optimizer(BiomassNet(experiment), experiment)
    assert isinstance(optimizer, torch.optim.RMSprop)
    set_learning_rates(optimizer, 0.5)
    set_learning_rates(optimizer, 0.1)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([1e-5, 1e-3])


def test_position_embeddings_and_class_tokens_are_not_decayed_either() -> None:
    """They are no vectors by shape, (1, N, 64), but biases by what they do; timm lists them."""
    experiment = changed(TINY_VIT, {"optimizer.weight_decay": 0.1})
    model = BiomassNet(experiment)
    decay = {
        id(p): group["weight_decay"]
        for group in build_optimizer(model, experiment).param_groups
        for p in group["params"]
    }
    assert {decay[id(p)] for p in (model.backbone.pos_embed, model.backbone.cls_token)} == {0.0}
    assert decay[id(model.backbone.patch_embed.proj.weight)] == 0.1
    assert len(decay) == len(list(model.parameters())), "every parameter in exactly one group"

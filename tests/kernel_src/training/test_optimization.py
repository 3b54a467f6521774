"""Optimiser groups and schedules against numbers worked out by hand."""

import math

import pytest
import timm.optim
import torch
from torch import nn

from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import (
    AdamW,
    Constant,
    Cosine,
    Optimizer,
    RMSprop,
    Schedule,
    Steps,
    Uncertainty,
    WarmupCosine,
)
from kernel_src.recipes.spec import kinds_of
from kernel_src.training.optimization import (
    SCHEDULES,
    build_optimizer,
    layer_scales,
    learning_rate_factor,
    set_learning_rates,
)
from kernel_src.training.training_net import TrainingNet
from tests.kernel_src.tiny import TINY


class Net(nn.Module):
    """An encoder of timm and a head, as the networks have them."""

    def __init__(self, name: str = "test_efficientnet") -> None:
        super().__init__()
        self.backbone = timm.create_model(name, num_classes=0)
        self.heads = nn.ModuleList([nn.Linear(8, 1)])
        self.loss_parameters = nn.ParameterDict({"log_variances": nn.Parameter(torch.zeros(5))})


def factors(schedule: Schedule, steps_per_epoch: int = 2) -> list[float]:
    return [learning_rate_factor(schedule, step, steps_per_epoch) for step in range(schedule.epochs * steps_per_epoch)]


def test_every_schedule_that_can_be_written_down_can_be_followed() -> None:
    assert set(SCHEDULES) == set(kinds_of(Schedule).values())


def test_constant_is_constant() -> None:
    assert factors(Constant(epochs=2)) == [1.0] * 4


def test_cosine_falls_from_one_towards_zero_step_by_step() -> None:
    expected = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert factors(Cosine(epochs=4)) == pytest.approx(expected)
    assert expected[4] == pytest.approx(0.5)


def test_a_cosine_longer_than_the_training_ends_early_and_a_shorter_one_stays_at_zero() -> None:
    longer = Cosine(epochs=2, length=4)
    assert factors(longer) == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(4)])
    assert factors(Cosine(epochs=3, length=1)) == pytest.approx([1, 0.5, 0, 0, 0, 0])


def test_steps_fall_by_the_factor_every_so_many_epochs() -> None:
    stepped = Steps(epochs=5, every=2, factor=0.1)
    assert factors(stepped, 1) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert [learning_rate_factor(stepped, step, 7) for step in (13, 14)] == pytest.approx([1, 0.1])


def test_warm_up_climbs_to_one_and_the_cosine_then_falls_to_zero() -> None:
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2]
    assert factors(WarmupCosine(warmup=2, epochs=4)) == pytest.approx(expected)
    assert factors(WarmupCosine(warmup=2, epochs=3, length=4)) == pytest.approx(expected[:6])


# Groups


def rates_and_decays(model: nn.Module, spec: Optimizer) -> dict[str, tuple[float, float]]:
    """Return rate and decay of every parameter by name; each is in one group."""
    groups = build_optimizer(model, spec).param_groups
    of = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(of) == len(list(model.parameters()))
    return {name: of[id(parameter)] for name, parameter in model.named_parameters()}


def test_backbone_and_heads_have_their_own_rates_and_only_matrices_decay() -> None:
    model, spec = Net(), AdamW(lr=1e-3, backbone_lr=1e-5, weight_decay=0.1)
    assert isinstance(build_optimizer(model, spec), torch.optim.AdamW)
    parameters = dict(model.named_parameters())
    for name, (rate, decay) in rates_and_decays(model, spec).items():
        assert rate == (1e-5 if name.startswith("backbone") else 1e-3), name
        assert decay == (0.1 if parameters[name].ndim > 1 else 0.0), name
    assert rates_and_decays(model, spec)["loss_parameters.log_variances"] == (1e-3, 0.0)


def test_one_rate_for_all_unless_the_backbone_has_its_own() -> None:
    assert {group["lr"] for group in build_optimizer(Net(), AdamW(lr=1e-3)).param_groups} == {1e-3}


def test_setting_the_rates_multiplies_each_groups_own_rate_not_the_last_one() -> None:
    optimizer = build_optimizer(Net("test_vit"), RMSprop(lr=1e-2, backbone_lr=1e-4))
    assert isinstance(optimizer, torch.optim.RMSprop)
    set_learning_rates(optimizer, 0.5)
    set_learning_rates(optimizer, 0.1)
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([1e-5, 1e-3])


def test_position_embeddings_and_class_tokens_are_not_decayed_either() -> None:
    """They are no vectors by shape, (1, N, 64), but biases by what they do; timm lists them."""
    decay = {name: decay for name, (_, decay) in rates_and_decays(Net("test_vit"), AdamW(weight_decay=0.1)).items()}
    assert decay["backbone.pos_embed"] == decay["backbone.cls_token"] == 0.0
    assert decay["backbone.patch_embed.proj.weight"] == 0.1


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_each_layer_further_from_the_last_has_a_lower_rate_exactly_as_timm_has_it(name: str) -> None:
    model = Net(name)
    spec = AdamW(lr=1e-3, backbone_lr=1e-4, layer_decay=0.5, weight_decay=0.1)
    ours = rates_and_decays(model, spec)
    groups = timm.optim.param_groups_layer_decay(model.backbone, weight_decay=0.1, layer_decay=0.5)
    theirs = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    for path, parameter in model.backbone.named_parameters():
        assert ours[f"backbone.{path}"][0] == pytest.approx(1e-4 * theirs[id(parameter)], rel=1e-12), path
    assert ours["heads.0.weight"][0] == 1e-3 and len({rate for rate, _ in ours.values()}) > 4


def test_the_distance_of_a_vits_layers_by_hand() -> None:
    """Six blocks above the patches; the norm belongs to the last of them."""
    scales = layer_scales(Net("test_vit").backbone, 0.5)
    assert scales["norm.weight"] == scales["blocks.5.mlp.fc1.weight"] == 1.0 and scales["blocks.4.norm1.bias"] == 0.5
    assert scales["blocks.0.mlp.fc1.weight"] == 0.5**5 and scales["patch_embed.proj.weight"] == 0.5**6


def test_without_layer_decay_the_groups_are_as_many_as_rates_and_decays() -> None:
    """More groups would add up the norm of the gradients in another order, and clip a hair differently."""
    assert len(build_optimizer(Net(), AdamW(lr=1e-3, layer_decay=1.0)).param_groups) == 4


def test_what_the_loss_learns_is_a_parameter_that_is_not_decayed_and_belongs_to_no_other_loss() -> None:
    experiment = changed(TINY, {"loss": Uncertainty(), "optimizer.weight_decay": 0.1})
    model = TrainingNet(experiment)
    assert model.log_variances is not None and model.log_variances.tolist() == [0.0] * 5
    rates = rates_and_decays(model, experiment.optimizer)
    assert rates["loss_parameters.log_variances"] == (experiment.optimizer.lr, 0.0)
    assert TrainingNet(TINY).log_variances is None and not list(TrainingNet(TINY).loss_parameters.parameters())

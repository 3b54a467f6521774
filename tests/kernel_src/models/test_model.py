"""The model is what the experiment says, and weights that do not fit it are refused by key."""

import numpy as np
import pytest
import torch
from torch import nn

from kernel_src.models.model import BackboneNet, TargetScaling, load_strictly
from kernel_src.recipes.changes import changed
from kernel_src.runtime.files import WeightsError
from tests.kernel_src.tiny import TINY, TINY_VIT

PICTURES = torch.zeros(2, 3, 32, 64)


@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet", "test_resnet", "test_convnext"])
def test_any_backbone_gives_five_z_scores_a_picture(backbone: str) -> None:
    model = BackboneNet(changed(TINY, {"encoder.timm": backbone})).eval()
    assert model(PICTURES).shape == (2, 5)


def test_each_target_has_its_own_head_of_the_asked_layers() -> None:
    heads = BackboneNet(changed(TINY, {"head.hidden": (16, 8), "head.activation": "gelu", "head.dropout": 0.25})).heads
    assert len(heads) == 5 and len({id(p) for p in heads.parameters()}) == 5 * 6
    for head in heads:
        linear = [(layer.in_features, layer.out_features) for layer in head if isinstance(layer, nn.Linear)]
        assert linear[1:] == [(16, 8), (8, 1)] and linear[0][1] == 16
        assert [type(layer) for layer in head[1:3]] == [nn.GELU, nn.Dropout] and head[2].p == 0.25
        assert isinstance(head[-1], nn.Linear), "the output is linear"


def test_no_hidden_layer_is_a_plain_linear_head_and_relu_is_relu() -> None:
    assert [type(layer) for layer in BackboneNet(changed(TINY, {"head.hidden": ()})).heads[0]] == [nn.Linear]
    assert isinstance(BackboneNet(TINY).heads[0][1], nn.ReLU)


@pytest.mark.parametrize("size_px", [(32, 32), (32, 64), (160, 160)])
def test_a_net_with_position_embeddings_is_built_for_the_size(size_px: tuple[int, int]) -> None:
    model = BackboneNet(changed(TINY_VIT, {"pictures.height_px": size_px[0], "pictures.width_px": size_px[1]}))
    assert model.backbone.patch_embed.grid_size == (size_px[0] // 16, size_px[1] // 16)
    assert model.eval()(torch.zeros(1, 3, *size_px)).shape == (1, 5)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Unknown model"):
        BackboneNet(changed(TINY, {"encoder.timm": "no_such_net"}))


# Scaling


def test_scaling_there_and_back_changes_nothing_and_z_has_mean_0_and_deviation_1() -> None:
    grams = np.random.default_rng(0).gamma(2.0, 10.0, (50, 5))
    scaling = TargetScaling()
    scaling.fit(grams)
    z = scaling.to_z(torch.from_numpy(grams).float())
    assert z.mean(0).abs().max() < 1e-6 and (z.std(0, correction=0) - 1).abs().max() < 1e-6
    assert torch.allclose(scaling.to_values(z), torch.from_numpy(grams).float(), atol=1e-4)


@pytest.mark.parametrize("grams", [0.0, 0.1, 3.3, 45.7])
@pytest.mark.parametrize("rows", [7, 13])
def test_a_constant_target_keeps_a_deviation_of_one(grams: float, rows: int) -> None:
    """WA has no Dead at all; and np.full(7, 0.1).std() is 1.4e-17, not 0."""
    scaling = TargetScaling()
    scaling.fit(np.full((rows, 5), grams))
    assert scaling.std.tolist() == [1.0] * 5
    assert scaling.to_z(torch.full((1, 5), grams)).abs().max() < 1e-5


def test_grams_are_computed_in_full_precision() -> None:
    scaling = TargetScaling()
    scaling.fit(np.array([[60.0] * 5, [60.5] * 5]))
    assert scaling.to_values(torch.ones(1, 5).half()).dtype == torch.float32


def test_the_scaling_travels_inside_the_weights() -> None:
    model, other = BackboneNet(TINY), BackboneNet(TINY)
    model.scaling.fit(np.random.default_rng(1).gamma(2.0, 10.0, (9, 5)))
    load_strictly(other, model.state_dict(), "weights")
    assert torch.equal(other.scaling.mean, model.scaling.mean) and torch.equal(other.scaling.std, model.scaling.std)


# Weights


def test_half_precision_weights_load_into_a_full_precision_model() -> None:
    model = BackboneNet(TINY)
    halves = {key: t.half() if t.is_floating_point() else t for key, t in BackboneNet(TINY).state_dict().items()}
    load_strictly(model, halves, "weights")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.equal(value.half(), halves[key].half()) for key, value in model.state_dict().items())


def test_a_missing_an_extra_and_a_misshapen_key_are_named_and_nothing_is_loaded() -> None:
    model = BackboneNet(TINY)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tensors = {key: torch.zeros_like(value) for key, value in before.items()}
    del tensors["scaling.mean"]
    tensors["heads.9.weight"] = torch.zeros(1)
    tensors["heads.0.0.bias"] = torch.zeros(99)
    with pytest.raises(WeightsError) as caught:
        load_strictly(model, tensors, "fold0.safetensors")
    for part in (
        "fold0.safetensors does not fit",
        "scaling.mean is missing",
        "heads.9.weight is not in the model",
        "heads.0.0.bias has shape (99,), the model (8,)",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_many_faults_are_counted() -> None:
    with pytest.raises(WeightsError, match=r"… \d{2,} in all"):
        load_strictly(BackboneNet(TINY), {}, "weights")

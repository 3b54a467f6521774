"""Layers are counted from the last, pooled as named or read patch by patch; a pooling says what it computes."""

import pytest
import timm
import torch

from kernel_src.models.layer_features import (
    MAP_POOLINGS,
    generalised_mean,
    layer_outputs,
    missing_layers,
    patch_count,
    patch_tokens,
    pooled_layers,
    pooled_width,
    signed_generalised_mean,
)
from kernel_src.recipes.network import POOLINGS

PICTURES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
NETS = ("test_vit", "test_efficientnet", "test_resnet", "test_convnext", "vit_small_patch16_dinov3")


def net(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"img_size": (64, 96), "dynamic_img_size": True} if "vit" in name else {}
    return timm.create_model(name, num_classes=0, **options).eval()


def test_every_pooling_of_the_recipe_is_computed_from_the_map_or_by_the_backbone() -> None:
    assert set(POOLINGS) == {"own", "cls", *MAP_POOLINGS}


def test_the_signed_generalised_mean_is_the_signed_cube_root_of_the_mean_signed_cube() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, -5.0]]], [[[1.0, 2.0], [3.0, 5.0]]]])
    negative, positive = signed_generalised_mean(maps).flatten().tolist()
    assert negative == pytest.approx(-(((125 - 36) / 4) ** (1 / 3)), rel=1e-5)
    assert positive == pytest.approx(((125 + 36) / 4) ** (1 / 3), rel=1e-5)
    assert torch.allclose(generalised_mean(maps[1:]), signed_generalised_mean(maps[1:]))


def test_where_nothing_is_seen_the_signed_mean_is_0_and_its_slope_finite() -> None:
    maps = torch.tensor([[[[1.0, -1.0], [2.0, -2.0]]]], requires_grad=True)
    pooled = signed_generalised_mean(maps)
    pooled.sum().backward()
    assert pooled.item() == 0 and maps.grad is not None and maps.grad.abs().max() < 1e4


@pytest.mark.parametrize("name", NETS)
def test_own_beside_others_is_what_the_net_itself_pools_and_the_width_is_as_announced(name: str) -> None:
    backbone, poolings = net(name), ("own", "mean", "signed_gem")
    with torch.inference_mode():
        blocks = pooled_layers(backbone, PICTURES, (1, 2), poolings)
        assert torch.allclose(blocks[0], backbone(PICTURES), atol=1e-5)
    assert len(blocks) == 1 + 2 * 2 and sum(one.shape[1] for one in blocks) == pooled_width(backbone, (1, 2), poolings)


@pytest.mark.parametrize("name", NETS)
def test_the_tokens_of_the_last_layer_are_its_map_row_by_row_and_as_many_as_counted(name: str) -> None:
    backbone = net(name)
    with torch.inference_mode():
        tokens = patch_tokens(backbone, PICTURES, (1,))
        ((maps, _),) = layer_outputs(backbone, PICTURES, (1,))[1]
    height, width = maps.shape[2:]
    assert tokens.shape == (2, height * width, maps.shape[1])
    assert torch.equal(tokens[:, width + 1], maps[:, :, 1, 1]), "the second patch of the second row"
    assert tokens.shape[1] == patch_count(backbone, (1,), ((64, 96),))


def test_layers_stand_in_the_order_of_the_recipe_and_a_middle_layer_is_that_block_normalised() -> None:
    backbone = net("test_vit")
    with torch.inference_mode():
        forth = patch_tokens(backbone, PICTURES, (1, 4))
        back = patch_tokens(backbone, PICTURES, (4, 1))
        seen: list[torch.Tensor] = []
        backbone.blocks[-4].register_forward_hook(lambda _, __, found: seen.append(found))
        backbone(PICTURES)
        assert torch.allclose(back[..., :64], backbone.norm(seen[0])[:, 1:], atol=1e-5)
    assert torch.equal(forth[..., :64], back[..., 64:]) and torch.equal(forth[..., 64:], back[..., :64])


def test_what_lies_behind_the_last_layer_asked_for_is_not_computed() -> None:
    backbone = net("test_vit")
    backbone.blocks[-1].register_forward_hook(lambda *_: pytest.fail("the last block was computed"))
    assert torch.isfinite(patch_tokens(backbone, PICTURES, (2,))).all()


def test_stages_of_different_size_are_averaged_to_the_smallest() -> None:
    backbone = net("test_resnet")
    with torch.inference_mode():
        tokens = patch_tokens(backbone, PICTURES, (1, 2))
        _, ((last, _), (before, _)) = layer_outputs(backbone, PICTURES, (1, 2))
    assert last.shape[2:] == (2, 3) and before.shape[2:] == (4, 6)
    assert torch.allclose(tokens[:, 0, last.shape[1] :], before[:, :, :2, :2].mean((2, 3)), atol=1e-6)


def test_what_a_backbone_has_not_is_said() -> None:
    assert list(missing_layers(net("test_resnet"), (6,), ("cls",))) == [
        "has no CLS token: pool by own or by mean",
        "has 5 layers, encoder.layers=(6,) asks for more",
    ]
    assert not list(missing_layers(torch.nn.Identity(), (1,), ("own",)))
    assert list(missing_layers(torch.nn.Identity(), (1,), ())) == [
        "does not show its layers: own is the only pooling that it has"
    ]

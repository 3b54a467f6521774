"""The depth branch: an encoder after the seed's table, and four ways to join it to the picture."""

import pytest
import torch
from torch import nn

from kernel_src.models.fusion import DEPTH_FEATURES, FUSED_FEATURES, FUSIONS, DepthEncoder
from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import DEPTH_FUSIONS, Depth
from kernel_src.training.optimization import build_optimizer
from tests.kernel_src.tiny import TINY, TINY_VIT

PICTURES, DEPTH = torch.randn(3, 3, 32, 32), torch.rand(3, 1, 32, 32)


def with_depth(fusion: str, channels: int = 1, base: Experiment = TINY_VIT) -> Experiment:
    return changed(base, {"depth": Depth(weights="i2b-depth", fusion=fusion, channels=channels)})


def test_the_encoder_is_the_one_of_the_seeds_table() -> None:
    """conv 1→32 k7 s2, pool; 32→64 k3 s2; 64→128 k3 s2; average; linear 128→256; dropout."""
    encoder = DepthEncoder(1, "gelu", 0.3)
    convolutions = [layer for layer in encoder if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions] == [
        (1, 32, 7, 2),
        (32, 64, 3, 2),
        (64, 128, 3, 2),
    ]
    linear = next(layer for layer in encoder if isinstance(layer, nn.Linear))
    assert (linear.in_features, linear.out_features) == (128, 256)
    kinds = [type(layer).__name__ for layer in encoder]
    assert kinds.count("BatchNorm2d") == 3 and kinds.count("GELU") == 4 and kinds[-1] == "Dropout"
    assert kinds.index("MaxPool2d") == 3 and encoder[-1].p == 0.3
    assert encoder(torch.rand(2, 1, 518, 518)).shape == (2, 256)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("fusion", DEPTH_FUSIONS)
@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet"])
def test_every_fusion_gives_five_numbers_that_depend_on_picture_and_depth(
    backbone: str, fusion: str, channels: int
) -> None:
    torch.manual_seed(0)
    model = BackboneNet(changed(with_depth(fusion, channels), {"encoder.timm": backbone})).eval()
    depth = torch.rand(3, channels, 32, 32)
    z = model(PICTURES, depth)
    assert z.shape == (3, 5)
    assert not torch.allclose(z, model(PICTURES, 1 - depth), atol=1e-6)
    assert not torch.allclose(z, model(PICTURES.flip(1), depth), atol=1e-6)
    if channels == 2:
        other = depth.clone()
        other[:, 1] += 1.0
        assert not torch.allclose(z, model(PICTURES, other), atol=1e-6), "the second channel counts too"


@pytest.mark.parametrize("fusion", DEPTH_FUSIONS)
def test_every_part_of_every_fusion_learns(fusion: str) -> None:
    model = BackboneNet(with_depth(fusion)).train()
    model(PICTURES, DEPTH).square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias adds the same to all scores of a query, which softmax takes out again.
    assert [name for name in still if "in_proj_bias" not in name] == []


@pytest.mark.parametrize(("fusion", "width"), [("concat", 64 + 256), ("add", 512), ("attention", 512), ("rgbd", 64)])
def test_the_heads_see_what_the_fusion_makes(fusion: str, width: int) -> None:
    model = BackboneNet(with_depth(fusion))
    assert model.feature_dim == width and model.heads[0][0].in_features == width


def test_concat_is_one_vector_after_the_other_and_add_the_sum_of_two_projections() -> None:
    picture, depth = torch.randn(2, 10), torch.randn(2, DEPTH_FEATURES)
    assert torch.equal(FUSIONS["concat"](10)(picture, depth), torch.cat([picture, depth], 1))
    add = FUSIONS["add"](10)
    assert torch.equal(add(picture, depth), add.picture(picture) + add.depth(depth))


def test_attention_has_eight_heads_over_two_tokens_and_mixes_them() -> None:
    fusion = FUSIONS["attention"](10).eval()
    assert fusion.attention.num_heads == 8 and fusion.attention.embed_dim == FUSED_FEATURES
    picture, depth = torch.randn(2, 10), torch.randn(2, DEPTH_FEATURES)
    tokens = torch.stack([fusion.picture(picture), fusion.depth(depth)], 1)
    weights = fusion.attention(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)[1]
    assert weights.shape == (2, 8, 2, 2)
    without = fusion.norm(tokens + fusion.attention(tokens, tokens[:, :1], tokens[:, :1])[0]).mean(1)
    assert not torch.allclose(fusion(picture, depth), without, atol=1e-4)


def test_the_depth_branch_has_the_rate_of_the_heads() -> None:
    experiment = changed(with_depth("attention"), {"optimizer.backbone_lr": 1e-5, "optimizer.lr": 1e-3})
    model = BackboneNet(experiment)
    rate = {
        id(p): group["lr"]
        for group in build_optimizer(model, experiment.optimizer).param_groups
        for p in group["params"]
    }
    assert {rate[id(p)] for p in model.backbone.parameters()} == {1e-5}
    for part in (model.heads, model.depth_branch):
        assert {rate[id(p)] for p in part.parameters()} == {1e-3}


@pytest.mark.parametrize(
    ("experiment", "depth", "message"),
    [
        (TINY_VIT, DEPTH, "takes 0 channels of depth and was given 1"),
        (with_depth("concat"), None, "takes 1 channels of depth and was given 0"),
        (with_depth("rgbd", 2), DEPTH, "takes 2 channels of depth and was given 1"),
    ],
)
def test_depth_that_is_missing_or_not_wanted_is_refused(
    experiment: Experiment, depth: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BackboneNet(experiment)(PICTURES, depth)


def test_an_rgbd_stem_still_has_the_three_means_of_its_backbone() -> None:
    model = BackboneNet(with_depth("rgbd", base=TINY))
    assert len(preprocessing_of(TINY.encoder.timm).mean) == 3
    assert model.backbone.conv_stem.weight.shape[1] == 4 and not model.depth_branch

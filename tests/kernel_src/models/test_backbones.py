"""Any timm net, pooled its own way, at any size; frozen layers stay what they are; adding one touches one file."""

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import nn

from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.models.backbones import build_backbone, layer_groups
from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import load_backbone, preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import Encoder, FirstGroups, FirstShare
from kernel_src.recipes.pictures import Pictures
from kernel_src.training.checkpoint import save_tensors
from kernel_src.training.optimization import build_optimizer
from tests.kernel_src.tiny import TINY, TINY_VIT


def test_each_net_keeps_the_pooling_it_was_pretrained_with() -> None:
    """The seed replaced SigLIP's attention pool by an average, and found SigLIP poor."""
    with torch.device("meta"):
        siglip = build_backbone(EXPERIMENTS["siglip"])
        dino = build_backbone(EXPERIMENTS["v7"])
        resnet = build_backbone(EXPERIMENTS["v1"])
    assert type(siglip.attn_pool).__name__ == "AttentionPoolLatent" and siglip.global_pool == "map"
    assert dino.attn_pool is None and dino.global_pool == "token", "the CLS token"
    assert resnet.global_pool.pool_type == "avg"


@pytest.mark.parametrize(
    ("name", "mean"),
    [("v7", (0.485, 0.456, 0.406)), ("siglip", (0.5, 0.5, 0.5)), ("v4", (0.5, 0.5, 0.5))],
)
def test_each_net_gets_the_mean_it_was_pretrained_with(name: str, mean: tuple[float, ...]) -> None:
    assert preprocessing_of(EXPERIMENTS[name].encoder.timm).mean == mean


@pytest.mark.parametrize("size_px", [(32, 32), (32, 64), (64, 32)])
def test_a_dynamic_net_computes_at_its_own_size_what_a_static_one_does(size_px: tuple[int, int]) -> None:
    experiment = changed(TINY_VIT, {"pictures.height_px": size_px[0], "pictures.width_px": size_px[1]})
    dynamic = build_backbone(experiment).eval()
    static = timm.create_model("test_vit", num_classes=0, img_size=size_px).eval()
    static.load_state_dict(dynamic.state_dict())
    pictures = torch.randn(2, 3, *size_px)
    assert torch.equal(dynamic(pictures), static(pictures))


@pytest.mark.parametrize("name", ["v7", "siglip", "eva02", "dinov2_reg"])
def test_where_timm_offers_it_a_net_takes_other_sizes_than_the_one_it_is_built_for(name: str) -> None:
    with torch.device("meta"):
        net = build_backbone(EXPERIMENTS[name])
        patch_px = net.patch_embed.patch_size[0]
        assert net(torch.empty(1, 3, 8 * patch_px, 12 * patch_px)).shape == (1, 768)


def test_a_net_of_fixed_size_without_dynamic_sizes_is_built_for_the_size() -> None:
    experiment = changed(
        TINY, {"encoder.timm": "swin_tiny_patch4_window7_224", "pictures.height_px": 112, "pictures.width_px": 224}
    )
    with torch.device("meta"):
        net = build_backbone(experiment)
        assert net(torch.empty(1, 3, 112, 224)).shape == (1, 768)


def test_a_picture_that_is_no_whole_number_of_patches_is_refused() -> None:
    """timm's static nets cut the border off without a word: 384 px under patches of 14 lose 6 px."""
    with torch.device("meta"), pytest.raises(ValueError, match="patches of 14 x 14 px, 384 x 384 px is not a whole"):
        build_backbone(changed(EXPERIMENTS["v7"], {"pictures.height_px": 384, "pictures.width_px": 384}))


# Gradient checkpointing


def step_and_kept_bytes(experiment: Experiment) -> tuple[dict[str, torch.Tensor], int]:
    torch.manual_seed(0)
    model = BackboneNet(experiment).train()
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))).square().sum()
        total = sum(kept)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, total


def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradients() -> None:
    plain, plain_bytes = step_and_kept_bytes(TINY_VIT)
    saving, saving_bytes = step_and_kept_bytes(changed(TINY_VIT, {"encoder.checkpointing": True}))
    assert saving_bytes < 0.6 * plain_bytes
    assert plain.keys() == saving.keys() and all(torch.allclose(plain[k], saving[k], atol=1e-6) for k in plain)


def test_a_net_that_cannot_checkpoint_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: nn.Module, enable: bool = True) -> None:
        raise AssertionError("gradient checkpointing not supported")

    monkeypatch.setattr("timm.models.resnet.ResNet.set_grad_checkpointing", refuse)
    with pytest.raises(ValueError, match="test_resnet cannot do gradient_checkpointing"):
        build_backbone(changed(TINY, {"encoder.timm": "test_resnet", "encoder.checkpointing": True}))


# Frozen layers


def test_frozen_groups_are_the_first_layers_and_the_rest_is_trained() -> None:
    model = BackboneNet(changed(TINY_VIT, {"encoder.freeze": FirstGroups(2)}))
    frozen = {name for name, p in model.backbone.named_parameters() if not p.requires_grad}
    assert {"pos_embed", "cls_token", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= frozen
    assert not any(name.startswith("blocks.1") for name in frozen)
    assert all(p.requires_grad for p in model.heads.parameters())
    taught = {id(p) for group in build_optimizer(model, TINY_VIT.optimizer).param_groups for p in group["params"]}
    assert taught == {id(p) for p in model.parameters() if p.requires_grad}


def test_the_statistics_of_frozen_batch_norms_stand_still_and_the_others_move() -> None:
    model = BackboneNet(changed(TINY, {"encoder.timm": "test_efficientnet", "encoder.freeze": FirstGroups(3)})).train()
    before = {name: buffer.clone() for name, buffer in model.backbone.named_buffers()}
    model(torch.randn(4, 3, 32, 64))
    moved = {name for name, buffer in model.backbone.named_buffers() if not torch.equal(buffer, before[name])}
    frozen = {name.rpartition(".")[0] for name, p in model.backbone.named_parameters() if not p.requires_grad}
    frozen_buffers = {name for name in before if name.rpartition(".")[0] in frozen}
    assert frozen_buffers and not moved & frozen_buffers
    assert moved == set(before) - frozen_buffers
    assert not model.eval().training and model.train().heads.training, "and the switch still works"


def test_more_frozen_groups_than_there_are_is_refused_with_their_number() -> None:
    groups = len(layer_groups(build_backbone(TINY_VIT)))
    assert all(
        not p.requires_grad
        for p in BackboneNet(changed(TINY_VIT, {"encoder.freeze": FirstGroups(groups)})).backbone.parameters()
    )
    with pytest.raises(ValueError, match=rf"encoder.freeze=FirstGroups\(groups=99\), test_vit has {groups}"):
        BackboneNet(changed(TINY_VIT, {"encoder.freeze": FirstGroups(99)}))


# Adding one


def test_adding_a_backbone_is_one_entry_of_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Only experiments.py knows of it: model, optimiser, training, prediction, notebooks and the list follow."""
    import numpy as np

    from build.weights.describe import descriptions
    from kernel_src.competitions.biomass.experiments import V7
    from kernel_src.competitions.kernel_cards import kernel_card
    from kernel_src.data.dataset import DecodedPhotographs
    from kernel_src.data.trained_views import views
    from kernel_src.models.full_pass import predict_values
    from kernel_src.models.model import load_fold
    from kernel_src.training.training import train_fold
    from tests.kernel_src.tiny import CPU, fold_data

    added = changed(
        V7,
        {
            "name": "mine",
            "encoder.timm": "test_vit",
            "encoder.weights": "",
            "pictures.height_px": 32,
            "pictures.width_px": 32,
            "schedule.epochs": 1,
        },
    )
    monkeypatch.setitem(EXPERIMENTS, added.name, added)
    assert kernel_card("mine", "infer").datasets == ("i2b-mine-weights",)
    assert descriptions([added], tmp_path / "cache.json", quiet=True)[0].parameters_total > 300_000
    data = fold_data(12, inner=4)
    log = train_fold(added, 0, data, device=CPU, starting_weights=None, folder=tmp_path)
    assert len(log) == 1 and log[0]["train_loss"] > 0
    model = load_fold(added, tmp_path / "fold0.safetensors")
    grams = predict_values(
        [model],
        DecodedPhotographs(data.photographs, np.arange(12)),
        preprocessing=preprocessing_of(added.encoder.timm),
        symmetries=views(added),
        device=CPU,
        batch_size=4,
    )
    assert grams.shape == (1, 12, 5) and np.isfinite(grams).all()


# A share of the parameters, and the winners' backbones


def frozen_share(model: BackboneNet) -> float:
    sizes = [(p.numel(), p.requires_grad) for p in model.backbone.parameters()]
    return sum(size for size, trained in sizes if not trained) / sum(size for size, _ in sizes)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "vit_small_patch16_dinov3"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_share_freezes_the_first_groups_as_long_as_they_hold_no_more(name: str, share: float) -> None:
    model = BackboneNet(replace(TINY_VIT, encoder=Encoder(name, freeze=FirstShare(share))))
    groups = layer_groups(model.backbone)
    states = [{model.backbone.get_parameter(name).requires_grad for name in group} for group in groups]
    frozen = states.index({True})
    assert states == [{False}] * frozen + [{True}] * (len(groups) - frozen), "from the stem on, whole groups"
    more = BackboneNet(replace(TINY_VIT, encoder=Encoder(name, freeze=FirstGroups(frozen + 1))))
    assert frozen_share(model) <= share < frozen_share(more), "one group more would be too much"


def test_a_share_that_the_first_group_exceeds_is_refused() -> None:
    encoder = Encoder("test_vit", freeze=FirstShare(1e-6))
    with pytest.raises(ValueError, match=r"FirstShare\(share=1e-06\), test_vit has more than that in its first"):
        BackboneNet(replace(TINY_VIT, encoder=encoder))


def test_the_dinov3_family_is_normalised_as_timm_says() -> None:
    usual, satellite = preprocessing_of("vit_large_patch16_dinov3"), preprocessing_of("vit_7b_patch16_dinov3.sat493m")
    assert usual.mean == (0.485, 0.456, 0.406) and usual.interpolation == "bicubic"
    assert satellite.mean == (0.430, 0.411, 0.296) and satellite.std == (0.213, 0.156, 0.143)
    assert preprocessing_of("convnext_tiny.dinov3_lvd1689m").std == (0.229, 0.224, 0.225)


def test_the_layer_groups_of_a_dinov3_are_its_stem_and_its_blocks_in_order() -> None:
    with torch.device("meta"):
        groups = layer_groups(build_backbone(replace(TINY_VIT, encoder=Encoder("vit_small_patch16_dinov3"))))
    assert len(groups) == 13 and set(groups[0]) >= {"cls_token", "reg_token", "patch_embed.proj.weight"}
    for number, group in enumerate(groups[1:]):
        assert {name for name in group if name.startswith("blocks.")} == {
            name for name in group if name.startswith(f"blocks.{number}.")
        }
    assert "norm.weight" in groups[-1]


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "convnext_tiny.dinov3_lvd1689m"])
def test_weights_of_the_dinov3_family_compute_at_any_size_what_they_compute_in_timm(name: str, tmp_path: Any) -> None:
    options = {"dynamic_img_size": True} if name.startswith("vit") else {}
    pretrained = timm.create_model(name, num_classes=0, **options).eval()
    save_tensors(tmp_path / "model.safetensors", pretrained.state_dict())
    backbone = build_backbone(replace(TINY_VIT, encoder=Encoder(name), pictures=Pictures(64, 96))).eval()
    load_backbone(backbone, tmp_path / "model.safetensors")
    seen = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(backbone(seen), pretrained(seen))

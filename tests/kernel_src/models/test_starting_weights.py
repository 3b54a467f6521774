"""Pretrained weights fill the whole backbone, whatever size and channels it is built for, or are refused."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import load_starting_weights
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import Depth
from kernel_src.runtime.files import WeightsError
from tests.kernel_src.tiny import TINY, TINY_VIT


@pytest.fixture
def pretrained(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Weights as timm publishes them: with the classifier of their own task."""
    tensors = timm.create_model(TINY.encoder.timm, num_classes=7).state_dict()
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    return path, tensors


def test_starting_weights_fill_the_whole_backbone_and_drop_only_the_classifier(
    pretrained: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    path, tensors = pretrained
    model = BackboneNet(TINY)
    load_starting_weights(model, path)
    loaded = model.backbone.state_dict()
    assert set(tensors) - set(loaded) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(value, tensors[key]) for key, value in loaded.items())


@pytest.mark.parametrize("fault", ["missing", "extra", "misshapen"])
def test_starting_weights_that_do_not_fit_are_refused(
    pretrained: tuple[Path, dict[str, torch.Tensor]], fault: str
) -> None:
    path, tensors = pretrained
    if fault == "missing":
        del tensors["conv_stem.weight"]
    elif fault == "extra":
        tensors["conv_stem.extra"] = torch.zeros(1)
    else:
        tensors["conv_stem.weight"] = torch.zeros(3, 3)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="model.safetensors does not fit the model: conv_stem"):
        load_starting_weights(BackboneNet(TINY), path)


def test_weights_of_another_backbone_are_refused(pretrained: tuple[Path, dict[str, torch.Tensor]]) -> None:
    other: Experiment = changed(TINY, {"encoder.timm": "test_vit"})
    with pytest.raises(WeightsError, match="does not fit"):
        load_starting_weights(BackboneNet(other), pretrained[0])


def saved(folder: Path, backbone: str, **options: Any) -> tuple[Path, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    tensors = timm.create_model(backbone, num_classes=7, **options).state_dict()
    path = folder / "model.safetensors"
    save_file(tensors, path)
    return path, tensors


# Another size


def test_at_the_pretrained_size_the_embeddings_are_taken_as_they_are(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path, "test_vit", img_size=160)
    model = BackboneNet(changed(TINY_VIT, {"pictures.height_px": 160, "pictures.width_px": 160}))
    load_starting_weights(model, path)
    assert torch.equal(model.backbone.pos_embed, tensors["pos_embed"])


@pytest.mark.parametrize("size_px", [(64, 64), (80, 320), (32, 64)])
def test_embeddings_of_another_size_are_resampled_as_timm_does(tmp_path: Path, size_px: tuple[int, int]) -> None:
    """80 x 320 px has as many patches as 160 x 160: timm's own filter would take the one for the other."""
    path, tensors = saved(tmp_path, "test_vit", img_size=160)
    model = BackboneNet(changed(TINY_VIT, {"pictures.height_px": size_px[0], "pictures.width_px": size_px[1]}))
    load_starting_weights(model, path)
    grid = [size_px[0] // 16, size_px[1] // 16]
    wanted = timm.layers.resample_abs_pos_embed(tensors["pos_embed"], grid, num_prefix_tokens=1)
    assert torch.equal(model.backbone.pos_embed, wanted)
    assert torch.equal(model.backbone.cls_token, tensors["cls_token"])
    assert torch.equal(model.backbone.blocks[0].attn.qkv.weight, tensors["blocks.0.attn.qkv.weight"])


def test_weights_of_timms_static_net_and_ours_for_the_same_size_compute_the_same(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path, "test_vit", img_size=32)
    model = BackboneNet(TINY_VIT).eval()
    load_starting_weights(model, path)
    theirs = timm.create_model("test_vit", num_classes=7, img_size=32).eval()
    theirs.load_state_dict(tensors)
    pictures = torch.randn(2, 3, 32, 32)
    wanted = theirs.forward_head(theirs.forward_features(pictures), pre_logits=True)
    assert torch.equal(model.backbone(pictures), wanted)


def test_a_missing_tensor_is_refused_after_resampling_too(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path, "test_vit", img_size=160)
    del tensors["blocks.1.norm1.weight"]
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="blocks.1.norm1.weight is missing"):
        load_starting_weights(BackboneNet(TINY_VIT), path)


# The original's names


def test_dinov2_under_the_names_of_its_own_release_becomes_timms(tmp_path: Path) -> None:
    """facebookresearch/dinov2 has a mask token, which fine-tuning does not need; timm's converter leaves it out."""
    _, tensors = saved(tmp_path, "test_vit", img_size=32)
    released = {key: tensor for key, tensor in tensors.items() if not key.startswith("head.")}
    save_file(released | {"mask_token": torch.zeros(1, 64)}, tmp_path / "released.safetensors")
    model = BackboneNet(TINY_VIT)
    load_starting_weights(model, tmp_path / "released.safetensors")
    assert all(torch.equal(tensor, released[key]) for key, tensor in model.backbone.state_dict().items())


# RGBD stem


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet", "test_resnet"])
def test_an_rgbd_net_begins_as_the_pretrained_one(tmp_path: Path, backbone: str, channels: int) -> None:
    size = {"img_size": 32} if backbone == "test_vit" else {}
    path, tensors = saved(tmp_path, backbone, **size)
    experiment = changed(
        TINY_VIT, {"encoder.timm": backbone, "depth": Depth(weights="i2b-d", fusion="rgbd", channels=channels)}
    )
    model, plain = BackboneNet(experiment).eval(), BackboneNet(changed(TINY_VIT, {"encoder.timm": backbone})).eval()
    load_starting_weights(model, path)
    load_starting_weights(plain, path)
    pictures, depth = torch.randn(2, 3, 32, 32), torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        features = model.backbone(torch.cat([pictures, depth], 1))
        assert torch.allclose(features, plain.backbone(pictures), atol=1e-5)
    model.train()
    model(pictures, depth).square().sum().backward()
    (name,) = [n for n, p in model.backbone.named_parameters() if p.ndim == 4 and p.shape[1] == 3 + channels]
    assert model.get_parameter(f"backbone.{name}").grad[:, 3:].abs().sum() > 0, "and learns to use the depth"


def test_an_rgbd_stem_whose_weights_are_missing_is_refused(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path, "test_efficientnet")
    del tensors["conv_stem.weight"]
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="conv_stem.weight is missing"):
        load_starting_weights(BackboneNet(changed(TINY, {"depth": Depth(weights="i2b-d", fusion="rgbd")})), path)

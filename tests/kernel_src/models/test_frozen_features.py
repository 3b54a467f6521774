"""Frozen features are the backbone's own maps, pooled as named, of every part at every scale, in a named order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from kernel_src.bundle.bundles import framings_of
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.models.frozen_features import FrozenFeatures, feature_blocks, load_frozen_features
from kernel_src.models.frozen_net import FrozenNet
from kernel_src.models.layer_features import generalised_mean
from kernel_src.models.prediction import forward_values
from kernel_src.models.regressor import Basis, Regressor, RegressorMember
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import Encoder, RegressorHead
from kernel_src.recipes.pictures import Pictures, SideBySide
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.files import WeightsError
from kernel_src.training.checkpoint import save_tensors

VIT = Predictor(
    name="frozen",
    encoder=Encoder("test_vit", weights="i2b-test-vit"),
    pictures=Pictures(32, 32),
    head=RegressorHead(("cls", "mean")),
)
RESNET = replace(VIT, encoder=Encoder("test_resnet", weights="i2b-test-vit"), head=RegressorHead(("mean",)))


def features_of(experiment: Predictor) -> FrozenFeatures:
    torch.manual_seed(0)
    return FrozenFeatures(experiment).eval()


def seen(experiment: Predictor, *pictures: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return features_of(experiment)(*pictures)


PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_last_layers_mean_is_what_a_convolutional_net_pools_itself() -> None:
    own, mean = (seen(changed(RESNET, {"head": RegressorHead((pooling,))}), PICTURES) for pooling in ("own", "mean"))
    assert torch.allclose(own, mean, atol=1e-6)


def test_cls_and_mean_of_a_vit_are_its_tokens_after_the_last_norm() -> None:
    features = features_of(VIT)
    with torch.inference_mode():
        tokens = features.backbone.forward_features(PICTURES)  # (B, 1 + patches, C)
        wanted = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)
        assert torch.allclose(features(PICTURES), wanted, atol=1e-5)


def test_every_block_is_that_of_its_name_whatever_stands_beside_it() -> None:
    everything = replace(
        VIT,
        head=RegressorHead(("own", "cls", "mean", "max", "min", "gem")),
        encoder=replace(VIT.encoder, layers=(1, 3)),
    )
    together = seen(everything, PICTURES)
    names = feature_blocks(everything, framings_of(everything, preprocessing_of("test_vit")))
    width = together.shape[1] // len(names)
    assert names[0] == "whole 32x32 own pooling" and names[-1] == "whole 32x32 layer 3 gem" and len(names) == 11
    for number, name in enumerate(names):
        *_, pooling = name.split()
        layer = 1 if pooling == "pooling" else int(name.split()[-2])
        alone = replace(
            VIT,
            head=RegressorHead(("own" if pooling == "pooling" else pooling,)),
            encoder=replace(VIT.encoder, layers=(layer,)),
        )
        block = together[:, number * width : (number + 1) * width]
        assert torch.allclose(seen(alone, PICTURES), block, atol=1e-5), name


def test_the_generalised_mean_is_the_cube_root_of_the_mean_cube() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, -5.0]]]])
    assert generalised_mean(maps).item() == pytest.approx(((1 + 8 + 27) / 4) ** (1 / 3), rel=1e-5)


def test_each_part_at_each_scale_is_a_picture_scales_first() -> None:
    experiment = replace(VIT, pictures=Pictures(32, 32, parts=("left", "right"), scales=(1.0, 2.0), join=SideBySide()))
    framings = framings_of(experiment, preprocessing_of("test_vit"))
    assert [(one.part, one.size_px) for one in framings] == [
        ("left", (32, 32)), ("right", (32, 32)), ("left", (64, 64)), ("right", (64, 64))
    ]  # fmt: skip
    small, large = PICTURES, torch.rand(2, 3, 64, 64)
    together = seen(experiment, small, small.flip(3), large, large.flip(3))
    alone = [seen(VIT, picture) for picture in (small, small.flip(3))]
    assert together.shape == (2, 4 * alone[0].shape[1])
    assert torch.allclose(together[:, : 2 * alone[0].shape[1]], torch.cat(alone, 1), atol=1e-5)


def test_the_backbone_of_frozen_dinov2_gives_as_many_features_as_its_blocks_say() -> None:
    """On the meta device: every shape is real, no weight is there."""
    experiment = EXPERIMENTS["frozen_dinov2"]
    framings = framings_of(experiment, preprocessing_of(experiment.encoder.timm))
    assert [(one.part, one.size_px) for one in framings] == [("left", (518, 518)), ("right", (518, 518))]
    with torch.device("meta"), torch.no_grad():
        features = FrozenFeatures(experiment)(*(torch.empty(3, 3, 518, 518) for _ in framings))
    assert features.shape == (3, 768 * len(feature_blocks(experiment, framings))) == (3, 6144)


@pytest.mark.parametrize(
    ("experiment", "said"),
    [
        (changed(RESNET, {"head": RegressorHead(("cls",))}), "test_resnet has no CLS token: pool by own or by mean"),
        (replace(VIT, encoder=Encoder("test_vit3", weights="i2b-test-vit")), "test_vit3 has no CLS token"),
        (changed(RESNET, {"encoder.layers": (6,)}), r"has 5 layers, encoder.layers=\(6,\) asks for more"),
        (
            replace(VIT, pictures=Pictures(32, 32, scales=(1.0, 1.25), join=SideBySide())),
            r"40 x 40 px is not a whole number of them",
        ),
    ],
)
def test_what_a_backbone_cannot_do_is_refused_by_its_name(experiment: Predictor, said: str) -> None:
    with pytest.raises(ValueError, match=f"frozen: .*{said}"):
        features_of(experiment)


def test_weights_must_fill_the_backbone(tmp_path: Path) -> None:
    tensors = timm.create_model("test_vit", num_classes=0).state_dict()
    lacking = {name: tensor for name, tensor in tensors.items() if name != "cls_token"}
    save_tensors(tmp_path / "model.safetensors", lacking)
    with pytest.raises(WeightsError, match="cls_token is missing"):
        load_frozen_features(VIT, tmp_path / "model.safetensors")


# With a regressor


def linear_regressor(width: int) -> Regressor:
    basis = Basis(kind="linear", arrays={"mean": np.zeros(width), "scale": np.ones(width)})
    coefficients = np.random.default_rng(0).normal(0, 1, (width, 5))
    member = RegressorMember(
        name="ridge raw",
        basis=basis,
        target_scale="raw",
        coefficients=coefficients,
        intercept=np.full(5, 20.0),
        ceiling_g=np.full(5, 90.0),
    )
    return Regressor(members=(member,), weights=np.ones((1, 5)))


def test_the_net_answers_with_what_the_regressor_says_of_the_features() -> None:
    features = features_of(VIT)
    regressor = linear_regressor(128)
    with torch.inference_mode():
        values = features(PICTURES)
        assert values.shape == (2, 128)
        grams = forward_values(FrozenNet(features, regressor), PICTURES, half=False)
    assert np.allclose(grams.numpy(), regressor.predict(values.numpy()), atol=1e-5)


def test_a_photograph_whose_features_are_not_finite_has_no_answer_and_its_neighbour_has() -> None:
    pictures = PICTURES.clone()
    pictures[1, 0, 0, 0] = float("nan")
    with torch.inference_mode():
        grams = forward_values(FrozenNet(features_of(VIT), linear_regressor(128)), pictures, half=False)
    assert torch.isfinite(grams[0]).all() and torch.isnan(grams[1]).all()


def test_features_that_overflow_in_half_precision_are_computed_again_in_full() -> None:
    features = features_of(VIT)
    with torch.inference_mode():
        features.backbone.blocks[-1].mlp.fc1.weight.mul_(1e6)  # beyond 65504, where fp16 ends
        net = FrozenNet(features, linear_regressor(128))
        exact, half = (forward_values(net, PICTURES, half=half) for half in (False, True))
    assert torch.isfinite(half).all() and torch.allclose(half, exact, atol=1e-3)

"""transformers' DINOv2 and timm's compute the same with the same weights under each other's names."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from kernel_src.models.hub_names import timm_names
from kernel_src.models.model import load_strictly
from kernel_src.runtime.files import WeightsError

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}


def hub_model(registers: int) -> torch.nn.Module:
    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(**SIZES) if registers else Dinov2Config(**SIZES)
    model = (Dinov2WithRegistersModel if registers else Dinov2Model)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def timm_model(registers: int) -> VisionTransformer:
    sizes = {"img_size": 28, "patch_size": 14, "embed_dim": 32, "depth": 2, "num_heads": 2, "init_values": 1.0}
    return VisionTransformer(**sizes, num_classes=0, reg_tokens=registers, no_embed_class=bool(registers)).eval()


@pytest.mark.parametrize("registers", [0, 4])
def test_both_libraries_compute_the_same_with_the_same_weights(registers: int) -> None:
    hub, ours = hub_model(registers), timm_model(registers)
    load_strictly(ours, timm_names(hub.state_dict()), "the hub")
    pictures = torch.randn(2, 3, 28, 28)
    with torch.inference_mode():
        expected = hub(pictures).pooler_output
        torch.testing.assert_close(ours(pictures), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.05


def test_a_prefix_of_a_larger_model_is_taken_off() -> None:
    tensors = {f"dinov2.{name}": tensor for name, tensor in hub_model(0).state_dict().items()}
    assert set(timm_names(tensors)) == set(timm_model(0).state_dict())


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("encoder.layer.1.attention.attention.key.weight", "blocks.1.attn.qkv.weight is missing"),
        ("encoder.layer.0.layer_scale2.lambda1", "blocks.0.ls2.gamma is missing"),
        ("layernorm.bias", "norm.bias is missing"),
    ],
)
def test_a_lost_tensor_is_an_error(lost: str, said: str) -> None:
    tensors = dict(hub_model(0).state_dict())
    del tensors[lost]
    with pytest.raises(WeightsError, match=said):
        load_strictly(timm_model(0), timm_names(tensors), "the hub")


def test_a_tensor_without_a_place_is_an_error() -> None:
    tensors = dict(hub_model(0).state_dict()) | {"encoder.layer.0.extra.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match="blocks.0.extra.weight is not in the model"):
        load_strictly(timm_model(0), timm_names(tensors), "the hub")


def test_timms_own_names_come_back_untouched() -> None:
    tensors = timm_model(0).state_dict()
    renamed = timm_names(tensors)
    assert list(renamed) == list(tensors) and all(renamed[name] is tensors[name] for name in tensors)

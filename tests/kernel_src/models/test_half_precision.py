"""Weights kept in fp16 change nothing that autocast has not changed already."""

import pytest
import timm
import torch

from kernel_src.models.half_precision import HALF_LAYERS, in_full_precision, is_in_half, keep_in_full, keep_in_half


def stored_net(name: str) -> torch.nn.Module:
    """A net whose matrices a bundle has rounded to fp16."""
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0).eval()
    with torch.no_grad():
        for layer in net.modules():
            if type(layer) in HALF_LAYERS:
                layer.weight.copy_(layer.weight.half().float())
    return net


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_convnext", "test_byobnet"])
def test_the_output_is_autocasts_to_the_last_bit_and_fp32_is_still_there(name: str) -> None:
    net, pictures = stored_net(name), torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        exact = net(pictures)
        with torch.autocast("cpu", torch.float16):
            rounded = net(pictures)
        full_bytes = sum(p.numel() * p.element_size() for p in net.parameters())
        keep_in_half(net)
        with torch.autocast("cpu", torch.float16):
            assert torch.equal(net(pictures), rounded)
        assert sum(p.numel() * p.element_size() for p in net.parameters()) < 0.6 * full_bytes
        with in_full_precision(net):
            assert torch.equal(net(pictures), exact)
        assert is_in_half(net)
        keep_in_full(net)
        assert torch.equal(net(pictures), exact) and not is_in_half(net)


def test_a_weight_that_two_layers_share_stays_one() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    net[1].weight = net[0].weight
    keep_in_half(net)
    assert net[0].weight is net[1].weight and net[0].weight.dtype == torch.float16


def test_norms_embeddings_and_layer_scales_stay_in_fp32() -> None:
    net = stored_net("test_vit")
    keep_in_half(net)
    halved = {name for name, p in net.named_parameters() if p.dtype == torch.float16}
    assert halved == {name for name, p in net.named_parameters() if p.ndim > 1} - {"pos_embed", "cls_token"}

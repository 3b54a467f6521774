"""## Weights at half precision

A GPU keeps the weights of linear layers and convolutions, over 99 % of a net's bytes, in fp16, as the bundle stores
them. Autocast would round them to fp16 before each multiplication anyway, so nothing is lost. Everything else stays
fp32: biases, norms with their statistics, embeddings, layer scales, the scaling of the targets. An fp16 embedding or
layer scale would pull the sum that runs through all blocks into fp16.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.layers import Conv2dSame
from torch import nn

# By their exact type: a subclass may compute with its weight before it multiplies, as weight-standardised ones do.
HALF_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, Conv2dSame)


def _layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module) in HALF_LAYERS]


@torch.inference_mode(mode=False)  # or the new weights could never be written to again
def _keep_in(model: nn.Module, dtype: torch.dtype) -> None:
    done: dict[int, nn.Parameter] = {}  # a weight that several layers share stays one
    for layer in _layers(model):
        old: nn.Parameter = layer.weight  # type: ignore[assignment]
        if old.dtype != dtype and id(old) not in done:
            done[id(old)] = nn.Parameter(old.detach().to(dtype), requires_grad=False)
        layer.weight = done.get(id(old), old)


def keep_in_half(model: nn.Module) -> None:
    """Turn the weights of linear layers and convolutions into fp16, one after the other."""
    _keep_in(model, torch.float16)


def keep_in_full(model: nn.Module) -> None:
    """Undo `keep_in_half`: exact, but for what rounding to fp16 has cost before."""
    _keep_in(model, torch.float32)


def is_in_half(model: nn.Module) -> bool:
    """Tell whether the weights are kept in fp16."""
    return any(layer.weight.dtype == torch.float16 for layer in _layers(model))


@contextmanager
def in_full_precision(model: nn.Module) -> Iterator[None]:
    """Compute in fp32 for a moment with weights that are kept in fp16; afterwards they are what they were."""
    if not is_in_half(model):
        yield
        return
    try:
        keep_in_full(model)
        yield
    finally:
        keep_in_half(model)

"""## Weights at half precision

A GPU keeps the weights of linear layers and convolutions, over 99 % of a net's bytes, in fp16, as the bundle stores
them. Autocast would round them to fp16 before each multiplication anyway, so nothing is lost. Everything else stays
fp32: biases, norms with their statistics, embeddings, layer scales, the scaling to grams. An fp16 embedding or layer
scale would pull the sum that runs through all blocks into fp16.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.layers import Conv2dSame
from torch import nn

# By their exact type: a subclass may compute with its weight before it multiplies, as weight-standardised ones do.
HALF_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, Conv2dSame)


def _matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights that may be kept in fp16, one that several layers share once."""
    found = [module.weight for module in model.modules() if type(module) in HALF_LAYERS]
    return list({id(weight): weight for weight in found}.values())


def keep_in_half(model: nn.Module) -> None:
    """Turn the weights of linear layers and convolutions into fp16, in place, one after the other."""
    for weight in _matrices(model):
        weight.data = weight.data.half()


def keep_in_full(model: nn.Module) -> None:
    """Undo `keep_in_half`: exact, but for what rounding to fp16 has cost before."""
    for weight in _matrices(model):
        weight.data = weight.data.float()


def is_in_half(model: nn.Module) -> bool:
    """Tell whether the weights are kept in fp16."""
    return any(weight.dtype == torch.float16 for weight in _matrices(model))


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

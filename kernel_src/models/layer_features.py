"""## Layers and poolings

What a backbone makes of a picture: a map for each of its layers, pooled in some ways to a vector, or patch by patch.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

GEM_POWER, GEM_LEAST = 3.0, 1e-6
SIGNED_GEM_LEAST = 1e-9  # where the mean cube is near 0, its root would have an endless slope


def generalised_mean(maps: torch.Tensor) -> torch.Tensor:
    """Pool (B, C, H, W) to (B, C), between mean and maximum; what is negative counts as nothing.

    Source: Radenović et al., Fine-tuning CNN Image Retrieval with No Human Annotation, 2018, eq. 3.
    """
    return maps.clamp(min=GEM_LEAST).pow(GEM_POWER).mean((2, 3)).pow(1 / GEM_POWER)


def signed_generalised_mean(maps: torch.Tensor) -> torch.Tensor:
    """Pool (B, C, H, W) to (B, C): the signed cube root of the mean of signed cubes.

    As the 13th of the competition pooled tokens, which are negative as often as not. The root is m / (m² + ε)^(1/3), a
    line where m is smaller than √ε = 3e-5.
    """
    mean = (maps * maps.square()).mean((2, 3))
    return mean / (mean.square() + SIGNED_GEM_LEAST).pow(1 / 3)


MAP_POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
    "min": lambda maps: maps.amin((2, 3)),
    "gem": generalised_mean,
    "signed_gem": signed_generalised_mean,
}


# %%
class LayerOutput(NamedTuple):
    """What one layer shows of a batch."""

    maps: torch.Tensor  # (B, C, h, w)
    prefix: torch.Tensor | None  # (B, tokens, C), the CLS token first; None where there is none


def has_cls(backbone: nn.Module) -> bool:
    """Tell whether a backbone has a CLS token."""
    return getattr(backbone, "cls_token", None) is not None


def layer_outputs(
    backbone: Any, pictures: torch.Tensor, layers: tuple[int, ...], own: bool = False
) -> tuple[torch.Tensor | None, list[LayerOutput]]:
    """Pass pictures (B, 3, H, W) once: the backbone's own pooling (B, F) if asked for, and what each layer shows.

    `layers` count from the last, 1; each is normalised as the last one is. Without `own`, what lies behind the last
    of them is not computed.
    """
    deepest_last = sorted(layers, reverse=True)
    prefixed = has_cls(backbone)
    options: dict[str, Any] = {"indices": [-layer for layer in deepest_last], "norm": True}
    if prefixed:
        options["return_prefix_tokens"] = True
    pooled = None
    if own:
        last, found = backbone.forward_intermediates(pictures, **options)
        pooled = backbone.forward_head(last)
    else:
        found = backbone.forward_intermediates(pictures, **options, intermediates_only=True, stop_early=True)
    outputs = [LayerOutput(*one) if prefixed else LayerOutput(one, None) for one in found]
    of_layer = dict(zip(deepest_last, outputs, strict=True))
    return pooled, [of_layer[layer] for layer in layers]


def pooled_layers(
    backbone: Any, pictures: torch.Tensor, layers: tuple[int, ...], poolings: tuple[str, ...]
) -> list[torch.Tensor]:
    """Pool pictures (B, 3, H, W): the backbone's own pooling first if asked for, then layer by layer, each (B, C).

    In fp32 but for `own` and `cls`: half precision has no room for cubes.
    """
    others = tuple(pooling for pooling in poolings if pooling != "own")
    if not others:
        return [backbone(pictures)]
    own, outputs = layer_outputs(backbone, pictures, layers, own="own" in poolings)
    blocks = [] if own is None else [own]
    for maps, prefix in outputs:
        full = maps.float()
        for pooling in others:
            if pooling == "cls":
                assert prefix is not None
                blocks.append(prefix[:, 0])
            else:
                blocks.append(MAP_POOLINGS[pooling](full))
    return blocks


def patch_tokens(backbone: Any, pictures: torch.Tensor, layers: tuple[int, ...]) -> torch.Tensor:
    """Return what some layers show of each patch of pictures (B, 3, H, W), side by side: (B, h w, C), row by row.

    The stages of a convolutional net have maps of different sizes: they are averaged to the smallest.
    """
    maps = [output.maps for output in layer_outputs(backbone, pictures, layers)[1]]
    height, width = min((one.shape[2], one.shape[3]) for one in maps)
    alike = [one if one.shape[2:] == (height, width) else adaptive_avg_pool2d(one, (height, width)) for one in maps]
    return torch.cat(alike, 1).flatten(2).transpose(1, 2)


# %%
def layer_widths(backbone: Any, layers: tuple[int, ...]) -> list[int]:
    """Return how many channels each layer has."""
    return [int(backbone.feature_info[-layer]["num_chs"]) for layer in layers]


def pooled_width(backbone: Any, layers: tuple[int, ...], poolings: tuple[str, ...]) -> int:
    """Return how many numbers `pooled_layers` makes of a picture."""
    others = len(poolings) - ("own" in poolings)
    own = int(backbone.head_hidden_size) if "own" in poolings else 0
    return own + (others * sum(layer_widths(backbone, layers)) if others else 0)


def patch_count(backbone: Any, layers: tuple[int, ...], sizes_px: tuple[tuple[int, int], ...]) -> int:
    """Return how many patches `patch_tokens` makes of pictures of these sizes, about: a net may pad."""
    stride = max(int(backbone.feature_info[-layer]["reduction"]) for layer in layers)
    return sum(-(-height // stride) * -(-width // stride) for height, width in sizes_px)


def missing_layers(backbone: Any, layers: tuple[int, ...], poolings: tuple[str, ...]) -> Iterator[str]:
    """Say what of layers and poolings a backbone has not; `poolings` is empty where its patches are read."""
    if poolings == ("own",):
        return
    if "cls" in poolings and not has_cls(backbone):
        yield "has no CLS token: pool by own or by mean"
    if not hasattr(backbone, "forward_intermediates"):
        yield "does not show its layers: own is the only pooling that it has"
    elif max(layers) > (depth := len(backbone.feature_info)):
        yield f"has {depth} layers, encoder.layers={layers} asks for more"

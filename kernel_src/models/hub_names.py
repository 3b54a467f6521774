"""## Names on the hub

Most weights are published under timm's own names. Meta's own DINOv2, on the hub and as Kaggle Model, has the names of
transformers: query, key and value lie apart, and what timm calls a block is a layer. Nothing is left over: a tensor
that has no place raises where the weights are loaded.
"""

import re
from collections.abc import Mapping

import torch

from kernel_src.runtime.parts import OptionalPart

DINOV2_MARK = "embeddings.patch_embeddings.projection.weight"
# transformers' name → timm's, for what is not per layer.
DINOV2_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
# The same within a layer.
DINOV2_LAYER_NAMES = {
    "norm1": "norm1",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "layer_scale2.lambda1": "ls2.gamma",
}
DINOV2_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
QUERY_KEY_VALUE = ("query", "key", "value")  # the order in which timm stacks them


def timm_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the tensors of a checkpoint timm's names; one that has them already comes back as it is.

    The mask token of DINOv2's pretraining is dropped: it stands for patches that were hidden, and none is here. With
    registers, timm adds no position embedding to the CLS token, so that token's is added to the token itself.
    """
    plain = {key.removeprefix("dinov2.").removeprefix("dinov2_with_registers."): t for key, t in tensors.items()}
    if DINOV2_MARK not in plain:
        return dict(tensors)
    plain.pop("embeddings.mask_token", None)
    renamed: dict[str, torch.Tensor] = {}
    apart: dict[str, dict[str, torch.Tensor]] = {}  # query, key and value of one layer, weights or biases
    for key, tensor in plain.items():
        stem, _, last = key.rpartition(".")
        layer = DINOV2_LAYER.fullmatch(key)
        if layer is None:
            renamed[DINOV2_NAMES.get(key) or f"{DINOV2_NAMES.get(stem, stem)}.{last}"] = tensor
            continue
        number, name = layer.groups()
        inner, _, kind = name.rpartition(".")
        part = inner.removeprefix("attention.attention.")
        if part in QUERY_KEY_VALUE and part != inner:
            apart.setdefault(f"blocks.{number}.attn.qkv.{kind}", {})[part] = tensor
        else:
            new = DINOV2_LAYER_NAMES.get(name) or f"{DINOV2_LAYER_NAMES.get(inner, inner)}.{kind}"
            renamed[f"blocks.{number}.{new}"] = tensor
    for key, parts in apart.items():
        if set(parts) == set(QUERY_KEY_VALUE):  # a part that is missing leaves the whole missing, and loading says so
            renamed[key] = torch.cat([parts[part] for part in QUERY_KEY_VALUE])
    if "reg_token" in renamed:
        positions = renamed["pos_embed"]
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:].contiguous()
    return renamed


class HubNameParts(OptionalPart):
    """What loading asks for where weights may have the hub's names."""

    part = "hub_names"
    timm_names = staticmethod(timm_names)

"""Weights in several files beside an index, as the hub lays them out."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from kernel_src.runtime.weight_sources import INDEX_FILE
from kernel_src.training.checkpoint import save_tensors


def write_shards(folder: Path, tensors: Mapping[str, torch.Tensor], count: int = 3) -> Path:
    """Write tensors into `count` files of about the same size and return the index."""
    folder.mkdir(parents=True, exist_ok=True)
    total, behind = sum(tensor.nbytes for tensor in tensors.values()), 0
    shards: list[dict[str, torch.Tensor]] = [{} for _ in range(count)]
    for name, tensor in tensors.items():
        shards[min(count - 1, count * behind // total)][name] = tensor
        behind += tensor.nbytes
    files = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{count:05}.safetensors"
        save_tensors(folder / file, shard)
        files |= dict.fromkeys(shard, file)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": files}, indent=2)
    (folder / INDEX_FILE).write_text(text)
    return folder / INDEX_FILE

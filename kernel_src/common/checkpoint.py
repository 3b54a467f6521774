"""## Checkpoints

After every epoch the whole state goes to one safetensors file, numbers and all: weights, optimiser, and the progress as
JSON in its header. One file, renamed into place, so a killed session leaves the old state or the new one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from kernel_src.common.files import write_atomically
from kernel_src.common.model import load_strictly


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; `notes` go into the file's header."""
    owned = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda draft: save_file(owned, draft, dict(notes or {})))


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Write everything that the rest of the training depends on."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        # torch.optim keeps its numbers as tensors, down to the step count.
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    save_tensors(path, tensors, {"progress": json.dumps(progress)})


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a checkpoint back into a model and an optimiser that were built the same way, and return the progress.

    Raises:
        WeightsError: the checkpoint belongs to another model.
    """
    weights: dict[str, torch.Tensor] = {}
    states: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118  (safe_open is no mapping)
            kind, _, name = key.partition(".")
            if kind == "model":
                weights[name] = file.get_tensor(key)
            else:
                index, _, slot = name.partition(".")
                states.setdefault(int(index), {})[slot] = file.get_tensor(key)
        progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    load_strictly(model, weights, str(path))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return progress

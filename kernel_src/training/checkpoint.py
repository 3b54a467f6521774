"""## Checkpoints

The whole state of a training goes to one safetensors file: weights, their average, those of the best epochs, optimiser,
and the progress as JSON in the header. One file, renamed into place, so a killed session leaves the old state or the
new one. Random states are not in it because there are none: every number is drawn by its place.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from kernel_src.models.model import load_strictly
from kernel_src.runtime.files import WeightsError, write_atomically
from kernel_src.runtime.untrusted import checked_count, parsed_json, quoted
from kernel_src.runtime.weight_files import open_weights
from kernel_src.training.averages import KeptWeights


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; `notes` go into the file's header."""
    owned = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda draft: save_file(owned, draft, dict(notes or {})))


@dataclass(kw_only=True)
class Progress:
    """How far the training of a fold has come."""

    epoch: int = 0  # whole epochs
    batch: int = 0  # batches of the epoch begun
    step: int = 0  # optimiser steps since the beginning
    losses: list[float] = field(default_factory=list)  # of the epoch begun, one per batch
    seconds: float = 0.0  # that the epoch begun took in earlier sessions
    log: list[dict[str, Any]] = field(default_factory=list)  # one row per whole epoch
    best: list[list[float]] = field(default_factory=list)  # inner loss and number from 1 of the best epochs
    precision: str = ""  # "fp16" or "fp32", once it is decided
    scaler: dict[str, float] = field(default_factory=dict)  # how far half precision scales its gradients
    parts: int = 1  # micro-batches that each batch is cut into, because the memory was too little
    left_out: int = 0  # batches that were not finite in fp16


# %%
def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    kept: KeptWeights | None = None,
) -> None:
    """Write everything that the rest of the training depends on."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if kept is not None:
        progress.best = [list(one) for one in kept.best.epochs]
        for epoch, weights in kept.best.weights.items():
            tensors |= {f"best.{epoch}.{name}": tensor for name, tensor in weights.items()}
        if kept.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in kept.average.tensors.items()}
    for index, state in optimizer.state_dict()["state"].items():
        # torch.optim keeps its numbers as tensors, down to the step count.
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    save_tensors(path, tensors, {"progress": json.dumps(asdict(progress))})


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, kept: KeptWeights | None = None
) -> Progress:
    """Put a checkpoint back into a model, an optimiser and kept weights that were built the same way.

    Raises:
        WeightsError: the file is not a checkpoint, or damaged; it belongs to another model, or to a training that keeps
            other weights.
    """
    with open_weights(path) as file:
        progress = read_progress(file, path)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (safe_open is not a mapping)
    load_strictly(model, _tensors_of("model", tensors), str(path))
    averages, best = _tensors_of("average", tensors), _numbered("best", tensors, path)
    average = kept.average if kept is not None else None
    epochs = [(loss, int(number)) for loss, number in progress.best]  # JSON has lists of numbers
    if set(averages) != set(average.tensors if average is not None else {}) or set(best) != {n for _, n in epochs}:
        raise WeightsError(f"{path} does not fit: it was written with another keep")
    if average is not None:
        average.load(averages)
    if kept is not None:
        kept.best.epochs, kept.best.weights = epochs, {number: best[number] for _, number in epochs}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _numbered("optimizer", tensors, path)})
    return progress


def _tensors_of(kind: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a kind, by what comes after it in their names."""
    return {key.removeprefix(f"{kind}."): value for key, value in tensors.items() if key.startswith(f"{kind}.")}


def _numbered(kind: str, tensors: Mapping[str, torch.Tensor], path: Path) -> dict[int, dict[str, torch.Tensor]]:
    """Return the tensors of a kind by number and name.

    Raises:
        WeightsError: a name has no number.
    """
    found: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _tensors_of(kind, tensors).items():
        number, _, name = key.partition(".")
        if not number.isascii() or not number.isdigit() or not name:
            raise WeightsError(f"{path} is not a checkpoint of a training: it holds {quoted(f'{kind}.{key}')}")
        found.setdefault(int(number), {})[name] = value
    return found


def read_progress(file: Any, path: Path) -> Progress:
    """Read the progress from the header of an open checkpoint.

    Raises:
        WeightsError: there is none, or none as this notebook writes it.
    """
    try:
        values = parsed_json((file.metadata() or {}).get("progress", "null").encode(), nan=True)
        progress = Progress(**values)
        for name in ("epoch", "batch", "step"):
            checked_count(getattr(progress, name))
        for loss, number in progress.best:
            checked_count(number)
            float(loss)
        return progress
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a checkpoint of a training ({error}): delete it, the fold begins anew"
        ) from None


def steps_done(path: Path) -> int:
    """Return how many optimiser steps lie in a checkpoint, from its header alone; -1 if it is not there.

    Raises:
        WeightsError: it is damaged.
    """
    if not path.exists():
        return -1
    with open_weights(path) as file:
        return read_progress(file, path).step

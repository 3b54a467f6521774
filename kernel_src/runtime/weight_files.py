"""## Files of weights

Weights are safetensors and nothing else, and every number in them is finite.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.memory import is_out_of_memory


def not_weights(path: Path, error: Exception) -> WeightsError:
    """Return the error for a file that cannot be read as safetensors, in one line."""
    why = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return WeightsError(f"{path} cannot be read as safetensors ({why}) → download it again, whole")


def open_weights(path: Path, framework: str = "pt") -> Any:
    """Open a safetensors file as `safe_open` does; no tensor is read yet.

    Raises:
        WeightsError: it is something else, or damaged; sizes that do not add up to the file's are found here.
    """
    try:
        return safe_open(path, framework)
    except (SafetensorError, OSError) as error:
        raise not_weights(path, error) from None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a safetensors file, each finite.

    Raises:
        WeightsError: the file is something else, or damaged; or tensors in it are not finite, or no weights.
    """
    try:
        tensors = dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError, AttributeError) as error:  # the last two: kinds torch cannot hold
        if is_out_of_memory(error):
            raise  # which says nothing about the file
        raise not_weights(path, error) from None
    if faults := odd_tensors(tensors):
        raise WeightsError(f"{path} cannot be used: {faults}")
    return tensors


WEIGHT_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNTER_KINDS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def odd_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """Say which tensors are not weights or hold NaN or infinity; empty if all are as they should be."""
    foreign = [f"{name} ({tensor.dtype})" for name, tensor in tensors.items() if not _is_plain(tensor)]
    if foreign:
        return f"no plain weights are {_listed(foreign)}"
    broken = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    return f"NaN or infinite numbers in {_listed(broken)} → take a checkpoint from before it diverged" if broken else ""


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        tensor.layout == torch.strided and tensor.dtype in WEIGHT_KINDS + COUNTER_KINDS and tensor.device.type == "cpu"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" … {len(names)} in all" if len(names) > 3 else "")


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether every number is finite in fp32: its extremes are, and NaN would be one. 0.05 s for 350 MB."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor)
    return math.isfinite(low.float().item()) and math.isfinite(high.float().item())

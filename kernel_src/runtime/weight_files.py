"""## Files of weights

Weights are safetensors and nothing else, and every number in them is finite. Large ones lie in several files beside an
index, as the hub lays them out: `path` is then the index, wherever a path of weights is asked for.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from kernel_src.runtime.files import WEIGHTS_SUFFIX, WeightsError, sha256_of
from kernel_src.runtime.memory import is_out_of_memory
from kernel_src.runtime.untrusted import checked_file_name, checked_text, parsed_json, plain_file, quoted

INDEX_SUFFIX = ".index.json"
GROUP_BYTES = 1 << 26  # of weights that `tensor_groups` holds at a time


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
    """Read all tensors of a safetensors file, or of all files of an index, each finite.

    Raises:
        WeightsError: a file is missing, something else, or damaged; the index is wrong; or tensors are not finite, or
            no weights.
    """
    if path.name.endswith(INDEX_SUFFIX):
        return {name: tensor for file in files_of(path) for name, tensor in read_weights(file).items()}
    try:
        tensors = dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError, AttributeError) as error:  # the last two: kinds torch cannot hold
        if is_out_of_memory(error):
            raise  # which says nothing about the file
        raise not_weights(path, error) from None
    if faults := odd_tensors(tensors):
        raise WeightsError(f"{path} cannot be used: {faults}")
    return tensors


# %%
def tensor_files(path: Path) -> dict[str, Path]:
    """Map the name of each tensor to the file that holds it; of an index everything that it says is compared.

    Raises:
        WeightsError: a file is missing, lies elsewhere or is damaged; or the index is not as the hub writes it, or
            names other tensors than the files hold.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        with open_weights(path) as file:
            return dict.fromkeys(file.keys(), path)
    said = _read_index(path)
    for shard in dict.fromkeys(said.values()):
        with open_weights(shard) as file:
            held = set(file.keys())
        listed = {name for name, place in said.items() if place == shard}
        if odd := sorted(listed ^ held):
            where = "the index names it there, the file lacks it" if odd[0] in listed else "the index lacks it"
            raise WeightsError(
                f"{path} does not fit {shard.name}: {quoted(odd[0])}: {where} ({len(odd)} in all) → download both again"
            )
    return said


def _read_index(path: Path) -> dict[str, Path]:
    """Return the file of each tensor as the index says; nothing but plain safetensors files beside it are named."""
    try:
        value = parsed_json(plain_file(path.parent, path.name).read_bytes())
        entries = value.get("weight_map") if isinstance(value, dict) else None
        if not isinstance(entries, dict) or not entries:
            raise ValueError('it has no "weight_map" from tensors to files')
        for name, file in entries.items():
            checked_text(name)
            if not checked_file_name(file).endswith(WEIGHTS_SUFFIX):
                raise ValueError(f"{quoted(file)} is not a safetensors file")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be used as an index of weights: {error} → download it again") from None
    shards = {}
    for file in dict.fromkeys(entries.values()):
        try:
            shards[file] = plain_file(path.parent, file)
        except (OSError, ValueError) as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise WeightsError(f"{path.parent / file} {what}: {path.name} names it → attach all shards") from None
    return {name: shards[file] for name, file in entries.items()}


def files_of(path: Path) -> list[Path]:
    """Return the safetensors files of weights, in the order of their names: the one, or all of an index.

    Raises:
        WeightsError: see `tensor_files`.
    """
    return sorted(set(tensor_files(path).values())) if path.name.endswith(INDEX_SUFFIX) else [path]


def weights_sha256(path: Path) -> str:
    """Return the sha256 of weights: the file's own, or of an index that of a list of its files with their sha256.

    The list is what `sha256sum` prints for the files in the order of their names, so that the index's own bytes and
    its spaces do not count.

    Raises:
        WeightsError: see `tensor_files`.
    """
    if not path.name.endswith(INDEX_SUFFIX):
        return sha256_of(path)
    return hashlib.sha256("".join(f"{sha256_of(file)}  {file.name}\n" for file in files_of(path)).encode()).hexdigest()


# %%
class TensorHeader(NamedTuple):
    """What a file says of a tensor before it is read."""

    shape: tuple[int, ...]
    kind: torch.dtype | None  # None: one that is not used for weights

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def tensor_headers(files: Mapping[str, Path]) -> dict[str, TensorHeader]:
    """Read the headers of tensors, as `tensor_files` named them, in its order."""
    found = {}
    for path in dict.fromkeys(files.values()):
        with open_weights(path) as file:
            for name in (name for name, place in files.items() if place == path):
                part = file.get_slice(name)
                found[name] = TensorHeader(tuple(part.get_shape()), HEADER_KINDS.get(part.get_dtype()))
    return {name: found[name] for name in files}


def tensor_groups(files: Mapping[str, Path], names: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Read tensors file by file, in groups of `GROUP_BYTES`, or of one that is larger.

    A file is opened anew for each group: what was read of it is mapped memory of this process until it is closed. Let
    go of a group before you ask for the next.

    Raises:
        WeightsError: a file is damaged; tensors are not finite, or no weights.
    """
    wanted = list(names)
    headers = tensor_headers({name: files[name] for name in wanted})
    for path in dict.fromkeys(files[name] for name in wanted):
        waiting = [name for name in wanted if files[name] == path]
        while waiting:
            group = [waiting.pop(0)]
            left = GROUP_BYTES - 4 * headers[group[0]].numbers
            while waiting and (left := left - 4 * headers[waiting[0]].numbers) >= 0:
                group.append(waiting.pop(0))
            yield _read_some(path, group)


def _read_some(path: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    try:
        with open_weights(path) as file:
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise not_weights(path, error) from None
    if faults := odd_tensors(tensors):
        raise WeightsError(f"{path} cannot be used: {faults}")
    return tensors


# %%
WEIGHT_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNTER_KINDS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
# As a file's header names them.
HEADER_KINDS = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
}


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

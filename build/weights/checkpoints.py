"""A downloaded checkpoint, recognised by its bytes, read without running code, and unwrapped without a silent choice.

Training code wraps weights in many ways: `{"state_dict": …, "epoch": …}`, the names behind `module.` or `_orig_mod.`,
the averaged weights beside the plain ones. What is taken, and what was taken off the names, is said; where two sets of
weights lie side by side, the user chooses. Whatever else lies there is named in one line.
"""

import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core.errors import CheckFailed, Problem
from build.weights.file_kinds import kind_of_file

if TYPE_CHECKING:
    import torch

AS_SAFETENSORS = "take the release in safetensors, or ask its author for one"
# What parallel and compiled training, and classes around the network, put before every name.
PREFIXES = (
    "module.",
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_forward_module.",
    "model.",
    "net.",
    "network.",
    "backbone.",
)
DEEPEST = 3  # wrappings inside one another: checkpoint, state, model
SPARE_BYTES = 1 << 30  # of memory that reading may take beyond three times the file


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of a file, as they lay in it, and what was unwrapped."""

    tensors: "dict[str, torch.Tensor]"
    taken: str  # "state_dict, names without module."; empty: the tensors lay bare


def read_checkpoint(path: Path, part: str = "") -> Checkpoint:
    """Read the weights of a file: safetensors, or what `torch.save` wrote, if it holds nothing but plain data.

    `part` names the set of weights to be taken where there are several.

    Raises:
        CheckFailed: the file is something else, damaged, would run code, claims more memory than it has bytes, or holds
            several sets of weights, or numbers that are not finite; one line says which.
    """
    from kernel_src.runtime.files import WeightsError
    from kernel_src.runtime.weight_files import odd_tensors, read_weights

    kind = kind_of_file(path)
    if kind.key == "safetensors" and kind.cure:
        raise _problem(path, f"cannot be read: it is {kind.what}", kind.cure)
    if kind.key == "safetensors":
        try:
            found: Any = read_weights(path)
        except WeightsError as error:
            raise CheckFailed([Problem(what=str(error))]) from None
    elif kind.key == "torch":
        found = _torch_data(path)
    else:
        raise _problem(path, f"{kind.what}, not weights: safetensors, or what torch.save wrote", kind.cure)
    tensors, taken = _unwrapped(found, path, part)
    _refuse_claims(tensors, path)
    if faults := odd_tensors(tensors):
        raise _problem(path, f"cannot be used: {faults}", AS_SAFETENSORS)
    return Checkpoint(tensors=tensors, taken=taken)


def _problem(path: Path, what: str, cure: str) -> CheckFailed:
    return CheckFailed([Problem(what=what, where=str(path), cure=cure)])


# %%
def _torch_data(path: Path) -> Any:
    """Read what torch.save wrote: tensors, texts, numbers, lists and dictionaries, and nothing that runs code."""
    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            size = sum(entry.file_size for entry in archive.infolist())
        if packed or size > path.stat().st_size:
            raise _problem(path, "a checkpoint whose parts are compressed, which torch.save never does", AS_SAFETENSORS)
    try:
        # An open file, because of a path torch would go by the suffix.
        with _memory_limit(3 * path.stat().st_size + SPARE_BYTES), path.open("rb") as handle:
            return torch.load(handle, map_location="cpu", weights_only=True)
    except MemoryError:
        raise _problem(path, "it claims far more memory than it has bytes", AS_SAFETENSORS) from None
    except Exception as error:  # a damaged or hostile file raises whatever its bytes happen to ask for
        raise _problem(path, *_reason(str(error))) from None


def _reason(text: str) -> tuple[str, str]:
    """Say why torch refused a file, and the cure; torch's own advice, to run the code in it, is not repeated."""
    if named := re.search(r"GLOBAL ([\w.]+)", text) or re.search(
        r"(?:global|class|function) ([\w]+(?:\.[\w]+)+)", text
    ):
        return f"holds {named[1]}, which is code and not weights: not opened", AS_SAFETENSORS
    if "allocate" in text or "memory" in text:
        return "it claims far more memory than it has bytes", AS_SAFETENSORS
    if "weights_only" in text or "Weights only" in text or "Unsupported" in text:
        return "holds more than tensors, texts and numbers, which could run code: not opened", AS_SAFETENSORS
    return "a checkpoint of torch.save that is damaged or cut short", "download it again, whole"


@contextmanager
def _memory_limit(more_bytes: int) -> Iterator[None]:
    """Let the process take so much more memory in this block: a file can name sizes that it does not have."""
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = now + more_bytes
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _refuse_claims(tensors: "Mapping[str, torch.Tensor]", path: Path) -> None:
    """Refuse tensors that repeat a few bytes: writing them out would take what the file claims, not what it has."""
    import torch

    strided = {name: t for name, t in tensors.items() if t.layout == torch.strided and t.device.type == "cpu"}
    claimed = {name: t.numel() * t.element_size() for name, t in strided.items()}
    for name, tensor in strided.items():
        if claimed[name] > (held := tensor.untyped_storage().nbytes()):
            what = f"{name} claims {claimed[name]:,} bytes and has {held:,}"
            raise _problem(path, what, AS_SAFETENSORS)
    if (total := sum(claimed.values())) > 2 * (size := path.stat().st_size):
        raise _problem(path, f"its tensors claim {total:,} bytes, the file has {size:,}", AS_SAFETENSORS)


# %%
def _unwrapped(found: Any, path: Path, part: str) -> "tuple[dict[str, torch.Tensor], str]":
    """Return the tensors, and what of the file they are."""
    sets = dict(_sets_of_weights(found))
    if part:
        if part not in sets:
            raise _problem(
                path, f"holds no weights called {part!r}, but {_named(sets) or _kinds(found)}", "name one of them"
            )
        chosen = part
    elif not sets:
        raise _problem(path, f"holds {_kinds(found)}, no set of named tensors", AS_SAFETENSORS)
    elif len(sets) > 1:
        cure = f"say which by --part, such as --part {min(sets, key=len)}"
        raise _problem(path, f"holds several sets of weights: {_named(sets)}", cure)
    else:
        (chosen,) = sets
    tensors, removed = _without_prefixes(sets[chosen])
    words = [chosen] if chosen else []
    words += [f"names without {removed}"] if removed else []
    return tensors, ", ".join(words)


def _named(sets: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name or 'the top'} ({len(tensors)} tensors)" for name, tensors in sets.items())


def _sets_of_weights(found: Any, above: str = "", depth: int = 0) -> "Iterator[tuple[str, dict[str, torch.Tensor]]]":
    """Yield every dictionary of nothing but named tensors, by the keys that lead to it; an optimiser's is none."""
    import torch

    if not isinstance(found, Mapping) or not found or not all(isinstance(key, str) for key in found):
        return
    if all(isinstance(value, torch.Tensor) for value in found.values()):
        if any(value.ndim for value in found.values()):  # else they are scores of the training
            yield above, dict(found)
    elif depth < DEEPEST:
        for key, value in found.items():
            if re.search("optim|sched|scaler|rng", key) is None:
                yield from _sets_of_weights(value, f"{above}.{key}" if above else key, depth + 1)


def _without_prefixes(tensors: "dict[str, torch.Tensor]") -> "tuple[dict[str, torch.Tensor], str]":
    """Take off what stands before every name."""
    removed = ""
    while prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        removed += prefix
    return tensors, removed


def _kinds(found: Any) -> str:
    """Say in a few words what a file holds."""
    import torch

    if isinstance(found, Mapping):
        tensors = [str(key)[:40] for key, value in found.items() if isinstance(value, torch.Tensor)]
        others = [f"{str(key)[:40]} ({type(value).__name__})" for key, value in found.items()][:200]
        others = [text for text in others if not text.endswith("(Tensor)")]
        mixed = f"{len(tensors)} tensors ({', '.join(tensors[:2])}) beside " if tensors else "a dictionary of "
        return mixed + (", ".join(others[:4]) or "nothing") + (" …" if len(others) > 4 else "")
    if isinstance(found, list | tuple):
        kinds = ", ".join(sorted({type(value).__name__ for value in found[:1000]}))
        return f"a {type(found).__name__} of {len(found)} ({kinds})" if found else f"an empty {type(found).__name__}"
    return "a single tensor" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"

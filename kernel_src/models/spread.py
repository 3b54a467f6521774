"""## A backbone larger than a GPU

DINOv3-7B has 13.4 GB of weights in fp16, a T4 has 15: beside them there is no room to compute. So the first half of the
blocks lies on one GPU, the second on the other, and what passes the border is moved. Not by `accelerate`, which does
the same with hooks: it reads whole shards, leaves random what a file lacks, takes names as they are, and a machine
without GPUs cannot try its path over two devices. These weights are read some 64 MB at a time
and go straight to their place, so the host's memory never holds the network.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from kernel_src.models.half_precision import HALF_LAYERS
from kernel_src.models.model import BUILD_ERRORS, misfits
from kernel_src.models.precision import LARGEST_DIFFERENCE, PrecisionChoice, precision_difference
from kernel_src.models.starting_weights import as_timm_has_them
from kernel_src.runtime.device import Spread
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.parts import OptionalPart
from kernel_src.runtime.weight_files import TensorHeader, tensor_files, tensor_groups, tensor_headers

LARGEST_HALF = 65504.0  # of fp16


# %%
class _Sources(NamedTuple):
    """Where the weights of a backbone come from."""

    files: Mapping[str, Path]  # by the names in the files
    names: Mapping[str, str]  # backbone's name → name in a file, of what is taken as it is
    made: Mapping[str, torch.Tensor]  # backbone's name → what is computed from others, such as resampled embeddings


def _sources(backbone: nn.Module, weights: Path) -> _Sources:
    """Find what fills a backbone without reading more than what must be converted.

    timm's own functions rename and convert tensors without memory: one that comes back as the same object was only
    renamed. What was made anew is made once more from real tensors.

    Raises:
        WeightsError: a key is missing, left over, or of another shape.
    """
    files = tensor_files(weights)
    headers = tensor_headers(files)
    if foreign := [name for name, header in headers.items() if header.kind is None]:
        raise WeightsError(f"{weights} cannot be used: {foreign[0]} is of a kind that no weights have")
    empty = {name: _without_numbers(header) for name, header in headers.items()}
    as_timm = _converted(empty, backbone, weights)
    if faults := misfits(backbone.state_dict(), as_timm):
        more = f" … {len(faults)} in all" if len(faults) > 5 else ""
        raise WeightsError(f"{weights} does not fit the model: {'; '.join(faults[:5])}{more}")
    origin = {id(tensor): name for name, tensor in empty.items()}
    names = {key: origin[id(tensor)] for key, tensor in as_timm.items() if id(tensor) in origin}
    made: dict[str, torch.Tensor] = {}
    if len(names) < len(as_timm):
        rest = [name for name in empty if name not in set(names.values())]
        real = {name: tensor.clone() for group in tensor_groups(files, rest) for name, tensor in group.items()}
        again = _converted(empty | real, backbone, weights)
        made = {key: tensor for key, tensor in again.items() if key not in names}
        if lost := [key for key, tensor in made.items() if tensor.is_meta]:
            raise WeightsError(f"{weights}: {lost[0]} cannot be made tensor by tensor → save it under timm's names")
    return _Sources(files, names, made)


def _without_numbers(header: TensorHeader) -> torch.Tensor:
    return torch.empty(header.shape, dtype=header.kind, device="meta")


def _converted(given: dict[str, torch.Tensor], backbone: nn.Module, weights: Path) -> dict[str, torch.Tensor]:
    try:
        return as_timm_has_them(dict(given), backbone)
    except BUILD_ERRORS as error:  # timm's functions take the tensors of another network as far as they get
        raise WeightsError(f"{weights} does not fit the model ({type(error).__name__}: {error})") from None


# %%
def places_of(backbone: nn.Module, devices: tuple[torch.device, ...]) -> dict[str, torch.device]:
    """Place the layers of a ViT, one after the other, so that each device has about as many numbers as the others.

    Returns the device of each child of the backbone and of each block, by name; parameters of the backbone itself are
    with its first layers.

    Raises:
        WeightsError: it does not consist of blocks.
    """
    blocks = getattr(backbone, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not hasattr(backbone, "forward_intermediates"):
        raise WeightsError(
            f"{type(backbone).__name__} has no row of blocks that could be spread over {len(devices)} devices: take a "
            "backbone that one GPU can hold"
        )
    children = [name for name, _ in backbone.named_children()]
    before = children[: children.index("blocks")]
    sizes = [sum(p.numel() for p in block.parameters()) for block in blocks]
    places, behind, total = dict.fromkeys(before, devices[0]), 0, sum(sizes)
    for number, size in enumerate(sizes):
        places[f"blocks.{number}"] = devices[min(len(devices) - 1, len(devices) * (behind + size // 2) // total)]
        behind += size
    return places | dict.fromkeys(children[len(before) + 1 :], devices[-1])


def _place_of(name: str, places: Mapping[str, torch.device], first: torch.device) -> torch.device:
    """Return the device of a parameter or buffer by its name."""
    parts = name.split(".")
    return places.get(".".join(parts[:2])) or places.get(parts[0]) or first


def _move_inputs(module: nn.Module, device: torch.device) -> None:
    """Let a module take its inputs from wherever they are."""

    def moved(value: Any) -> Any:
        return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value

    def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(map(moved, given)), {name: moved(value) for name, value in named.items()}

    module.register_forward_pre_hook(hook, with_kwargs=True)


# %%
def fill_spread(
    backbone: nn.Module, weights: Path, spread: Spread, precision: str, size_px: tuple[int, int]
) -> PrecisionChoice:
    """Fill a backbone that was built without memory, each layer on its device, and compare fp16 with fp32.

    `precision` is one of `PRECISIONS`; `size_px` height and width of a picture. The weights that `keep_in_half` would
    turn into fp16 are stored so from the start.

    Raises:
        WeightsError: a key is missing, left over, of another shape, or not finite; the backbone cannot be spread; or
            its first block differs in fp16 by more than `LARGEST_DIFFERENCE`, and the experiment does not insist on it.
    """
    half = spread.half and precision != "fp32"
    sources, places = _sources(backbone, weights), places_of(backbone, spread.devices)
    for group in _read(backbone, sources, half):
        on_device = {name: tensor.to(_place_of(name, places, spread.devices[0])) for name, tensor in group.items()}
        backbone.load_state_dict(on_device, strict=False, assign=True)
        del group, on_device
    _compute_buffers(backbone, weights)
    for name, buffer in list(backbone.named_buffers()):
        owner, _, key = name.rpartition(".")
        backbone.get_submodule(owner)._buffers[key] = buffer.to(_place_of(name, places, spread.devices[0]))
    for name, device in places.items():
        _move_inputs(backbone.get_submodule(name), device)
    backbone.requires_grad_(False).eval()
    if not half:
        why = "the experiment says so" if spread.half else "this device has no fast fp16"
        return PrecisionChoice(False, f"{why}; spread over {len(spread.devices)} devices")
    return _checked_half(backbone, weights, sources, spread, precision, size_px)


def _read(
    backbone: nn.Module, sources: _Sources, half: bool, only: frozenset[str] | None = None
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the weights (or `only` some) by the backbone's names, in the precision that they are kept in."""
    wanted = backbone.state_dict()
    in_half = {f"{name}.weight" for name, layer in backbone.named_modules() if half and type(layer) in HALF_LAYERS}

    def kept(name: str, tensor: torch.Tensor) -> torch.Tensor:
        # In their own memory: what is read from a file is mapped. Channels last is best for convolutions.
        order = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        if name not in in_half:
            kind = torch.float32 if wanted[name].is_floating_point() else wanted[name].dtype
            return tensor.to(kind, copy=True, memory_format=order)
        low, high = torch.aminmax(tensor)
        if max(-float(low), float(high)) > LARGEST_HALF:
            raise WeightsError(f"{name} holds numbers beyond {LARGEST_HALF:g}, where fp16 ends: it needs fp32")
        return tensor.to(torch.float16, copy=True, memory_format=order)

    chosen = {key: name for key, name in sources.names.items() if only is None or key in only}
    keys = {name: key for key, name in chosen.items()}
    for group in tensor_groups(sources.files, chosen.values()):
        yield {keys[name]: kept(keys[name], tensor) for name, tensor in group.items()}
        del group
    yield {key: kept(key, tensor) for key, tensor in sources.made.items() if only is None or key in only}


def _compute_buffers(backbone: nn.Module, weights: Path) -> None:
    """Let timm compute what is in no file, such as the periods of rotary embeddings."""
    for name, module in backbone.named_modules():
        own = [key for key, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        for key in own:
            module._buffers[key] = torch.empty_like(module._buffers[key], device="cpu")
        if own and not hasattr(module, "init_non_persistent_buffers"):
            raise WeightsError(f"{weights}: timm does not say how {name}.{own[0]} is computed: it cannot be spread")
        if own:
            module.init_non_persistent_buffers()  # timm's


# %%
def _checked_half(
    backbone: nn.Module,
    weights: Path,
    sources: _Sources,
    spread: Spread,
    precision: str,
    size_px: tuple[int, int],
) -> PrecisionChoice:
    """Compare the first block in fp16 with the same in fp32, whose weights are read for it; the rest has no room."""
    first, state = spread.devices[0], backbone.state_dict()
    if first.type == "meta":
        return PrecisionChoice(True, "not compared with fp32: nothing is computed")
    noise = torch.randn(1, 3, *size_px, generator=torch.Generator().manual_seed(0))  # spread as normalised pictures are
    picture = noise.to(first)
    with torch.autocast(first.type, torch.float16):
        in_half = _first_block(backbone, picture)
    children = [name for name, _ in backbone.named_children()]
    behind = tuple(f"{name}." for name in children[children.index("blocks") :])
    names = frozenset(name for name in state if name.startswith("blocks.0.") or not name.startswith(behind))
    for group in _read(backbone, sources, False, names):
        backbone.load_state_dict({name: tensor.to(first) for name, tensor in group.items()}, strict=False, assign=True)
    difference = precision_difference(in_half, _first_block(backbone, picture))
    backbone.load_state_dict({name: state[name] for name in names}, strict=False, assign=True)
    backbone.requires_grad_(False)
    seen = f"on its first block fp16 differs from fp32 by {difference:.2%} of the spread"
    if difference == float("inf") or (difference > LARGEST_DIFFERENCE and precision == "auto"):
        raise WeightsError(
            f"{weights}: {seen}, more than the {LARGEST_DIFFERENCE:.0%} that rounding explains, and in fp32 it is "
            'twice as large: take a smaller encoder, or insist with encoder.precision="fp16" if every number is finite'
        )
    return PrecisionChoice(True, f"{seen}; spread over {len(spread.devices)} devices")


@torch.inference_mode()
def _first_block(backbone: nn.Module, picture: torch.Tensor) -> torch.Tensor:
    """Return what leaves the first block, (1, C, H, W)."""
    options: dict[str, Any] = {"indices": [0], "norm": False, "stop_early": True, "intermediates_only": True}
    found: torch.Tensor = backbone.forward_intermediates(picture, **options)[0]  # type: ignore[operator]  # timm's
    return found


class SpreadParts(OptionalPart):
    """What frozen features ask for where a backbone may be larger than a GPU."""

    part = "spread"
    fill_spread = staticmethod(fill_spread)

"""## Starting weights

A pretrained backbone comes as safetensors in a dataset, under the names that timm and the hub give it. It has
to fill the network completely: what stays random without an error is found by nobody.
"""

from pathlib import Path

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn

import kernel_src.models.hub_names  # noqa: F401  # part: hub_names
from kernel_src.data.images import Framing
from kernel_src.data.preprocessing import Preprocessing
from kernel_src.models.backbones import PICTURE_CHANNELS
from kernel_src.models.model import BUILD_ERRORS, BackboneNet, load_strictly
from kernel_src.recipes.predictor import Predictor
from kernel_src.runtime.files import WeightsError
from kernel_src.runtime.parts import held_parts, optional_part
from kernel_src.runtime.weight_files import read_weights

STARTING_WEIGHTS_FILE = "model.safetensors"


def load_starting_weights(model: BackboneNet, path: Path) -> None:
    """Load the backbone of a model that begins from pretrained weights; see `load_backbone`."""
    load_backbone(model.backbone, path)


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load a pretrained backbone from a safetensors file; nothing may be missing or left over.

    Position embeddings of another input size are resampled, a stem for more than three channels is extended by zeros,
    and the names of an original release are turned into timm's, all by timm's own functions. Only the classifier of
    the pretraining task is dropped, by the name that timm gives it.

    Raises:
        WeightsError: the file holds no weights; a key is missing, left over, of another shape, or not finite.
    """
    given = read_weights(path)
    try:
        tensors = as_timm_has_them(given, backbone)
    except BUILD_ERRORS as error:  # timm's functions take the tensors of another network as far as they get
        raise WeightsError(
            f"{path} does not fit the model: {type(backbone).__name__} cannot take {len(given)} tensors such as "
            f"{', '.join(sorted(given)[:2])} ({type(error).__name__}: {error})"
        ) from None
    load_strictly(backbone, tensors, str(path))


def as_timm_has_them(given: dict[str, torch.Tensor], backbone: nn.Module) -> dict[str, torch.Tensor]:
    """Give the tensors of a checkpoint the names and sizes of the backbone."""
    renamed = optional_part("hub_names").timm_names(given) if "hub_names" in held_parts() else given
    tensors = _without_classifier(renamed, backbone)
    # Each family of timm has a function of this name beside its nets, if its checkpoints need any work at all.
    convert = getattr(getattr(timm.models, _family(backbone)), "checkpoint_filter_fn", None)
    if convert is not None:
        tensors = convert(tensors, backbone)
    _resample_to_oblong(tensors, backbone)
    wanted = backbone.state_dict()
    for name in stem_weight_names(backbone):
        channels = wanted[name].shape[1]
        if name in tensors and tensors[name].shape[1] == PICTURE_CHANNELS < channels:
            tensors[name] = with_extra_channels(tensors[name], channels)
    return tensors


def _family(backbone: nn.Module) -> str:
    """Name the module of timm that a net comes from, such as `vision_transformer`."""
    name = backbone.pretrained_cfg["architecture"]  # type: ignore[index]  # timm's dict
    return next(module for module in timm.models.list_modules() if timm.models.is_model_in_modules(name, {module}))


def _without_classifier(tensors: dict[str, torch.Tensor], backbone: nn.Module) -> dict[str, torch.Tensor]:
    classifiers = backbone.pretrained_cfg["classifier"]  # type: ignore[index]  # timm's dict
    dropped = {classifiers} if isinstance(classifiers, str) else set(classifiers or ())
    return {key: tensor for key, tensor in tensors.items() if key.rpartition(".")[0] not in dropped}


def _resample_to_oblong(tensors: dict[str, torch.Tensor], backbone: nn.Module) -> None:
    """Resample a square grid of embeddings to an oblong one of as many places, which timm takes for the same."""
    grid = getattr(getattr(backbone, "patch_embed", None), "grid_size", None)
    own = getattr(backbone, "pos_embed", None)
    given = tensors.get("pos_embed")
    if grid is None or own is None or given is None or given.ndim != 3 or grid[0] == grid[1]:
        return
    prefix = own.shape[1] - grid[0] * grid[1]
    if given.shape == own.shape and int((given.shape[1] - prefix) ** 0.5) ** 2 == given.shape[1] - prefix:
        tensors["pos_embed"] = resample_abs_pos_embed(given, list(grid), num_prefix_tokens=prefix)


# %%
def stem_weight_names(backbone: nn.Module) -> tuple[str, ...]:
    """Name the weights of the first convolutions, whose second axis counts the input's channels."""
    first = backbone.pretrained_cfg["first_conv"]  # type: ignore[index]  # timm's dict
    return tuple(f"{name}.weight" for name in ((first,) if isinstance(first, str) else first))


def with_extra_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Extend (out, 3, …) to `channels` inputs with zeros: the net begins as the pretrained one and learns the rest."""
    extra = weight.new_zeros(weight.shape[0], channels - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, extra], 1)


def preprocessing_of(backbone: str) -> Preprocessing:
    """Ask timm for the data config that a backbone, a timm model's name, was pretrained with.

    Raises:
        ValueError: timm names an interpolation that this kit cannot do.
    """
    known = timm.get_pretrained_cfg(backbone)
    config = timm.data.resolve_data_config(pretrained_cfg=known.to_dict() if known else {})
    return Preprocessing(
        mean=tuple(config["mean"]), std=tuple(config["std"]), interpolation=str(config["interpolation"])
    )


def framing_of(experiment: Predictor) -> Framing:
    """Say how an experiment's photographs become pictures."""
    return preprocessing_of(experiment.encoder.timm).canvas_framing(experiment.pictures)

"""## Backbones

Any network that timm has by name, with the pooling it was pretrained with: CLS token, attention pool or average. The
experiment says at what size it looks, whether depth enters through its stem, and which of its layers stay as they are.
"""

from collections.abc import Iterator
from typing import Any

import timm
from torch import nn

from kernel_src.recipes.network import FirstGroups, FirstShare
from kernel_src.recipes.predictor import Predictor

PICTURE_CHANNELS = 3


def build_backbone(experiment: Predictor) -> nn.Module:
    """Build the experiment's backbone with random weights; it maps (B, channels, H, W) to features (B, F).

    Raises:
        RuntimeError: timm does not know the name.
        ValueError: the picture is not a whole number of patches, or the net cannot do what the experiment asks of it.
    """
    options: dict[str, Any] = {"num_classes": 0}
    if experiment.depth and experiment.depth.fusion == "rgbd":
        options["in_chans"] = PICTURE_CHANNELS + experiment.depth_channels
    # Nets with position embeddings need the size of their input; the others do not take it.
    config = timm.get_pretrained_cfg(experiment.encoder.timm)
    if config is not None and config.fixed_input_size:
        backbone = _create_fixed_size(experiment, options)
    else:
        backbone = timm.create_model(experiment.encoder.timm, **options)
    if experiment.encoder.checkpointing:
        try:
            backbone.set_grad_checkpointing(True)  # type: ignore[operator]  # timm's
        except (AssertionError, AttributeError) as error:
            raise ValueError(f"{experiment.encoder.timm} cannot do gradient_checkpointing: {error}") from None
    for parameter in frozen_parameters(backbone, experiment):
        parameter.requires_grad_(False)
    return backbone


def _create_fixed_size(experiment: Predictor, options: dict[str, Any]) -> nn.Module:
    """Build for the experiment's size, oblong or not; where timm offers it, other sizes can be fed as well.

    At the size it is built for, a dynamic net computes what a static one does: its embeddings are resampled only for
    others. Without `dynamic_img_size` a picture that is not a whole number of patches silently loses its border.
    """
    pictures = experiment.pictures
    built_px = pictures.size_px if pictures.size_px in pictures.sizes_px else max(pictures.sizes_px)
    options = options | {"img_size": built_px}
    try:
        backbone = timm.create_model(experiment.encoder.timm, dynamic_img_size=True, **options)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        backbone = timm.create_model(experiment.encoder.timm, **options)
        if set(pictures.sizes_px) != {built_px}:
            raise ValueError(
                f"{experiment.name}: {experiment.encoder.timm} sees pictures of {built_px[0]} x {built_px[1]} px only: "
                "leave pictures.scales at 1"
            ) from None
        return backbone
    for what in _not_whole_patches(backbone.patch_embed.patch_size, pictures.sizes_px):
        raise ValueError(f"{experiment.name}: {experiment.encoder.timm} {what}")
    return backbone


def _not_whole_patches(patch_px: tuple[int, int], sizes_px: tuple[tuple[int, int], ...]) -> Iterator[str]:
    for size_px in sizes_px:
        if any(size % patch for size, patch in zip(size_px, patch_px, strict=True)):
            yield (
                f"cuts pictures into patches of {patch_px[0]} x {patch_px[1]} px, {size_px[0]} x {size_px[1]} px is "
                "not a whole number of them"
            )


# %%
def layer_groups(backbone: nn.Module) -> list[list[str]]:
    """Return the names of the parameters, grouped by layer from the stem on, as timm groups them."""
    if not hasattr(backbone, "group_matcher"):
        raise ValueError(f"timm has no layer groups of {type(backbone).__name__}: encoder.freeze must be none")
    matcher = backbone.group_matcher(coarse=False)  # type: ignore[operator]  # timm's
    return list(timm.models.group_parameters(backbone, matcher).values())


def frozen_parameters(backbone: nn.Module, experiment: Predictor) -> list[nn.Parameter]:
    """Return the parameters of the first layer groups, as `encoder.freeze` says.

    Raises:
        ValueError: there are not so many groups, or already the first is more than the share.
    """
    freeze = experiment.encoder.freeze
    if freeze is None:
        return []
    groups = [[backbone.get_parameter(name) for name in group] for group in layer_groups(backbone)]
    what = f"{experiment.name}: encoder.freeze={freeze}, {experiment.encoder.timm}"
    if isinstance(freeze, FirstShare):
        frozen = _groups_within(groups, freeze.share)
        if not frozen:
            raise ValueError(f"{what} has more than that in its first layer group")
    else:
        assert isinstance(freeze, FirstGroups)
        frozen = freeze.groups
        if frozen > len(groups):
            raise ValueError(f"{what} has {len(groups)} groups")
    return [parameter for group in groups[:frozen] for parameter in group]


def _groups_within(groups: list[list[nn.Parameter]], share: float) -> int:
    """Return how many of the first groups hold at most this share of all parameters together."""
    sizes = [sum(parameter.numel() for parameter in group) for group in groups]
    count, held = 0, 0
    while count < len(sizes) and held + sizes[count] <= share * sum(sizes):
        held += sizes[count]
        count += 1
    return count


def hold_frozen_statistics(module: nn.Module) -> None:
    """Put each layer whose own parameters are all frozen into evaluation mode: a batch norm would drift without them.

    Call it after `module.train()`, which wakes every layer.
    """
    for layer in module.modules():
        own = list(layer.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            layer.training = False  # not eval(), which would reach into layers below

"""## All bundles in one pass

An ensemble decodes each photograph once, whatever sizes its bundles were trained at, and estimates depth once per size
for all bundles that carry the same depth model.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from kernel_src.bundle.bundles import Bundle, load_recipe, member_of, read_recipe
from kernel_src.data.images import Framing, largest_px, picture_tensor, read_rgb, resize_rgb
from kernel_src.models.full_pass import batch_loader, predict_members
from kernel_src.models.half_precision import keep_in_half
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.manifest import damage, damaged_files, read_manifest


class PhotographFiles(Dataset[tuple[torch.Tensor, ...]]):
    """Photographs read from disk one by one, each decoded exactly once per pass, whatever framings are wanted."""

    def __init__(self, paths: Sequence[Path], framings: Sequence[Framing]) -> None:
        """Serve `paths` in their order, each in every framing."""
        self.paths, self.framings = list(paths), list(framings)

    def __len__(self) -> int:
        """Count the photographs."""
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        """Return one picture (3, H, W) uint8 per framing, in their order."""
        photograph = read_rgb(self.paths[i], largest_px(self.framings))
        # Each from the one decoding: a picture resized twice is not what the network was trained on.
        return tuple(picture_tensor(resize_rgb(photograph, framing)) for framing in self.framings)


# %%
def predict_bundles(
    bundles: Sequence[Bundle],
    paths: Sequence[Path],
    *,
    device: DeviceReport,
    batch_size: int,
    after_first_batch: Callable[[float], None] = lambda _: None,
    inputs: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Predict photographs with every bundle: one array (folds, images, targets) per bundle, unconstrained.

    `after_first_batch` gets the projected seconds of the whole pass, and may refuse to go on. `inputs` (images, inputs)
    are the photographs' numbers in the competition's table, NaN for none, for bundles that read any.

    Raises:
        FloatingPointError: a prediction or a depth map is not finite.
        ImageError: a photograph cannot be read.
        ValueError: a bundle reads inputs and there are none.
    """
    framings = list(dict.fromkeys(framing for bundle in bundles for framing in bundle.framings))
    loader = batch_loader(PhotographFiles(paths, framings), batch_size, device)
    if device.half:
        for bundle in bundles:
            for model in bundle.models:
                keep_in_half(model)
    members = [member_of(bundle, framings) for bundle in bundles]
    return predict_members(
        members, loader, len(loader), device=device, after_first_batch=after_first_batch, inputs=inputs
    )


def load_bundle(folder: Path, depth_models: dict[str, nn.Module] | None = None) -> Bundle:
    """Verify and load a bundle; see `load_recipe` for `depth_models`.

    Raises:
        BundleError: a file is missing or altered, config or manifest lack an entry, or the format is newer than this
            notebook.
        WeightsError: the weights do not fit the model that the config describes.
    """
    manifest = read_manifest(folder)
    if damaged := damaged_files(folder, manifest):
        raise damage(folder, damaged)
    return load_recipe(read_recipe(folder, manifest), depth_models)


def load_bundles(folders: Iterable[Path]) -> list[Bundle]:
    """Load several bundles; a depth model that several carry is loaded once and shared by them.

    Raises:
        BundleError, WeightsError: see `load_bundle`.
    """
    depth_models: dict[str, nn.Module] = {}
    return [load_bundle(folder, depth_models) for folder in folders]

"""## All bundles in one pass

An ensemble decodes each photograph once, whatever sizes its bundles were trained at, and estimates depth once per size
for all bundles that carry the same depth model.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kernel_src.bundle.bundles import Bundle
from kernel_src.data.dataset import PhotographFiles
from kernel_src.data.images import Framing
from kernel_src.data.symmetries import views
from kernel_src.models.half_precision import keep_in_half
from kernel_src.models.prediction import Member, batch_loader, predict_members
from kernel_src.runtime.device import DeviceReport


def member_of(bundle: Bundle, framings: Sequence[Framing]) -> Member:
    """Say how a bundle looks at a batch in the given framings: its own framings, preprocessing, views and depth."""
    experiment = bundle.experiment
    return Member(
        models=bundle.models,
        preprocessing=bundle.preprocessing,
        symmetries=views(experiment),
        framings=tuple(map(list(framings).index, bundle.framings)),
        estimator=bundle.depth,
        depth_channels=experiment.depth_channels,
        depth_views=experiment.depth_views,
    )


def predict_bundles(
    bundles: Sequence[Bundle],
    paths: Sequence[Path],
    *,
    device: DeviceReport,
    batch_size: int,
    after_first_batch: Callable[[float], None] = lambda _: None,
) -> list[np.ndarray]:
    """Predict photographs with every bundle: one array (folds, images, 5) in grams per bundle, unconstrained.

    `after_first_batch` is told the projected seconds of the whole pass, and may refuse to go on.

    Raises:
        FloatingPointError: a prediction or a depth map is not finite.
        ImageError: a photograph cannot be read.
    """
    framings = list(dict.fromkeys(framing for bundle in bundles for framing in bundle.framings))
    loader = batch_loader(PhotographFiles(paths, framings), batch_size, device)
    if device.half:
        for bundle in bundles:
            for model in bundle.models:
                keep_in_half(model)
    members = [member_of(bundle, framings) for bundle in bundles]
    return predict_members(members, loader, len(loader), device=device, after_first_batch=after_first_batch)

"""A ready array against decoding: one photograph, a whole epoch with augmentation, and one with the training step.

Without a cache every epoch decodes and resizes each photograph anew (at the scale that serves); with it, it reads them
from the memory-mapped array of `decoded_photographs`, written by this very run, so from the page cache. Both epochs use
`TrainingPhotographs`, the class that feeds the training.
"""

import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from bench.timing import plan, speedup
from kernel_src.recipes.changes import changed

IMAGES, BATCH = 32, 8
STEP_IMAGES = 8  # the step takes far longer than the reading
STEP_BACKBONE = "tf_efficientnet_lite0"  # of the demo; a larger net only hides the reading more


def measure(quick: bool) -> dict[str, Any]:
    """Return `cache.read_speedup` and, beside it, whole epochs."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader

    from bench.material import painted_photographs, real_photographs
    from kernel_src.data.dataset import decoded_photographs
    from kernel_src.data.images import read_rgb, resize_rgb
    from kernel_src.data.training_photographs import TrainingPhotographs
    from kernel_src.models.model import BiomassNet
    from kernel_src.models.starting_weights import framing_of, preprocessing_of
    from kernel_src.recipes.experiments import EXPERIMENTS
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    plan(3)
    experiment = EXPERIMENTS["v5"]  # 384 px, moderate augmentation
    framing = framing_of(experiment)
    originals = real_photographs() or painted_photographs()
    images = 8 if quick else IMAGES
    paths = [originals[i % len(originals)] for i in range(images)]
    grams = np.random.default_rng(0).gamma(2, 10, (images, 5))

    class DecodedEachTime:
        """The array's place taken by files."""

        shape = (images, framing.height_px, framing.width_px, 3)

        def __getitem__(self, row: int) -> np.ndarray:
            return resize_rgb(read_rgb(paths[row], framing.size_px), framing)

    def epoch(source: Any, step: Any = None) -> None:
        rows = np.arange(images if step is None else STEP_IMAGES)
        data = TrainingPhotographs(source, grams, rows, experiment.augment, 0)
        for batch in DataLoader(data, BATCH):
            if step is not None:
                step(batch["picture"])

    net = BiomassNet(_with_backbone(experiment)).train().to(memory_format=torch.channels_last)
    preprocessing = preprocessing_of(STEP_BACKBONE)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4)

    def train(pictures: Any) -> None:
        optimizer.zero_grad()
        net(preprocessing.normalise(pictures), None).square().mean().backward()
        optimizer.step()

    with tempfile.TemporaryDirectory() as scratch:
        cached = decoded_photographs(paths, framing, Path(scratch))
        files = DecodedEachTime()
        mine, other = count(), count()
        found = {
            "read_speedup": speedup(
                lambda: np.array(cached[next(mine) % images]), lambda: files[next(other) % images], 20 if quick else 200
            ),
            "epoch_speedup": speedup(lambda: epoch(cached), lambda: epoch(files), 2 if quick else 9),
            "epoch_with_step_speedup": speedup(
                lambda: epoch(cached, train), lambda: epoch(files, train), 1 if quick else 5
            ),
        }
    for name, served in (("epoch_speedup", images), ("epoch_with_step_speedup", STEP_IMAGES)):
        figure = found[name]
        figure["ours_images_per_s"] = round(served / figure["ours_s"], 1)
        figure["theirs_images_per_s"] = round(served / figure["theirs_s"], 1)
    return {
        "cache": {**found, "epoch_is": f"{images} photographs at {framing.height_px} px, moderate; {STEP_BACKBONE}"}
    }


def _with_backbone(experiment: Any) -> Any:

    return changed(experiment, {"encoder.timm": STEP_BACKBONE, "depth": None})

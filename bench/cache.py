"""A ready array against decoding: what it costs to have one photograph for a training step.

Without a cache every epoch decodes and resizes each photograph anew (at the scale that serves); with it, it reads them
from the memory-mapped array of `decoded_photographs`, written by this very run, so from the page cache.
"""

import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from bench.material import painted_photographs, real_photographs
from bench.timing import Clock, speedup
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.data.dataset import decoded_photographs
from kernel_src.data.images import read_rgb, resize_rgb
from kernel_src.models.starting_weights import framing_of
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.memory import keep_freed_memory


def measure(quick: bool) -> dict[str, Any]:
    """Return `cache.read_speedup`, at 384 px."""
    keep_freed_memory()
    return {"cache": {"read_speedup": read_speedup(EXPERIMENTS["v5"], 20 if quick else 200)}}


def read_speedup(experiment: Experiment, pairs: int, **clock: Clock) -> dict[str, Any]:
    """Return how much longer a photograph takes to decode than to be read from the training's cache."""
    framing, paths = framing_of(experiment), real_photographs() or painted_photographs()
    with tempfile.TemporaryDirectory() as scratch:
        cached = decoded_photographs(paths, framing, Path(scratch))
        rows, files = cycle(range(len(paths))), cycle(paths)
        return speedup(
            lambda: np.array(cached[next(rows)]),
            lambda: resize_rgb(read_rgb(next(files), framing.size_px), framing),
            pairs,
            **clock,
        )

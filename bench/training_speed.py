"""Training: epochs from the decoded cache against epochs that decode, and two processes against one.

`training.epoch_speedup` is a whole epoch of reading and augmenting; `training.step_speedup` the same with the training
step of a small net behind it; both in turn. `training.two_processes` comes from bench/two_processes.py, once per way.
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES, SIZE_PX, BATCH_SIZE, PAIRS = 48, 384, 8, 3
BACKBONE = "test_efficientnet"


def measure(quick: bool) -> dict[str, Any]:
    """Return `training`."""
    import numpy as np
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, Dataset

    from bench.budget import plan
    from bench.material import competition
    from bench.pairs import amount, ratio
    from bench.rounds import in_turn
    from bench.sides import Apart
    from kernel_src.competition.constants import TEST_FOLDER
    from kernel_src.data.dataset import decoded_photographs
    from kernel_src.data.images import Framing, read_rgb, resize_rgb
    from kernel_src.data.training_photographs import TrainingPhotographs
    from kernel_src.models.model import BiomassNet
    from kernel_src.recipes.experiment import Experiment
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    plan(3)  # two here, and the processes
    images, pairs = (16, 2) if quick else (IMAGES, PAIRS)
    paths = sorted((competition(images) / TEST_FOLDER).glob("*.jpg"))
    framing = Framing(SIZE_PX, SIZE_PX)
    grams = np.random.default_rng(0).gamma(2.0, 10.0, (images, 5))
    net = BiomassNet(
        Experiment(name="bench", backbone=BACKBONE, image_height_px=SIZE_PX, image_width_px=SIZE_PX, head_hidden=(8,))
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4)

    class Decoding(Dataset):
        """Reads the photograph anew each time, and then augments it as training does."""

        def __len__(self) -> int:
            """Count."""
            return images

        def __getitem__(self, i: int) -> Any:
            """Decode, resize, augment."""
            picture = resize_rgb(read_rgb(paths[i], framing.size_px), framing)[None]
            return TrainingPhotographs(picture, grams[i : i + 1], np.arange(1), "moderate", 0)[0]

    def epoch(photographs: Dataset, step: bool) -> None:
        for batch in DataLoader(photographs, BATCH_SIZE):
            if step:
                pictures = batch["picture"].float() / 255
                functional.mse_loss(net(pictures), batch["grams"] / 40).backward()
                optimizer.step()
                optimizer.zero_grad()

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = decoded_photographs(paths, framing, Path(folder))
        cached = TrainingPhotographs(cache, grams, np.arange(images), "moderate", 0)
        for what, step in (("epoch", False), ("step", True)):
            timed = {
                "cached": Apart(lambda: partial(epoch, cached, step)),  # noqa: B023  # called at once
                "decoding": Apart(lambda: partial(epoch, Decoding(), step)),  # noqa: B023
            }
            in_turn(timed, pairs)
            found[f"{what}_speedup"] = ratio(timed["decoding"].wall_s, timed["cached"].wall_s)
            for side in timed:
                found[f"{what}_{side}"] = amount([images / seconds for seconds in timed[side].wall_s], "images/s")
    command = [sys.executable, "-m", "bench.two_processes", "--json", "--images", "32" if quick else "128"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    per_s = json.loads(done.stdout.splitlines()[-1])["samples_per_s"]
    one = per_s.pop("one process")
    found["two_processes"] = {
        name.removeprefix("two processes, "): ratio([rate], [one]) for name, rate in per_s.items()
    }
    found["how"] = f"{images} photographs at {SIZE_PX} px, moderate augmentation, {BACKBONE}"
    return {"training": found}

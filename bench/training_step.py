"""Our step of a training over the network's own forward and backward pass: what is paid beside the arithmetic.

A step is everything from one to the next: batches augmented, loss, gradients, optimiser, progress bar. Its floor is one
forward and backward pass of the same model on a ready batch. A round is an epoch of a few steps, then as many floors.
On the CPU the seconds are the processor's, which other work on the machine cannot stretch.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.timing import Clock, Work, amount, ratio, rounds

SIZES = {"v1": 4, "v7": 2}  # photographs in a batch
ROUNDS, STEPS = 3, 3


def measure(quick: bool, of: str) -> dict[str, Any]:
    """Return `training_step.<experiment>`: the ratio, and the seconds of both sides."""
    import numpy as np
    import torch

    from bench.material import SMALL
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.data.training_photographs import FoldData
    from kernel_src.models.starting_weights import framing_of
    from kernel_src.recipes.changes import changed
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.memory import keep_freed_memory
    from kernel_src.training.fold_files import FoldFiles
    from kernel_src.training.training import FoldTraining
    from kernel_src.training.training_loss import upright_pictures

    keep_freed_memory()
    size, random = SIZES[of], np.random.default_rng(0)
    experiment = changed(SMALL if quick else EXPERIMENTS[of], {"batch.size": size, "batch.accumulate": 1})
    framing, images = framing_of(experiment), size * STEPS
    data = FoldData(
        photographs=random.integers(0, 255, (images, framing.height_px, framing.width_px, 3), np.uint8),
        values=random.gamma(2.0, 10.0, (images, 5)),
        train_rows=np.arange(images),
        inner_rows=np.zeros(0, int),
    )
    with tempfile.TemporaryDirectory() as scratch:
        training = FoldTraining(experiment, data, check_device(), None, FoldFiles(Path(scratch), 0))
        ready = upright_pictures(data, data.train_rows[:size], training.preprocessing, training.device)

        def floor() -> None:
            training.model(*ready).square().mean().backward()
            training.optimizer.zero_grad()
            if training.device.type == "cuda":
                torch.cuda.synchronize()

        clock = time.process_time if training.device.type == "cpu" else time.perf_counter
        floor()  # threads are made, memory is reserved
        ours, floors = [], []
        for _ in rounds(1 if quick else ROUNDS):
            ours.append(_between_steps(training, clock))
            training.model.train()
            floors.append(statistics.median(_seconds(floor, clock) for _ in range(STEPS)))
    found = {"ratio": ratio(ours, floors), "ours": amount(ours, "s"), "floor": amount(floors, "s")}
    how = f"{size} photographs of {framing.width_px} px, {torch.get_num_threads()} threads"
    return {"training_step": {f"small for {of}" if quick else of: found | {"how": how}}}


def _between_steps(training: Any, clock: Clock) -> float:
    """Train an epoch; return the median of the seconds from the beginning of one step to the next."""
    from kernel_src.training.session import ENDLESS

    begun, take = [], training.steps.take

    def noted(*arguments: Any) -> Any:
        begun.append(clock())
        return take(*arguments)

    training.steps.take = noted
    training.train_epoch(ENDLESS)
    training.steps.take = take
    training.finish_epoch()
    return statistics.median(after - before for before, after in zip(begun, begun[1:], strict=False))


def _seconds(work: Work, clock: Clock) -> float:
    start = clock()
    work()
    return clock() - start

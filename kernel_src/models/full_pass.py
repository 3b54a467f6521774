"""## One pass over all photographs

Every fold and every view sees a batch before the next one is read, so memory does not grow with the number of
photographs. Training scores its folds so, and whoever has time to predict everything; an inference plans its passes.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from kernel_src.competitions.held_facts import facts
from kernel_src.data.preprocessing import Preprocessing
from kernel_src.models.model import TargetsNet
from kernel_src.models.prediction import BatchWork, Member
from kernel_src.runtime.device import DeviceReport

LOADING_PROCESSES = 4  # more do not help: a GPU cannot take pictures so fast


def loading_processes(device: DeviceReport) -> int:
    """Return how many processes decode: none beside a CPU that computes, beside a GPU its share of the cores."""
    if device.kind != "cuda":
        return 0
    return max(1, min(LOADING_PROCESSES, len(os.sched_getaffinity(0)) // device.processes))


def predict_batch(
    members: Sequence[Member], pictures: Sequence[torch.Tensor], half: bool, inputs: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Predict one batch, uint8 (B, 3, H, W) in each framing: per member (models, B, targets), mean over views.

    `inputs` (B, inputs) are numbers of the competition's table, for networks that read any.

    Raises:
        FloatingPointError: a prediction or a depth map is not finite.
    """
    work, predicted = BatchWork(members, pictures, half, inputs), []
    for number, member in enumerate(members):
        total = torch.zeros(len(member.models), len(pictures[0]), len(facts().targets), device=pictures[0].device)
        for view in range(len(member.symmetries)):
            for model in range(len(member.models)):
                values = work.values(number, model, view)
                if why := work.failure(number, view, values):
                    raise FloatingPointError(why)
                total[model] += values
        predicted.append(total / len(member.symmetries))
    return predicted


def batch_loader(photographs: Dataset, batch_size: int, device: DeviceReport) -> DataLoader:
    """Serve photographs in their order, in batches, decoded by as many processes as the device deserves."""
    return DataLoader(photographs, batch_size, num_workers=loading_processes(device), pin_memory=device.kind == "cuda")


@torch.inference_mode()
def predict_members(
    members: Sequence[Member],
    batches: Iterable[Sequence[torch.Tensor]],
    batch_count: int,
    *,
    device: DeviceReport,
    after_first_batch: Callable[[float], None] = lambda _: None,
    inputs: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Predict with several experiments in one pass: per member (models, images, targets), unconstrained.

    A batch holds uint8 pictures (B, 3, H, W) in each framing. `after_first_batch` gets the projected seconds of the
    whole pass, and may refuse to go on. `inputs` (images, inputs) are the photographs' numbers in the competition's
    table, NaN for none, for networks that read any.

    Raises:
        FloatingPointError: a prediction or a depth map is not finite.
        ImageError: a photograph cannot be read.
        ValueError: a network reads inputs and there are none.
    """
    target, seen = torch.device(device.kind), 0
    for member in members:
        for model in member.models:
            # Channels last is what convolutions compute fastest in, on CPU and GPU.
            model.to(target).to(memory_format=torch.channels_last).eval()
        if member.estimator is not None:
            member.estimator.to(target).eval()
    done: list[list[torch.Tensor]] = [[] for _ in members]
    start = time.perf_counter()
    for number, raw in enumerate(tqdm(batches, desc="predicting", unit="batch", total=batch_count)):
        pictures = [framing.to(target, non_blocking=True) for framing in raw]
        count = len(pictures[0])
        own = None if inputs is None else torch.from_numpy(inputs[seen : seen + count].astype(np.float32)).to(target)
        seen += count
        for parts, values in zip(done, predict_batch(members, pictures, device.half, own), strict=True):
            parts.append(values.cpu())
        if number == 0:
            after_first_batch((time.perf_counter() - start) * batch_count)
    return [
        torch.cat(parts, 1).double().numpy() if parts else np.zeros((len(member.models), 0, len(facts().targets)))
        for member, parts in zip(members, done, strict=True)
    ]


# %%
def predict_values(
    models: Sequence[TargetsNet],
    photographs: Dataset[torch.Tensor],
    *,
    preprocessing: Preprocessing,
    symmetries: Sequence[tuple[int, bool]],
    device: DeviceReport,
    batch_size: int,
    estimator: nn.Module | None = None,
    depth_channels: int = 1,
    depth_views: str = "shared",
    after_first_batch: Callable[[float], None] = lambda _: None,
    inputs: np.ndarray | None = None,
) -> np.ndarray:
    """Predict with several models of one experiment, averaged over the views: (models, images, targets).

    See `predict_members` for what is raised, what `after_first_batch` gets, and what `inputs` are.
    """
    member = Member(
        models=models,
        preprocessing=preprocessing,
        symmetries=symmetries,
        estimator=estimator,
        depth_channels=depth_channels,
        depth_views=depth_views,
    )
    loader = batch_loader(photographs, batch_size, device)
    batches = ([raw] for raw in loader)
    return predict_members(
        [member], batches, len(loader), device=device, after_first_batch=after_first_batch, inputs=inputs
    )[0]

"""## Prediction

One pass over the photographs: each is decoded once, and every fold and every view sees the batch before the next one is
read. Memory does not grow with the number of photographs.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from kernel_src.common.competition import TARGETS
from kernel_src.common.device import DeviceReport
from kernel_src.common.model import BiomassNet
from kernel_src.common.preprocessing import Preprocessing
from kernel_src.common.symmetries import apply_view

LOADING_PROCESSES = 4  # a Kaggle session with T4s has four cores


def loading_processes(device: DeviceReport) -> int:
    """Return how many processes decode: none beside a CPU that computes, all cores beside a GPU."""
    return LOADING_PROCESSES if device.kind == "cuda" else 0


def forward_grams(model: BiomassNet, pictures: torch.Tensor, half: bool) -> torch.Tensor:
    """Predict grams (B, 5) from normalised pictures (B, 3, H, W), in fp16 where that is faster.

    Pictures whose half-precision result overflows are computed again in fp32.

    Raises:
        FloatingPointError: the result is not finite in fp32 either.
    """
    with torch.autocast(pictures.device.type, torch.float16, enabled=half):
        z = model(pictures)
    grams = model.scaling.to_grams(z)
    bad = ~torch.isfinite(grams).all(1)
    if half and bool(bad.any()):
        grams[bad] = model.scaling.to_grams(model(pictures[bad]))
        bad = ~torch.isfinite(grams).all(1)
    if bool(bad.any()):
        raise FloatingPointError(
            f"{int(bad.sum())} of {len(grams)} predictions are NaN or infinite: the weights or the pictures are broken"
        )
    return grams


@torch.inference_mode()
def predict_grams(
    models: Sequence[BiomassNet],
    photographs: Dataset[torch.Tensor],
    *,
    preprocessing: Preprocessing,
    symmetries: Sequence[tuple[int, bool]],
    device: DeviceReport,
    batch_size: int,
    after_first_batch: Callable[[float], None] = lambda _: None,
) -> np.ndarray:
    """Predict with several models at once, averaged over the views: (models, images, 5) in grams, unconstrained.

    `after_first_batch` is told the projected seconds of the whole pass, and may refuse to go on.

    Raises:
        FloatingPointError: a prediction is not finite.
        ImageError: a photograph cannot be read.
    """
    target = torch.device(device.kind)
    # Channels last is what convolutions compute fastest in, on CPU and GPU.
    models = [model.to(target).to(memory_format=torch.channels_last).eval() for model in models]
    loader = DataLoader(
        photographs, batch_size, num_workers=loading_processes(device), pin_memory=device.kind == "cuda"
    )
    done: list[torch.Tensor] = []
    start = time.perf_counter()
    for number, raw in enumerate(tqdm(loader, desc="predicting", unit="batch")):
        pictures = preprocessing.normalise(raw.to(target, non_blocking=True))
        grams = torch.zeros(len(models), len(pictures), len(TARGETS), device=target)
        for view in symmetries:
            seen = apply_view(pictures, view)
            for i, model in enumerate(models):
                grams[i] += forward_grams(model, seen, device.half)
        done.append((grams / len(symmetries)).cpu())
        if number == 0:
            after_first_batch((time.perf_counter() - start) * len(loader))
    if not done:
        return np.zeros((len(models), 0, len(TARGETS)))
    return torch.cat(done, 1).double().numpy()

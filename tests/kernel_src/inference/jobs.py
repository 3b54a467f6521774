"""A job of inference on the tiny bundle, run by real workers, and what makes one fail."""

import errno
import faulthandler
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.inference import device_worker
from kernel_src.inference.inference import InferenceResult, Job, infer
from kernel_src.inference.prediction_store import PredictionStore
from kernel_src.runtime.faults import FaultLog
from tests.kernel_src.tiny import CPU

MEANS = dict(zip(TARGETS, (2.0, 1.0, 1.0, 3.0, 4.0), strict=True))


HALF_A_MINUTE_S = 30.0


def job_of(paths: list[Path], *recipes: BundleRecipe | None, shares: tuple[float, ...] = (1.0,)) -> Job:
    return Job(
        image_ids=tuple(path.stem for path in paths),
        paths=tuple(paths),
        recipes=recipes,
        damaged=(frozenset(),) * len(recipes),
        shares=shares,
        stack=None,
        constraint="projection",
        means=MEANS,
    )


def run(
    job: Job,
    log: FaultLog,
    seconds: float = HALF_A_MINUTE_S,
    batch_size: int = 4,
    devices: int = 1,
) -> InferenceResult:
    saved: list[np.ndarray] = []
    outcome = infer(
        job,
        replace(CPU, count=devices),
        log,
        deadline_s=time.monotonic() + seconds,
        batch_size=batch_size,
        save=saved.append,
    )
    assert np.array_equal(saved[-1], outcome.values), "what was saved last is the best"
    assert all(np.isfinite(grams).all() and (grams >= 0).all() for grams in saved)
    return outcome


def alter_work(monkeypatch: pytest.MonkeyPatch, before: Callable[[object, int, int, int], None]) -> None:
    """Let the worker do something else before it computes a member's model and view; it is forked with this in it."""
    grams = device_worker.BatchWork.values

    def altered(self: object, number: int, model: int, view: int) -> torch.Tensor:
        before(self, number, model, view)
        return grams(self, number, model, view)

    monkeypatch.setattr(device_worker.BatchWork, "values", altered)


SPELLINGS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":995'),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
)


def spelt(error: BaseException) -> str:
    return re.sub(r"[^A-Za-z_]+", "-", f"{type(error).__name__}-{error}")[:50]


CRASHES: dict[str, Callable[[], object]] = {
    "the kernel's OOM killer": lambda: end_by(signal.SIGKILL),
    "a segmentation fault": lambda: end_by(signal.SIGSEGV),
    "an abort": lambda: end_by(signal.SIGABRT),
    "an exit": lambda: os._exit(3),
    "a CUDA error": lambda: raise_(RuntimeError("CUDA error: an illegal memory access was encountered")),
}


def end_by(number: signal.Signals) -> None:
    faulthandler.disable()  # pytest's, which would print every thread
    os.kill(os.getpid(), number)
    time.sleep(60)  # the signal may go to another thread, and this one would compute until then


def raise_(error: Exception) -> None:
    raise error


def is_complete(predictions: PredictionStore) -> bool:
    """Whether every fold has predicted every photograph in at least one view."""
    return all((counts > 0).all() for counts in predictions._counts)

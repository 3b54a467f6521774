"""Freed memory is kept for the next step instead of being asked for page by page; too little of it is recognised."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.runtime.memory import give_back_freed_memory, is_out_of_memory, keep_freed_memory

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import resource, sys
from kernel_src.runtime.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
bytearray(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytearray(b"x") * 20_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, mode], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_large_blocks_are_reused_without_asking_the_system_for_their_pages_again() -> None:
    assert page_faults("keep") < 0.3 * page_faults("default")


HELD = """
import sys
from kernel_src.runtime.memory import give_back_freed_memory
def held():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])
before = held()
blocks = [bytearray(b"x") * 50_000 for _ in range(2_000)]
last = bytearray(b"x") * 50_000
del blocks
if sys.argv[1] == "give":
    give_back_freed_memory()
print(held() - before)
"""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_what_loading_left_free_is_given_back() -> None:
    def kept_kb(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", HELD, mode], cwd=ROOT, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert kept_kb("give") < 20_000 < 80_000 < kept_kb("keep")


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", None)  # would fail if it were called
    keep_freed_memory()
    give_back_freed_memory()


# As torch, its libraries, numpy and the system say it; the first is an OutOfMemoryError, whose class alone suffices.
TOO_LITTLE = (
    torch.OutOfMemoryError("Allocation on device 0 would exceed allowed memory."),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 14.75 GiB total capacity)"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError(
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp":1131, please report a bug'
    ),
    RuntimeError("NCCL error: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"),
    RuntimeError("cudaErrorMemoryAllocation"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("unable to mmap 4096 bytes from file </x>: Cannot allocate memory (12)"),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((1 << 40,), np.dtype(float)),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
)
SOMETHING_ELSE = (
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
    RuntimeError("The size of tensor a (8) must match the size of tensor b (4)"),
    RuntimeError("NCCL communicator was aborted"),
    ValueError("the table says that it is out of memory"),
    OSError(errno.ENOSPC, "No space left on device"),
    FileNotFoundError(errno.ENOENT, "No such file", "out of memory.jpg"),
    KeyboardInterrupt("out of memory"),
)


@pytest.mark.parametrize("error", TOO_LITTLE, ids=lambda error: str(error)[:40])
def test_too_little_memory_is_recognised_however_it_is_spelt(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", SOMETHING_ELSE, ids=lambda error: str(error)[:40])
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_what_torch_really_says_on_this_machine_is_recognised() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)

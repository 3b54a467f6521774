"""## Memory

The feature maps of one training step are returned to the system and asked for again at the next, page by page; on a CPU
that can take as long as the arithmetic. glibc can be told to keep them. And where there is too little memory, every
library has its own words for it: one function recognises all of them.
"""

import ctypes
import errno
import re
import sys
from contextlib import suppress
from pathlib import Path

import torch

# Parameter numbers of mallopt(3), from glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEEP_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let the C library reuse blocks of up to 1 GiB; where there is no glibc nothing is changed."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(MMAP_THRESHOLD, KEEP_BYTES)
        libc.mallopt(TRIM_THRESHOLD, KEEP_BYTES)


def give_back_freed_memory() -> None:
    """Let the C library return to the system what was freed; where there is no glibc nothing is done."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def available_bytes() -> float:
    """Return how much memory a process may still take: the machine's, or its container's; infinite where unknown."""
    found = [float("inf")]
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with suppress(OSError, ValueError):
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        found.append(float(limit - used + int(stat.get("file", 0))))  # the page cache is given up where it is needed
    return min(found)


# %%
# What the libraries say, in any case. Beside the allocators' own words: the states of cuBLAS, cuDNN, cuSOLVER and their
# kin; NOT_INITIALIZED is what cublasCreate and cudnnCreate return when their workspace finds no room; torch's allocator
# asks NVML while it composes its message, which can fail in its place; cuDNN finds no algorithm whose workspace fits.
_OUT_OF_MEMORY_WORDS = re.compile(
    r"out of memory|out_of_memory|cudaErrorMemoryAllocation|bad_?alloc|(can't|cannot|unable to|failed to) allocate"
    r"|ALLOC(ATION)?_FAILED|(CUBLAS|CUDNN|CUSOLVER|CUSPARSE)_STATUS_NOT_INITIALIZED"
    r"|NVML_SUCCESS == r.{0,40}INTERNAL ASSERT|unable to find a valid cuDNN algorithm",
    re.IGNORECASE | re.DOTALL,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means too little memory, on a GPU or on the CPU, however the library spells it.

    What merely mentions memory does not count: a ValueError, a file that is missing, a full disk.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY_WORDS.search(str(error)))

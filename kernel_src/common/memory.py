"""## Memory that is not given back

The feature maps of one training step are returned to the system and asked for again at the next, page by page; on a CPU
that can take as long as the arithmetic. glibc can be told to keep them.
"""

import ctypes
import sys

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

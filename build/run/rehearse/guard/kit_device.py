"""Make torch look and fail as it does on a P100 under Kaggle's image: there, but no kernel runs on it.

Kaggle's cu128 build of torch has no sm_60 kernels: `torch.cuda.is_available()` says True and the first operation fails.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

NAME, CAPABILITY, MEMORY = "Tesla P100-PCIE-16GB", (6, 0), 16 * 1024**3
ARCH_LIST = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
ERROR = (
    "CUDA error: no kernel image is available for execution on the device\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)


def install() -> None:
    """Patch torch as soon as something imports it; nothing happens in a process that never does."""
    sys.meta_path.insert(0, _TorchFinder())


class _TorchFinder:
    """Let the usual finders find torch, then have its loader call `pretend` once the package is executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_pretend(module: ModuleType) -> None:
                execute(module)
                pretend(module)

            loader.exec_module = execute_and_pretend
        return spec


def pretend(torch: Any) -> None:
    """Replace what a device check asks; whatever would run on the device raises the error that Kaggle shows."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(ERROR)

    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_name = lambda device=None: NAME
    cuda.get_device_capability = lambda device=None: CAPABILITY
    cuda.get_arch_list = lambda: list(ARCH_LIST)
    cuda.get_device_properties = lambda device=None: SimpleNamespace(
        name=NAME, major=CAPABILITY[0], minor=CAPABILITY[1], total_memory=MEMORY, multi_processor_count=56
    )
    cuda.is_bf16_supported = lambda including_emulation=True: including_emulation
    cuda.mem_get_info = lambda device=None: (MEMORY, MEMORY)
    cuda.synchronize = lambda device=None: None
    cuda.set_device = lambda device: None
    cuda._lazy_init = fail  # every first touch of the device comes through here, also from C++

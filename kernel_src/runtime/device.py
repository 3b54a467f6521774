"""## The device

`torch.cuda.is_available()` says True on a P100 whose kernels this torch was not built for, and the first operation then
fails. So every GPU multiplies two small matrices before it is used, and one that fails or multiplies wrongly is left
out.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

MATMUL_SIZE = 64
PROBE_S = 120.0  # for a GPU to compute: loading its kernels takes seconds, a driver that hangs never returns
PROBE_ENDS_S = 5.0  # for the process of the probe to end
VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What the work runs on, and why."""

    kind: str  # "cuda" or "cpu"
    name: str
    count: int
    half: bool  # fp16 arithmetic is worth it
    fault: str = ""  # why GPUs that are there are not used; empty if there are none or all work
    processes: int = 1  # that work side by side on this machine's cores, this one among them
    gpus_per_net: int = 1  # more than 1: `count` is 1, and a net that one GPU cannot hold is spread over so many

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)

    @property
    def spread(self) -> "Spread | None":
        """Over what a net is spread; None where it is not."""
        if self.gpus_per_net == 1:
            return None
        names = [f"cuda:{i}" if self.kind == "cuda" else self.kind for i in range(self.gpus_per_net)]
        return Spread(tuple(map(torch.device, names)), self.half)


class Spread(NamedTuple):
    """The devices that share one net, the first layers on the first."""

    devices: tuple[torch.device, ...]
    half: bool  # fp16 arithmetic is worth it


class Gpu(NamedTuple):
    """One GPU, and why it cannot be used; without a fault it has computed."""

    name: str
    fault: str = ""


def check_device() -> DeviceReport:
    """Find out what can really compute here, without initialising CUDA in this process.

    The GPUs are probed in forked children: several training processes can only be started from a parent that has not
    touched CUDA yet, and `torch.cuda.is_available()` alone already counts as touching it. An incompatible GPU is
    hidden from this process and all that it starts.
    """
    if torch.cuda.is_initialized():
        # A forked child could not use CUDA any more, and it is too late to hide a GPU.
        gpus = [probe_gpu(index) for index in range(count_gpus())]
        return _cpu(_faults(gpus)) if _faults(gpus) else _report(gpus)
    try:
        count = ForkedProbe(count_gpus).result()
        probes = [ForkedProbe(probe_gpu, index) for index in range(count)]
    except (ProbeFailed, OSError) as error:
        return _cpu(f"the GPU check failed: {error}")
    gpus = []
    for index, probe in enumerate(probes):
        try:
            gpus.append(Gpu(*probe.result()))
        except ProbeFailed as error:
            gpus.append(Gpu(f"GPU {index}", f"GPU {index}: {error}"))
    good = [index for index, gpu in enumerate(gpus) if not gpu.fault]
    if good and len(good) < len(gpus):
        _show_only(good)
    return _report(gpus)


def _report(gpus: Sequence[Gpu]) -> DeviceReport:
    good = [gpu for gpu in gpus if not gpu.fault]
    if not good:
        return _cpu(_faults(gpus))
    return DeviceReport(kind="cuda", name=good[0].name, count=len(good), half=True, fault=_faults(gpus))


def _faults(gpus: Sequence[Gpu]) -> str:
    return "; ".join(gpu.fault for gpu in gpus if gpu.fault)


def _cpu(fault: str) -> DeviceReport:
    return DeviceReport(kind="cpu", name="CPU", count=1, half=False, fault=fault)


def _show_only(indices: Sequence[int]) -> None:
    """Hide the other GPUs from this process and its children; CUDA reads the variable when it is first touched."""
    shown = [name.strip() for name in os.environ.get(VISIBLE_VARIABLE, "").split(",") if name.strip()]
    os.environ[VISIBLE_VARIABLE] = ",".join(shown[index] if shown else str(index) for index in indices)


# %%
class ProbeFailed(Exception):
    """The process of a probe crashed, or did not end in time."""


class ForkedProbe:
    """A function that runs in a forked child; several can run side by side."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        """Start it; what it returns must be made of plain values.

        Raises:
            OSError: no process can be started.
        """
        context = get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._child = context.Process(target=_send_result, args=(sender, function, arguments), daemon=True)
        self._child.start()
        sender.close()

    def result(self) -> Any:
        """Wait for what the function returns.

        Raises:
            ProbeFailed: the child crashed, or returned nothing in time.
        """
        try:
            if not self._receiver.poll(PROBE_S):
                raise ProbeFailed(f"no answer within {PROBE_S:g} s, the driver hangs: restart the session")
            return self._receiver.recv()
        except EOFError:
            raise ProbeFailed("it crashed without an answer: the driver is broken: restart the session") from None
        finally:
            self._receiver.close()
            self._child.kill()
            self._child.join(PROBE_ENDS_S)  # one that the driver holds cannot be waited for


def _send_result(sender: Connection, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    result = function(*arguments)
    # As plain values: a class that was defined in a notebook cell may not be found by its name.
    sender.send(tuple(result) if isinstance(result, tuple) else result)
    sender.close()


def count_gpus() -> int:
    """Count the GPUs that torch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def probe_gpu(index: int) -> Gpu:
    """Compute on one GPU."""
    name = f"GPU {index}"
    try:
        name = torch.cuda.get_device_name(index)
        major, minor = torch.cuda.get_device_capability(index)
        built_for = torch.cuda.get_arch_list()
        if not has_kernels(major, minor, built_for):
            kernels = f"{name} is sm_{major}{minor}, this torch has kernels for {', '.join(built_for)}"
            return Gpu(name, f"GPU {index}: {kernels}: choose the accelerator GPU T4 x2 (machine_shape NvidiaTeslaT4)")
        square = torch.ones(MATMUL_SIZE, MATMUL_SIZE, device=f"cuda:{index}")
        right = float((square @ square).sum()) == MATMUL_SIZE**3
    except RuntimeError as error:
        what = f"{name} fails at its first operation ({error})"
        return Gpu(name, f"GPU {index}: {what}: choose the accelerator GPU T4 x2")
    if not right:
        return Gpu(name, f"GPU {index}: {name} multiplies wrongly: restart the session to get another machine")
    return Gpu(name)


def gpu_memory(index: int) -> tuple[int, int]:
    """Return the free and the total memory of a GPU in bytes."""
    free, total = torch.cuda.mem_get_info(index)
    return free, total


def probed_gpu_memory(index: int) -> tuple[int, int] | None:
    """Return `gpu_memory` without initialising CUDA in this process; None if the GPU does not answer."""
    if torch.cuda.is_initialized():
        return gpu_memory(index)  # a forked child could not use CUDA any more
    try:
        free, total = ForkedProbe(gpu_memory, index).result()
    except (ProbeFailed, OSError):
        return None  # a GPU that is broken shows in what is computed on it
    return int(free), int(total)


def has_kernels(major: int, minor: int, built_for: Sequence[str]) -> bool:
    """Return whether kernels of one of the architectures, e.g. `sm_86`, run on a GPU of this compute capability.

    A kernel runs on its own capability and on higher minor ones of the same major: sm_86 serves the L4, which is sm_89
    (CUDA C++ Programming Guide, Binary Compatibility). The suffixes of `sm_90a` and `sm_100f` promise nothing more.
    """
    plain = [int(name[3:]) for name in built_for if name.startswith("sm_") and name[3:].isdigit()]
    return any(number // 10 == major and number % 10 <= minor for number in plain)

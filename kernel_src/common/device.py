"""## The device

`torch.cuda.is_available()` says True on a P100 whose kernels this torch was not built for, and the first operation then
fails. So the device is asked to multiply two small matrices before it is believed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import torch

MATMUL_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What the work runs on, and why."""

    kind: str  # "cuda" or "cpu"
    name: str
    count: int
    half: bool  # fp16 arithmetic is worth it
    fault: str = ""  # why a GPU that is there is not used; empty if none is there or it works

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return asdict(self)


def check_device() -> DeviceReport:
    """Find out what can really compute here, without initialising CUDA in this process.

    The question is put in a forked child: several training processes can only be started from a parent that has not
    touched CUDA yet, and `torch.cuda.is_available()` alone already counts as touching it.
    """
    if torch.cuda.is_initialized():
        return probe_gpu()  # nothing is left to protect, and a forked child could not use it
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_report, args=(sender,))
    child.start()
    sender.close()
    try:
        report: DeviceReport = DeviceReport(**receiver.recv())
    except EOFError:
        report = _cpu("the GPU check died without an answer: the driver is broken")
    child.join()
    return report


def _send_report(sender: Any) -> None:
    sender.send(probe_gpu().as_json())
    sender.close()


def _cpu(fault: str) -> DeviceReport:
    return DeviceReport(kind="cpu", name="CPU", count=1, half=False, fault=fault)


def probe_gpu() -> DeviceReport:
    """Compute on every GPU; fall back to the CPU with a reason if one cannot, without one if there is none."""
    if not torch.cuda.is_available():
        return _cpu("")
    count = torch.cuda.device_count()
    for index in range(count):
        name = f"GPU {index}"
        try:
            name = torch.cuda.get_device_name(index)
            major, minor = torch.cuda.get_device_capability(index)
            built_for = torch.cuda.get_arch_list()
            if not has_kernels(major, minor, built_for):
                return _cpu(
                    f"{name} is sm_{major}{minor}, this torch has kernels for {', '.join(built_for)}: "
                    "choose the accelerator GPU T4 x2 (machine_shape NvidiaTeslaT4)"
                )
            square = torch.ones(MATMUL_SIZE, MATMUL_SIZE, device=f"cuda:{index}")
            right = float((square @ square).sum()) == MATMUL_SIZE**3
        except RuntimeError as error:
            return _cpu(f"{name} fails at its first operation ({error}): choose the accelerator GPU T4 x2")
        if not right:
            return _cpu(f"{name} multiplies wrongly: restart the session to get another machine")
    return DeviceReport(kind="cuda", name=torch.cuda.get_device_name(0), count=count, half=True)


def has_kernels(major: int, minor: int, built_for: Sequence[str]) -> bool:
    """Tell whether kernels of one of the architectures, e.g. `sm_86`, run on a GPU of this compute capability.

    A kernel runs on its own capability and on higher minor ones of the same major: sm_86 serves the L4, which is sm_89
    (CUDA C++ Programming Guide, Binary Compatibility). The suffixes of `sm_90a` and `sm_100f` promise nothing more.
    """
    plain = [int(name[3:]) for name in built_for if name.startswith("sm_") and name[3:].isdigit()]
    return any(number // 10 == major and number % 10 <= minor for number in plain)


def refuse_fault(device: DeviceReport) -> None:
    """Refuse to train on the CPU in place of a GPU that is there and cannot compute; no GPU at all is a choice.

    Raises:
        RuntimeError: with the fault, which names the cure.
    """
    if device.fault:
        raise RuntimeError(
            f"not trained: the CPU in place of this GPU would compute until the session's limit. {device.fault}. "
            "To train on the CPU all the same, hide the GPU: CUDA_VISIBLE_DEVICES=-1"
        )

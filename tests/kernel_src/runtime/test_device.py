"""A GPU is believed only after it has computed, and asking it leaves CUDA to the processes that will train."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kernel_src.runtime import device
from kernel_src.runtime.device import DeviceReport, check_device, has_kernels
from kernel_src.training.launch import refuse_fault

ROOT = Path(__file__).resolve().parents[3]
CU128 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # Kaggle's build of torch


class FakeMatrix(SimpleNamespace):
    def __matmul__(self, other: "FakeMatrix") -> torch.Tensor:
        return torch.tensor(self.total)


def raises(message: str) -> Callable[[], float]:
    def fail() -> float:
        raise RuntimeError(message)

    return fail


def right() -> float:
    return 64.0**3


Pretend = Callable[..., None]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Return a function that makes torch see GPUs; `computing` says what becomes of the matrix product on some."""

    def pretend(
        count: int = 2,
        computing: Mapping[int, Callable[[], float]] = {},  # noqa: B006 it is only read
        name: str = "Tesla T4",
        capability: tuple[int, int] = (7, 5),
    ) -> None:
        def first_operation(*_: object, device: str) -> FakeMatrix:
            return FakeMatrix(total=computing.get(int(device.removeprefix("cuda:")), right)())

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CU128)
        monkeypatch.setattr(torch, "ones", first_operation)
        monkeypatch.setattr(device, "PROBE_S", 20.0)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "untouched")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    return pretend


def test_two_healthy_t4_are_used_in_half_precision(gpus: Pretend) -> None:
    gpus()
    assert check_device() == DeviceReport(kind="cuda", name="Tesla T4", count=2, half=True)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_p100_gives_the_cpu_and_says_which_accelerator_to_choose(gpus: Pretend) -> None:
    gpus(1, name="Tesla P100-PCIE-16GB", capability=(6, 0))
    report = check_device()
    assert (report.kind, report.half, report.count) == ("cpu", False, 1)
    assert "Tesla P100-PCIE-16GB is sm_60, this torch has kernels for sm_70" in report.fault
    assert "GPU T4 x2 (machine_shape NvidiaTeslaT4)" in report.fault


BAD: dict[str, tuple[Callable[[], float], str]] = {
    "fails": (raises("CUDA error: no kernel image"), "Tesla T4 fails at its first operation (CUDA error: no kernel"),
    "multiplies wrongly": (lambda: 1.0, "Tesla T4 multiplies wrongly"),
    "hangs": (lambda: time.sleep(600) or 0.0, "no answer within 2 s, the driver hangs"),
    "kills whoever asks": (lambda: os._exit(1), "it crashed without an answer"),
}


@pytest.mark.parametrize(
    ("bad", "which", "before", "shown"),
    [
        ("fails", 0, None, "1"),
        ("fails", 1, "GPU-7f, 3", "GPU-7f"),
        ("multiplies wrongly", 1, None, "0"),
        ("hangs", 0, "2,3", "3"),
        ("kills whoever asks", 1, None, "0"),
    ],
)
def test_of_two_gpus_the_good_one_is_used_and_the_bad_one_named(
    gpus: Pretend, bad: str, which: int, before: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing, told = BAD[bad]
    gpus(computing={which: computing})
    if bad == "hangs":
        monkeypatch.setattr(device, "PROBE_S", 2.0)
    if before:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    report = check_device()
    assert (report.kind, report.name, report.count, report.half) == ("cuda", "Tesla T4", 1, True)
    assert report.fault.startswith(f"GPU {which}: ") and told in report.fault
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown, "all that is started from here on sees the good one only"
    refuse_fault(report)  # a training goes on, on the good one


@pytest.mark.parametrize("bad", ["fails", "multiplies wrongly", "kills whoever asks"])
def test_where_no_gpu_is_good_the_cpu_is_used_and_all_are_named(gpus: Pretend, bad: str) -> None:
    computing, told = BAD[bad]
    gpus(computing={0: computing, 1: computing})
    report = check_device()
    assert report.kind == "cpu" and report.fault.count(told) == 2 and "CUDA_VISIBLE_DEVICES" not in os.environ
    with pytest.raises(RuntimeError, match="not trained: .* GPU 0: .* GPU 1: "):
        refuse_fault(report)


def test_a_driver_that_hangs_when_it_counts_its_gpus_hangs_nobody(
    gpus: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus()
    monkeypatch.setattr(device, "PROBE_S", 0.3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: time.sleep(600))
    report = check_device()
    assert report.kind == "cpu" and "no answer within 0.3 s, the driver hangs" in report.fault


def test_gpus_that_hang_are_waited_for_side_by_side(gpus: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, _ = BAD["hangs"]
    gpus(computing={0: hangs, 1: hangs})
    monkeypatch.setattr(device, "PROBE_S", 0.3)
    start = time.monotonic()
    assert check_device().fault.count("the driver hangs") == 2
    assert time.monotonic() - start < 20, "no child is waited for until it ends by itself"


def test_no_process_to_ask_with_is_a_fault_not_a_crash(gpus: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    gpus()
    monkeypatch.setattr(os, "fork", refuse)
    assert check_device().fault == "the GPU check failed: [Errno 11] Resource temporarily unavailable"


def test_a_driver_that_cannot_even_name_its_gpu_is_a_fault_not_a_crash(
    gpus: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus()

    def broken(index: int) -> str:
        raise RuntimeError("CUDA driver initialization failed")

    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    assert "CUDA driver initialization failed" in check_device().fault


def test_where_cuda_is_in_use_already_a_bad_gpu_cannot_be_hidden_and_the_cpu_is_used(
    gpus: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    gpus()
    assert check_device().count == 2
    gpus(computing={1: lambda: 1.0})
    assert check_device().kind == "cpu" and "GPU 1: Tesla T4 multiplies wrongly" in check_device().fault


def test_without_a_gpu_there_is_no_fault_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device() == DeviceReport(kind="cpu", name="CPU", count=1, half=False, fault="")


def test_a_check_that_dies_gives_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert "crashed without an answer" in check_device().fault


@pytest.mark.parametrize(
    ("major", "minor", "runs"),
    [
        (7, 5, True),
        (8, 9, True),
        (6, 0, False),
        (7, 0, True),
        (9, 0, True),
        (12, 0, True),
        (10, 3, True),
        (11, 0, False),
    ],
)
def test_kernels_serve_their_own_and_higher_minors_of_the_same_major(major: int, minor: int, runs: bool) -> None:
    """An L4 is sm_89 and runs sm_86: the exact name is not in the list, the device works all the same."""
    assert has_kernels(major, minor, CU128) is runs
    assert not has_kernels(9, 0, ["sm_90a", "compute_90", "sm_120"])
    assert not has_kernels(8, 0, ["sm_86"])


@pytest.mark.full
def test_asking_for_the_device_leaves_cuda_to_forked_processes() -> None:
    """`torch.cuda.is_available()` in the parent is enough to make CUDA useless in every child of it.

    The check itself and the training on two T4s run in such children: on Kaggle both would have failed. The imports of
    the kernels must not ask either.
    """
    code = """
import os, torch
from kernel_src.bundle import bundles
from kernel_src.data import charts
from kernel_src.inference import inference
from kernel_src.training import launch, runs
from kernel_src.runtime.device import check_device
check_device()
pid = os.fork()
if pid == 0:
    os._exit(3 if torch._C._cuda_isInBadFork() else 0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "a forked child could not use CUDA"


def test_a_report_goes_through_json() -> None:
    import json

    report = DeviceReport(kind="cpu", name="CPU", count=1, half=False, fault="why")
    assert DeviceReport(**json.loads(json.dumps(report.as_json()))) == report

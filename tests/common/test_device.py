"""A GPU is believed only after it has computed, and asking it leaves CUDA to the processes that will train."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kernel_src.common.device import DeviceReport, check_device, has_kernels, probe_gpu

ROOT = Path(__file__).resolve().parents[2]
CU128 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # Kaggle's build of torch


class FakeMatrix(SimpleNamespace):
    def __matmul__(self, other: "FakeMatrix") -> torch.Tensor:
        return torch.tensor(self.total)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes torch see GPUs."""

    def pretend(
        name: str = "Tesla T4",
        capability: tuple[int, int] = (7, 5),
        count: int = 2,
        fails: str = "",
        total: float = 64.0**3,
    ) -> None:
        def first_operation(*_: object, **__: object) -> FakeMatrix:
            if fails:
                raise RuntimeError(fails)
            return FakeMatrix(total=total)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CU128)
        monkeypatch.setattr(torch, "ones", first_operation)

    return pretend


@pytest.mark.parametrize("check", [probe_gpu, check_device])
def test_two_healthy_t4_are_used_in_half_precision(gpu: Callable[..., None], check: Callable[[], DeviceReport]) -> None:
    gpu()
    assert check() == DeviceReport(kind="cuda", name="Tesla T4", count=2, half=True)


@pytest.mark.parametrize("check", [probe_gpu, check_device])
def test_a_p100_gives_the_cpu_and_says_which_accelerator_to_choose(
    gpu: Callable[..., None], check: Callable[[], DeviceReport]
) -> None:
    gpu("Tesla P100-PCIE-16GB", (6, 0), count=1)
    report = check()
    assert (report.kind, report.half, report.count) == ("cpu", False, 1)
    assert "Tesla P100-PCIE-16GB is sm_60, this torch has kernels for sm_70" in report.fault
    assert "GPU T4 x2 (machine_shape NvidiaTeslaT4)" in report.fault


def test_a_gpu_that_fails_at_its_first_operation_or_multiplies_wrongly_is_not_used(gpu: Callable[..., None]) -> None:
    gpu(fails="CUDA error: no kernel image is available")
    assert probe_gpu().kind == "cpu"
    assert "Tesla T4 fails at its first operation (CUDA error: no kernel image" in probe_gpu().fault
    gpu(total=1.0)
    assert "multiplies wrongly" in probe_gpu().fault


def test_a_driver_that_cannot_even_name_its_gpu_is_a_fault_not_a_crash(
    gpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu()

    def broken(index: int) -> str:
        raise RuntimeError("CUDA driver initialization failed")

    monkeypatch.setattr(torch.cuda, "get_device_name", broken)
    assert "CUDA driver initialization failed" in check_device().fault


def test_without_a_gpu_there_is_no_fault_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device() == DeviceReport(kind="cpu", name="CPU", count=1, half=False, fault="")


def test_a_check_that_dies_gives_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert "died without an answer" in check_device().fault


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


def test_asking_for_the_device_leaves_cuda_to_forked_processes() -> None:
    """`torch.cuda.is_available()` in the parent is enough to make CUDA useless in every child of it.

    The check itself and the training on two T4s run in such children: on Kaggle both would have failed. The imports of
    the kernels must not ask either.
    """
    code = """
import os, torch
from kernel_src.common import bundles, charts, launch, runs
from kernel_src.common.device import check_device
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

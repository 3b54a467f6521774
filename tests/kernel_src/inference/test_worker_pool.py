"""Real workers, really killed: what they have sent is kept, the rest is tried again, and the deadline is kept."""

import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import active_children
from multiprocessing.context import ForkProcess
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.inference import device_worker, inference
from kernel_src.inference import worker_pool as workforce
from kernel_src.runtime.faults import FaultLog, NotContained
from tests.kernel_src.inference.jobs import HALF_A_MINUTE_S, MEANS, alter_work, is_complete, job_of, run


@pytest.mark.parametrize("devices", [1, 2])
def test_a_worker_that_is_killed_costs_nothing_in_the_rerun(
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    devices: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    once = tmp_path / "killed"

    def die_once(_: object, __: int, model: int, view: int) -> None:
        if (model, view) == (1, 2) and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    alter_work(monkeypatch, die_once)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, devices=devices)
    (fault,) = log.faults
    assert "killed by SIGKILL" in fault.what and fault.part == "device" and "tried again" in fault.fallback
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def test_outside_the_rerun_a_dead_worker_is_an_error(
    recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_work(monkeypatch, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    before = set(psutil.Process().children())  # of other tests: a resource tracker, say
    with pytest.raises(NotContained, match="device: the worker of CPU killed by SIGKILL"):
        run(job_of(paths, recipe), FaultLog(strict=True))
    assert set(psutil.Process().children()) <= before, "no worker is left behind"


def test_a_photograph_that_kills_its_worker_is_found_and_given_up(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(paths[5]), np.full((100, 200, 3), 255, np.uint8))

    def die_of_white(work: object, *_: int) -> None:
        if any(bool((picture == 255).all()) for picture in work.pictures[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    alter_work(monkeypatch, die_of_white)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert list(np.flatnonzero(~outcome.predicted)) == [5] and outcome.values[5, 4] == MEANS["Dry_Total_g"]
    assert [fault.ids for fault in log.faults if fault.part == "photograph"] == [(paths[5].stem,)]
    others = [row for row in range(12) if row != 5]
    assert outcome.values[others] == pytest.approx(constrain(plain[:, others].mean(0), "projection"), abs=1e-3)


@pytest.mark.parametrize("lethal", [0, 1])
def test_a_fold_that_kills_its_worker_is_left_out(
    lethal: int, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very first fold as well: its first victims must not pass for photographs that kill."""

    def die(_: object, __: int, model: int, ___: int) -> None:
        if model == lethal:
            os.kill(os.getpid(), signal.SIGKILL)

    alter_work(monkeypatch, die)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert any(fault.part == "fold" and f"fold {lethal}: its workers crash" in fault.what for fault in log.faults)
    assert outcome.predicted.all() and np.isnan(outcome.predictions.fold_values(0)[lethal]).all()
    assert np.isfinite(outcome.predictions.fold_values(0)[1 - lethal]).all()


def test_a_device_that_dies_for_good_costs_no_fold_when_the_other_dies_once(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = device_worker.DeviceWorker._load
    here: list[int] = []  # in a worker: its device
    (dead := tmp_path / "dead").mkdir()
    once = tmp_path / "once"

    def note_device(self: device_worker.DeviceWorker, *some: object) -> object:
        here.append(self.config.index)
        return load(self, *some)

    def die(*_: object) -> None:
        if here[0] == 1:
            (dead / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if not once.exists():
            # A process is gone once the notebook has replaced it.
            while len(pids := os.listdir(dead)) < workforce.CRASHES_OF_A_DEVICE or any(
                psutil.pid_exists(int(p)) for p in pids
            ):
                time.sleep(0.01)
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(device_worker.DeviceWorker, "_load", note_device)
    alter_work(monkeypatch, die)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, devices=2)
    assert once.exists() and {fault.part for fault in log.faults} == {"device"}
    assert is_complete(outcome.predictions)
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


@pytest.mark.full
def test_a_worker_that_hangs_is_ended_and_its_work_done_by_another(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inference, "SILENCE_S", 1.0)
    once = tmp_path / "hung"

    def hang(_: object, __: int, model: int, view: int) -> None:
        if model == 1 and view == 1 and not once.exists():
            once.touch()
            time.sleep(600)

    alter_work(monkeypatch, hang)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert "it hung" in log.faults[0].what
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def hang_in_loading(monkeypatch: pytest.MonkeyPatch, when: Callable[[device_worker.WorkerConfig], bool]) -> None:
    load = device_worker.DeviceWorker._load

    def hanging(self: device_worker.DeviceWorker, *some: object) -> object:
        if when(self.config):
            time.sleep(600)
        return load(self, *some)

    monkeypatch.setattr(device_worker.DeviceWorker, "_load", hanging)


@pytest.mark.full
def test_a_worker_that_hangs_while_it_loads_is_not_waited_for_by_the_others(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang_in_loading(monkeypatch, lambda config: config.index == 1)
    log, start = FaultLog(strict=True), time.monotonic()
    outcome = run(job_of(paths, recipe), log, seconds=10 * HALF_A_MINUTE_S, devices=2)
    assert time.monotonic() - start < HALF_A_MINUTE_S and not log.faults
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def test_a_worker_that_hangs_while_it_loads_is_replaced(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = tmp_path / "hung"

    def first(_: device_worker.WorkerConfig) -> bool:
        new = not once.exists()
        once.touch()
        return new

    hang_in_loading(monkeypatch, first)
    monkeypatch.setattr(inference, "LOADING_S", 3.0)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert [fault.part for fault in log.faults] == ["device"]
    assert "killed by SIGKILL: it hung while it loaded the bundles" in log.faults[0].what
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


@pytest.mark.full
def test_a_worker_that_cannot_even_be_killed_holds_nobody_up(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As one is that waits in the driver: the kernel takes it away when the driver predictions."""
    monkeypatch.setattr(inference, "SILENCE_S", 1.0)
    monkeypatch.setattr(workforce, "ENDING_S", 0.2)
    once, real_kill = tmp_path / "hung", ForkProcess.kill
    monkeypatch.setattr(ForkProcess, "kill", lambda self: None)
    before = set(active_children())

    def hang_once(*_: object) -> None:
        if not once.exists():
            once.touch()
            time.sleep(600)

    alter_work(monkeypatch, hang_once)
    log, found = FaultLog(strict=False), []
    inferring = threading.Thread(target=lambda: found.append(run(job_of(paths, recipe), log)), daemon=True)
    inferring.start()
    inferring.join(2 * HALF_A_MINUTE_S)
    for process in set(active_children()) - before:
        real_kill(process)
    assert not inferring.is_alive(), "it waits for a process that does not end"
    assert "the worker of CPU cannot be ended: it hung" in log.faults[0].what
    assert found[0].values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


@pytest.mark.full
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_the_deadline_is_kept_by_a_device_that_is_too_slow(
    recipe: BundleRecipe, paths: list[Path], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_work(monkeypatch, lambda *_: time.sleep(0.25))
    log, start = FaultLog(strict=True), time.monotonic()
    outcome = run(job_of(paths, recipe), log, seconds)
    assert time.monotonic() - start < seconds + 0.5
    assert [fault.part for fault in log.faults] == ["time"], "no error, in no run"
    assert outcome.passes_done < outcome.passes_wanted
    assert (outcome.values[~outcome.predicted].reshape(-1, 5) == list(MEANS.values())).all()

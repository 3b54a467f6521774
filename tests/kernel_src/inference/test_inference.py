"""Real workers, really killed: what they have sent is kept, the rest is tried again, and the deadline is kept."""

import errno
import faulthandler
import os
import re
import shutil
import signal
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import active_children
from multiprocessing.context import ForkProcess
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import torch

from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
from kernel_src.bundle.bundles import BundleRecipe, read_recipe
from kernel_src.competition.constants import TARGETS
from kernel_src.competition.constraints import constrain
from kernel_src.inference import device_folds, device_worker, inference
from kernel_src.inference import worker_pool as workforce
from kernel_src.inference.inference import InferenceResult, Job, infer
from kernel_src.inference.refinement import RefinementParts
from kernel_src.models.model import GramsNet
from kernel_src.models.prediction import BatchWork
from kernel_src.runtime.faults import FaultLog, NotContained
from kernel_src.runtime.manifest import read_manifest
from tests.kernel_src.tiny import CPU

MEANS = dict(zip(TARGETS, (2.0, 1.0, 1.0, 3.0, 4.0), strict=True))
HALF_A_MINUTE_S = 30.0


@pytest.fixture
def paths(tiny_competition: Path, tmp_path: Path) -> list[Path]:
    return [
        Path(shutil.copy(path, tmp_path / path.name)) for path in sorted((tiny_competition / "train").iterdir())[:12]
    ]


@pytest.fixture
def recipe(whole_bundle: Path) -> BundleRecipe:
    return read_recipe(whole_bundle, read_manifest(whole_bundle))


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
    refine_s: float = 0,
) -> InferenceResult:
    saved: list[np.ndarray] = []
    outcome = infer(
        job,
        replace(CPU, count=devices),
        log,
        deadline_s=time.monotonic() + seconds,
        batch_size=batch_size,
        save=saved.append,
        refine_s=refine_s,
    )
    assert np.array_equal(saved[-1], outcome.grams), "what was saved last is the best"
    assert all(np.isfinite(grams).all() and (grams >= 0).all() for grams in saved)
    return outcome


@pytest.fixture
def plain(whole_bundle: Path, paths: list[Path]) -> np.ndarray:
    """What the folds predict, (folds, images, 5), in one plain pass in this process."""
    (grams,) = predict_bundles([load_bundle(whole_bundle)], paths, device=CPU, batch_size=4)
    return grams


def alter_work(monkeypatch: pytest.MonkeyPatch, before: Callable[[object, int, int, int], None]) -> None:
    """Let the worker do something else before it computes a member's model and view; it is forked with this in it."""
    grams = device_worker.BatchWork.grams

    def altered(self: object, number: int, model: int, view: int) -> torch.Tensor:
        before(self, number, model, view)
        return grams(self, number, model, view)

    monkeypatch.setattr(device_worker.BatchWork, "grams", altered)


def test_everything_is_computed_and_is_what_the_plain_pass_computes(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path]
) -> None:
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe), log)
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)
    assert outcome.passes_done == outcome.passes_wanted == 12 * 2 * 4 and not log.faults
    assert outcome.predicted.all() and outcome.predictions.is_complete()


def test_refining_in_a_notebook_without_that_part_is_refused_and_in_the_rerun_left_out(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RefinementParts, "part", "another")
    with pytest.raises(NotContained, match="refinement: this needs the part 'refinement', which this notebook was"):
        run(job_of(paths, recipe), FaultLog(strict=True), refine_s=60)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, refine_s=60)
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)
    assert [(fault.part, fault.fallback) for fault in log.faults] == [("refinement", "not refined")]


@pytest.mark.parametrize("devices", [1, 2])
def test_each_photograph_is_decoded_once_for_all_folds_and_views(
    recipe: BundleRecipe, paths: list[Path], devices: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read, told = device_worker.read_photograph, tmp_path / "read"

    def counting(path: Path, at_least_px: tuple[int, int]) -> object:
        with told.open("a") as file:  # the worker is another process
            file.write(f"{path.stem}\n")
        return read(path, at_least_px)

    monkeypatch.setattr(device_worker, "read_photograph", counting)
    run(job_of(paths, recipe), FaultLog(strict=True), devices=devices)
    assert sorted(told.read_text().split()) == sorted(path.stem for path in paths)


@pytest.mark.parametrize(("batch_size", "devices"), [(1, 1), (16, 1), (4, 2), (1, 2)])
def test_batches_devices_and_order_change_nothing(
    recipe: BundleRecipe, paths: list[Path], batch_size: int, devices: int
) -> None:
    once = run(job_of(paths, recipe), FaultLog(strict=True))
    other = run(job_of(paths[::-1], recipe), FaultLog(strict=True), batch_size=batch_size, devices=devices)
    assert other.grams[::-1] == pytest.approx(once.grams, abs=2e-3)


def test_the_notebook_process_may_have_computed_on_all_its_threads_before(
    recipe: BundleRecipe, paths: list[Path]
) -> None:
    """A forked child that used OpenMP's inherited thread pool would wait for ever."""
    for _ in range(3):
        (torch.randn(1500, 1500) @ torch.randn(1500, 1500)).relu().exp()
    assert run(job_of(paths, recipe), FaultLog(strict=True)).predicted.all()


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
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert list(np.flatnonzero(~outcome.predicted)) == [5] and outcome.grams[5, 4] == MEANS["Dry_Total_g"]
    assert [fault.ids for fault in log.faults if fault.part == "photograph"] == [(paths[5].stem,)]
    others = [row for row in range(12) if row != 5]
    assert outcome.grams[others] == pytest.approx(constrain(plain[:, others].mean(0), "projection"), abs=1e-3)


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
    assert outcome.predicted.all() and np.isnan(outcome.predictions.fold_grams(0)[lethal]).all()
    assert np.isfinite(outcome.predictions.fold_grams(0)[1 - lethal]).all()


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
    assert outcome.predictions.is_complete()
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert found[0].grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert (outcome.grams[~outcome.predicted].reshape(-1, 5) == list(MEANS.values())).all()


def test_an_output_that_is_not_finite_is_replaced_by_the_other_folds(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    grams = device_worker.BatchWork.grams

    def broken(self: object, number: int, model: int, view: int) -> torch.Tensor:
        answer = grams(self, number, model, view)
        return answer.fill_(float("nan")) if model == 0 else answer

    monkeypatch.setattr(device_worker.BatchWork, "grams", broken)
    with pytest.raises(NotContained, match="fold 0, view 0: . of . predictions are NaN or infinite"):
        run(job_of(paths, recipe), FaultLog(strict=True))
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert outcome.grams == pytest.approx(constrain(plain[1], "projection"), abs=1e-3)
    assert {name for fault in log.faults for name in fault.ids} == {path.stem for path in paths}


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


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("error", SPELLINGS, ids=spelt)
def test_a_memory_that_is_too_small_costs_nothing_however_it_is_spelt(
    error: BaseException,
    devices: int,
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crowd(work: object, *_: int) -> None:
        if len(work.pictures[0]) > 3:
            raise error

    alter_work(monkeypatch, crowd)
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe), log, batch_size=8, devices=devices)
    assert {fault.part for fault in log.faults} == {"memory"}
    assert outcome.passes_done == 12 * 2 * 4, "nothing is computed twice, nothing is left out"
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_with_several_photographs_halves_the_batch_before_anything_is_blamed(
    crash: str,
    devices: int,
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(work: object, *_: int) -> None:
        if len(work.pictures[0]) > 1:
            CRASHES[crash]()

    alter_work(monkeypatch, die)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, batch_size=8, devices=devices)
    assert {fault.part for fault in log.faults} == {"device"}
    assert all(re.search(r"tried again on .*, [124] at once$", fault.fallback) for fault in log.faults)
    assert len(log.faults) <= 3 * devices, "a new worker does not begin where the last one ended"
    assert outcome.passes_done == 12 * 2 * 4
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


# Loading


def alter_loading(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], object]) -> None:
    """Let something happen whenever a net is brought to a device; it is given how many were before, in this process."""
    moved: list[int] = []
    to = torch.nn.Module.to

    def altered(self: torch.nn.Module, *some: object, **more: object) -> torch.nn.Module:
        if isinstance(self, GramsNet) and some:
            moved.append(len(moved))
            before(moved[-1])
        return to(self, *some, **more)

    monkeypatch.setattr(torch.nn.Module, "to", altered)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("error", SPELLINGS, ids=spelt)
def test_a_fold_that_finds_no_room_beside_the_others_is_loaded_anew_when_it_is_needed(
    error: BaseException,
    devices: int,
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alter_loading(monkeypatch, lambda number: raise_(error) if number else None)
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe), log, devices=devices)
    assert {fault.part for fault in log.faults} == {"memory"}
    assert all("it is loaded anew whenever it is needed" in fault.fallback for fault in log.faults)
    assert outcome.streamed and outcome.passes_done == 12 * 2 * 4
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


@pytest.mark.parametrize("devices", [1, 2])
def test_two_bundles_on_a_device_with_room_for_one_fold(
    plain: np.ndarray,
    whole_bundle: Path,
    recipe: BundleRecipe,
    paths: list[Path],
    devices: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A net of another bundle cannot take the weights: the one that is there has to go."""
    alive: weakref.WeakSet = weakref.WeakSet()
    to = torch.nn.Module.to

    def altered(self: torch.nn.Module, *some: object, **more: object) -> torch.nn.Module:
        if isinstance(self, GramsNet) and some:
            if len(alive - {self}) > 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
            alive.add(self)
        return to(self, *some, **more)

    monkeypatch.setattr(torch.nn.Module, "to", altered)
    other = replace(recipe, folder=Path(shutil.copytree(whole_bundle, tmp_path / "other")))
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe, other, shares=(0.5, 0.5)), log, devices=devices)
    assert {fault.part for fault in log.faults} == {"memory"}
    # Three find no room beside the first, which has to go for them; of two devices perhaps neither needs it again.
    assert len(outcome.streamed) in ((4,) if devices == 1 else (3, 4))
    assert outcome.passes_done == 12 * 4 * 4
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        OSError(errno.EIO, "Input/output error"),
        KeyError("weight"),
    ],
    ids=spelt,
)
@pytest.mark.parametrize("broken", [0, 1])
def test_whatever_goes_wrong_while_a_fold_is_loaded_costs_this_fold_only(
    error: BaseException,
    devices: int,
    broken: int,
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alter_loading(monkeypatch, lambda number: raise_(error) if number == broken else None)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, devices=devices)
    assert [fault.part for fault in log.faults] == ["fold"] and log.faults[0].fallback == "the other folds"
    assert outcome.grams == pytest.approx(constrain(plain[1 - broken], "projection"), abs=1e-3)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("crash", ["the kernel's OOM killer", "a segmentation fault"])
@pytest.mark.parametrize("lethal", [0, 1])
def test_a_fold_whose_loading_kills_the_worker_costs_this_fold_only(
    crash: str,
    devices: int,
    lethal: int,
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle_of_folds = device_folds.load_recipe

    def deadly(of: BundleRecipe, known: object, folds: tuple[int, ...]) -> object:
        if lethal in folds:
            CRASHES[crash]()
        return bundle_of_folds(of, known, folds=folds)

    monkeypatch.setattr(device_folds, "load_recipe", deadly)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, devices=devices)
    assert {fault.part for fault in log.faults} == {"device", "fold"}
    assert outcome.predicted.all() and np.isnan(outcome.predictions.fold_grams(0)[lethal]).all()
    assert outcome.grams == pytest.approx(constrain(plain[1 - lethal], "projection"), abs=1e-3)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_worker_that_is_killed_once_while_it_loads_costs_nothing(
    devices: int,
    plain: np.ndarray,
    recipe: BundleRecipe,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """By the kernel's OOM killer, say, when two workers read at the same time: the fold is tried again in the end."""

    def die_once(number: int) -> None:
        if not (once := tmp_path / "once").exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    alter_loading(monkeypatch, die_once)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, devices=devices)
    assert [fault.part for fault in log.faults if fault.part != "memory"] == ["device"]
    assert "killed by SIGKILL while tiny, fold 0 was loaded" in log.faults[0].what
    assert outcome.passes_done == 12 * 2 * 4
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def test_a_fold_that_only_one_of_two_devices_can_load_is_not_lost(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[int] = []  # in a worker: its device
    load = device_worker.DeviceWorker._load

    def note_device(self: device_worker.DeviceWorker) -> object:
        here.append(self.config.index)
        return load(self)

    monkeypatch.setattr(device_worker.DeviceWorker, "_load", note_device)
    bundle_of_folds = device_folds.load_recipe

    def broken_on_one(of: BundleRecipe, known: object, folds: tuple[int, ...]) -> object:
        if here[0] == 1 and 1 in folds:
            raise RuntimeError("CUDA error: invalid argument")
        return bundle_of_folds(of, known, folds=folds)

    monkeypatch.setattr(device_folds, "load_recipe", broken_on_one)
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log, devices=2)
    assert [fault.part for fault in log.faults] == ["fold"]
    assert outcome.passes_done == 12 * 2 * 4
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def test_a_memory_without_room_for_one_photograph_beside_two_folds_has_room_beside_one(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crowd(work: BatchWork, number: int, *_: int) -> None:
        member = work.members[number]
        if member is not None and sum(bool(list(net.parameters())) for net in member.models) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    alter_work(monkeypatch, crowd)
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe), log)
    assert {fault.part for fault in log.faults} == {"memory"}
    assert outcome.passes_done == 12 * 2 * 4
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


# Precision; the CPU plays a device that is fast in fp16


HALF = replace(CPU, half=True)


def infer_in_half(job: Job, log: FaultLog) -> InferenceResult:
    deadline_s = time.monotonic() + HALF_A_MINUTE_S
    return infer(job, HALF, log, deadline_s=deadline_s, batch_size=4, save=lambda _: None)


@pytest.mark.parametrize("precision", ["fp16", "fp32", "auto"])
def test_the_weights_are_kept_and_computed_with_as_the_experiment_says(
    precision: str, plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(work: BatchWork, number: int, model: int, _: int) -> None:
        member = work.members[number]
        assert member is not None
        net = member.models[model]
        kept = {layer.weight.dtype for layer in net.modules() if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)}
        assert kept == {torch.float32 if precision == "fp32" else torch.float16}, kept
        others = [one for one in net.modules() if not isinstance(one, torch.nn.Linear | torch.nn.Conv2d)]
        assert {p.dtype for one in others for p in one.parameters(recurse=False)} == {torch.float32}

    alter_work(monkeypatch, look)
    wanted = replace(recipe, experiment=replace(recipe.experiment, precision=precision))
    log = FaultLog(strict=True)
    outcome = infer_in_half(job_of(paths, wanted), log)
    assert not log.faults and outcome.passes_done == 12 * 2 * 4
    exact = constrain(plain.mean(0), "projection")
    assert outcome.grams == pytest.approx(exact, abs=1e-3 if precision == "fp32" else 0.2)
    said = outcome.precision
    if precision == "auto":
        assert set(said) == {"tiny, fold 0", "tiny, fold 1"}
        assert all(one.startswith("fp16: fp16 differs from fp32 by") for one in said.values())
    assert all(one == "fp32: the experiment says so" for one in said.values()) or precision != "fp32"


def overflowing(monkeypatch: pytest.MonkeyPatch, fold: int) -> None:
    """Let a fold's heads answer what fp16 cannot hold; in fp32 they answer what they always do."""
    bundle_of_folds = device_folds.load_recipe

    def altered(of: BundleRecipe, known: object, folds: tuple[int, ...]) -> object:
        bundle = bundle_of_folds(of, known, folds=folds)
        for net in bundle.models if fold in folds else ():
            net.register_forward_hook(lambda _, __, z: z * float("inf") if torch.is_autocast_enabled("cpu") else z)
        return bundle

    monkeypatch.setattr(device_folds, "load_recipe", altered)


@pytest.mark.parametrize("precision", ["fp16", "auto"])
def test_what_is_not_finite_in_fp16_is_computed_in_fp32_before_a_fold_is_left_out(
    precision: str, plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    overflowing(monkeypatch, fold=1)
    wanted = replace(recipe, experiment=replace(recipe.experiment, precision=precision))
    log = FaultLog(strict=True)
    outcome = infer_in_half(job_of(paths, wanted), log)
    assert not log.faults and outcome.passes_done == 12 * 2 * 4
    assert outcome.predictions.fold_grams(0)[1] == pytest.approx(plain[1], abs=1e-3), "all of it in fp32"
    why = "not finite" if precision == "auto" else "overflowed in fp16 and were computed again in fp32"
    assert why in outcome.precision["tiny, fold 1"]
    assert outcome.precision["tiny, fold 1"].startswith("fp32" if precision == "auto" else "fp16")


def test_a_memory_that_is_too_small_halves_the_batch_and_remembers(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crowd(work: object, *_: int) -> None:
        if len(work.pictures[0]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    alter_work(monkeypatch, crowd)
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe), log, batch_size=8)
    assert [fault.part for fault in log.faults] == ["memory"] * 2
    assert "8 photographs at once" in log.faults[0].what and "2 at once from now on" in log.faults[1].fallback
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def test_a_broken_photograph_is_an_error_and_in_the_rerun_gets_the_mean(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path]
) -> None:
    paths[3].write_bytes(b"")
    paths[7].unlink()
    with pytest.raises(NotContained, match=f"photograph: .*{paths[3].stem}"):
        run(job_of(paths, recipe), FaultLog(strict=True))
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert list(np.flatnonzero(~outcome.predicted)) == [3, 7]
    assert {fault.ids for fault in log.faults} == {(paths[3].stem,), (paths[7].stem,)}
    others = [row for row in range(12) if row not in (3, 7)]
    assert outcome.grams[others] == pytest.approx(constrain(plain[:, others].mean(0), "projection"), abs=1e-3)


def test_a_bundle_that_cannot_be_loaded_leaves_the_work_to_the_other(
    plain: np.ndarray, whole_bundle: Path, recipe: BundleRecipe, paths: list[Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(whole_bundle, tmp_path / "other"))
    for fold in other.glob("fold*.safetensors"):
        fold.write_bytes(fold.read_bytes()[:100])
    broken = replace(recipe, folder=other)
    with pytest.raises(NotContained, match="fold: other"):
        run(job_of(paths, recipe, broken, shares=(0.5, 0.5)), FaultLog(strict=True))
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe, broken, shares=(0.5, 0.5)), log)
    assert {fault.part for fault in log.faults} == {"fold"}
    assert outcome.grams == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


def test_what_nobody_foresaw_is_raised_and_in_the_rerun_the_best_stands(
    recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference.Inference, "_take_computed", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(job_of(paths, recipe), FaultLog(strict=True))
    saved: list[np.ndarray] = []
    log = FaultLog(strict=False)
    deadline_s = time.monotonic() + 30
    infer(job_of(paths, recipe), CPU, log, deadline_s=deadline_s, batch_size=4, save=saved.append)
    assert log.faults[-1].part == "unforeseen" and "_take" in log.faults[-1].what


def test_a_full_disk_keeps_what_was_saved_before(recipe: BundleRecipe, paths: list[Path]) -> None:
    def full(_: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    log = FaultLog(strict=False)
    infer(job_of(paths, recipe), CPU, log, deadline_s=time.monotonic() + 30, batch_size=4, save=full)
    assert log.faults[-1].part == "disk" and "No space left" in log.faults[-1].what
    with pytest.raises(NotContained, match="disk"):
        infer(job_of(paths, recipe), CPU, FaultLog(strict=True), deadline_s=1e9, batch_size=4, save=full)


def test_what_is_saved_already_is_not_saved_again(
    recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save takes a core from the arithmetic."""

    def slow_at_first(_: object, number: int, model: int, view: int) -> None:
        if (number, model, view) == (0, 0, 0):
            time.sleep(2.5 * inference.LOOK_S)

    alter_work(monkeypatch, slow_at_first)
    saved: list[np.ndarray] = []
    deadline_s = time.monotonic() + HALF_A_MINUTE_S
    infer(job_of(paths[:2], recipe), CPU, FaultLog(strict=True), deadline_s=deadline_s, batch_size=4, save=saved.append)
    assert not any(np.array_equal(one, next_one) for one, next_one in zip(saved[:-1], saved[1:-1], strict=False))


def test_nothing_to_predict_and_no_bundle_are_complete_at_once(recipe: BundleRecipe, paths: list[Path]) -> None:
    assert run(job_of([], recipe), FaultLog(strict=True)).grams.shape == (0, 5)
    outcome = run(job_of(paths, None), FaultLog(strict=True))
    assert not outcome.predicted.any() and (outcome.grams == list(MEANS.values())).all()

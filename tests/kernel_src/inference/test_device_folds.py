"""Folds on their way to a device: without room, broken, or killing the worker that loads them."""

import errno
import os
import shutil
import signal
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.inference import device_folds, device_worker
from kernel_src.models.model import TargetsNet
from kernel_src.models.prediction import BatchWork
from kernel_src.runtime.faults import FaultLog
from tests.kernel_src.inference.jobs import (
    CRASHES,
    SPELLINGS,
    alter_work,
    job_of,
    raise_,
    run,
    spelt,
)


def alter_loading(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], object]) -> None:
    """Let something happen whenever a net is brought to a device; it is given how many were before, in this process."""
    moved: list[int] = []
    to = torch.nn.Module.to

    def altered(self: torch.nn.Module, *some: object, **more: object) -> torch.nn.Module:
        if isinstance(self, TargetsNet) and some:
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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
        if isinstance(self, TargetsNet) and some:
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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.values == pytest.approx(constrain(plain[1 - broken], "projection"), abs=1e-3)


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
    assert outcome.predicted.all() and np.isnan(outcome.predictions.fold_values(0)[lethal]).all()
    assert outcome.values == pytest.approx(constrain(plain[1 - lethal], "projection"), abs=1e-3)


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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)

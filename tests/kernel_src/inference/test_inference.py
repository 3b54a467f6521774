"""Inference as a whole, by real workers: everything is computed once, and what cannot be leaves the rest as it is."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.inference import device_worker, inference
from kernel_src.inference.inference import infer
from kernel_src.runtime.faults import FaultLog, NotContained
from tests.kernel_src.inference.jobs import HALF_A_MINUTE_S, MEANS, alter_work, is_complete, job_of, run
from tests.kernel_src.tiny import CPU


def test_everything_is_computed_and_is_what_the_plain_pass_computes(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path]
) -> None:
    log = FaultLog(strict=True)
    outcome = run(job_of(paths, recipe), log)
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)
    assert outcome.passes_done == outcome.passes_wanted == 12 * 2 * 4 and not log.faults
    assert outcome.predicted.all() and is_complete(outcome.predictions)


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
    assert other.values[::-1] == pytest.approx(once.values, abs=2e-3)


def test_the_notebook_process_may_have_computed_on_all_its_threads_before(
    recipe: BundleRecipe, paths: list[Path]
) -> None:
    """A forked child that used OpenMP's inherited thread pool would wait for ever."""
    for _ in range(3):
        (torch.randn(1500, 1500) @ torch.randn(1500, 1500)).relu().exp()
    assert run(job_of(paths, recipe), FaultLog(strict=True)).predicted.all()


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
    assert outcome.values[others] == pytest.approx(constrain(plain[:, others].mean(0), "projection"), abs=1e-3)


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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert run(job_of([], recipe), FaultLog(strict=True)).values.shape == (0, 5)
    outcome = run(job_of(paths, None), FaultLog(strict=True))
    assert not outcome.predicted.any() and (outcome.values == list(MEANS.values())).all()

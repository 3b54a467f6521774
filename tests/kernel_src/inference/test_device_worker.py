"""What a device computes: batches that do not fit, crashes, outputs that are not finite, half precision."""

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.inference import device_folds, device_worker
from kernel_src.inference.inference import InferenceResult, Job, infer
from kernel_src.models.prediction import BatchWork
from kernel_src.runtime.faults import FaultLog, NotContained
from tests.kernel_src.inference.jobs import CRASHES, HALF_A_MINUTE_S, SPELLINGS, alter_work, job_of, run, spelt
from tests.kernel_src.tiny import CPU


def in_precision(recipe: BundleRecipe, precision: str) -> BundleRecipe:
    experiment = recipe.experiment
    return replace(recipe, experiment=replace(experiment, encoder=replace(experiment.encoder, precision=precision)))


def test_an_output_that_is_not_finite_is_replaced_by_the_other_folds(
    plain: np.ndarray, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    grams = device_worker.BatchWork.values

    def broken(self: object, number: int, model: int, view: int) -> torch.Tensor:
        answer = grams(self, number, model, view)
        return answer.fill_(float("nan")) if model == 0 else answer

    monkeypatch.setattr(device_worker.BatchWork, "values", broken)
    with pytest.raises(NotContained, match="fold 0, view 0: . of . predictions are NaN or infinite"):
        run(job_of(paths, recipe), FaultLog(strict=True))
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, recipe), log)
    assert outcome.values == pytest.approx(constrain(plain[1], "projection"), abs=1e-3)
    assert {name for fault in log.faults for name in fault.ids} == {path.stem for path in paths}


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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)


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
    wanted = in_precision(recipe, precision)
    log = FaultLog(strict=True)
    outcome = infer_in_half(job_of(paths, wanted), log)
    assert not log.faults and outcome.passes_done == 12 * 2 * 4
    exact = constrain(plain.mean(0), "projection")
    assert outcome.values == pytest.approx(exact, abs=1e-3 if precision == "fp32" else 0.2)
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
    wanted = in_precision(recipe, precision)
    log = FaultLog(strict=True)
    outcome = infer_in_half(job_of(paths, wanted), log)
    assert not log.faults and outcome.passes_done == 12 * 2 * 4
    assert outcome.predictions.fold_values(0)[1] == pytest.approx(plain[1], abs=1e-3), "all of it in fp32"
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
    assert outcome.values == pytest.approx(constrain(plain.mean(0), "projection"), abs=1e-3)

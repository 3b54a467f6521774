"""Test-time training: better predictions in time, or the file from before, byte for byte."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competition.facts import HiddenTest
from kernel_src.competitions.biomass.constants import TARGETS, sample_id
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.hidden_table import save_predictions
from kernel_src.competitions.biomass.submission import check_submission
from kernel_src.inference import adaptation
from kernel_src.inference.adaptation import TestTimeTrainingParts as Parts
from kernel_src.inference.adapted_fold import AdaptedFold
from kernel_src.inference.inference import InferenceResult, infer
from kernel_src.recipes import predictor
from kernel_src.runtime.faults import FaultLog, NotContained
from kernel_src.training.gradient_steps import GradientSteps
from tests.kernel_src.inference.jobs import MEANS, SPELLINGS, end_by, job_of, raise_, spelt
from tests.kernel_src.tiny import CPU

HOW = predictor.TestTimeTraining(epochs=2, average=2, share=0.8, lr_factor=1.0)
MINUTES_S = 300.0
KEPT = "the predictions from before stand"


class Clock:
    """The real clock, put on at will."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class Runs:
    """A job whose bundle wants test-time training, its submission, and what was in it before."""

    def __init__(self, recipe: BundleRecipe, paths: list[Path], competition: Path | None, folder: Path) -> None:
        self.paths, self.file, self.clock = paths, folder / "submission.csv", Clock()
        self.job = replace(job_of(paths, wanting(recipe)), competition=competition)
        ids = tuple(sample_id(path.stem, target) for path in paths for target in sorted(TARGETS))
        self.test = HiddenTest(ids, {path.stem: path for path in paths}, ())
        self.saved: list[bytes] = []
        self.before = b""  # the file when test-time training begins

    def __call__(self, log: FaultLog) -> InferenceResult:
        def save(grams: np.ndarray) -> None:
            save_predictions(self.file, self.test, grams, MEANS)
            self.saved.append(self.file.read_bytes())

        self.saved.clear()
        end_s = self.clock() + MINUTES_S
        return infer(self.job, CPU, log, deadline_s=end_s, batch_size=4, save=save, clock=self.clock)


def wanting(recipe: BundleRecipe, how: predictor.TestTimeTraining = HOW) -> BundleRecipe:
    """The recipe as if its experiment had said so; its config does not."""
    experiment = recipe.experiment
    return replace(recipe, experiment=replace(experiment, predict=replace(experiment.predict, adapt=how)))


@pytest.fixture
def runs(
    recipe: BundleRecipe, paths: list[Path], tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Runs:
    runs = Runs(recipe, paths, tiny_competition, tmp_path)
    train_on_test = Parts.train_on_test

    def look_first(*arguments: object, **more: object) -> bool:
        runs.before = runs.file.read_bytes()
        return train_on_test(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Parts, "train_on_test", staticmethod(look_first))
    return runs


OTHERS: set[int | None] = set()  # processes that belong to other tests


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.update(process.pid for process in multiprocessing.active_children())


def left_behind() -> list[int | None]:
    """The processes that a test has started and that still run."""
    return [process.pid for process in multiprocessing.active_children() if process.pid not in OTHERS]


@pytest.fixture
def before(plain: np.ndarray) -> np.ndarray:
    """What the folds predict, (images, 5), unconstrained."""
    return plain.mean(0)


def stands(runs: Runs, outcome: InferenceResult | None, before: np.ndarray) -> None:
    """Claim that the file is the one that was there before test-time training, and that no process is left."""
    assert runs.file.read_bytes() == (runs.before or runs.saved[-1])
    check_submission(runs.file, runs.test.row_ids)
    if outcome is not None:
        assert outcome.values == pytest.approx(constrain(before, "projection"), abs=1e-3)
    assert not left_behind()


def before_step(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[AdaptedFold], object]) -> None:
    """Let something happen in the process before its optimiser step of this number, counted from 0."""
    take_step = AdaptedFold.take_step

    def planted(self: AdaptedFold, *arguments: object) -> None:
        if self.progress.step == number:
            do(self)
        take_step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AdaptedFold, "take_step", planted)


def test_predictions_change_and_stay_valid_and_are_blended_in_the_shares_that_were_asked_for(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    afters: list[np.ndarray] = []
    adapted_values = adaptation.adapted_values
    monkeypatch.setattr(adaptation, "adapted_values", lambda *a: afters.append(adapted_values(*a)) or afters[-1])
    log = FaultLog(strict=True)
    outcome = runs(log)
    assert not log.faults and len(afters) == 1
    own = constrain(0.2 * before + 0.8 * afters[0], "projection")
    assert outcome.values == pytest.approx(own, abs=1e-3)
    assert np.abs(outcome.values - constrain(before, "projection")).max() > 0.1
    green, dead, clover, gdm, total = (outcome.values[:, TARGETS.index(target)] for target in TARGETS)
    assert gdm == pytest.approx(green + clover, abs=1e-9) and total == pytest.approx(gdm + dead, abs=1e-9)
    assert np.isfinite(outcome.values).all() and (outcome.values >= 0).all()
    check_submission(runs.file, runs.test.row_ids)
    assert runs.saved[-1] != runs.saved[-2], "and the file holds them"
    assert outcome.seconds["test_time_training"] > 0 and not left_behind()


def test_the_same_bits_twice(runs: Runs) -> None:
    runs(FaultLog(strict=True))
    first = runs.file.read_bytes()
    runs(FaultLog(strict=True))
    assert runs.file.read_bytes() == first


def test_a_bundle_that_does_not_want_it_is_left_as_it_is(
    runs: Runs, recipe: BundleRecipe, before: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "adapted_values", lambda *_: pytest.fail("it was asked for"))
    runs.job = replace(runs.job, recipes=(recipe,))
    stands(runs, runs(FaultLog(strict=True)), before)


# What the process says: its fold, the projection, two epochs, the grams.
@pytest.mark.parametrize("heard", [0, 1, 2, 3, 5])
def test_a_clock_that_runs_out_at_any_stage_leaves_the_file_from_before(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch, heard: int
) -> None:
    news: list[str] = []
    receive, adapted_values = adaptation.receive_news, adaptation.adapted_values

    def receive_and_put_on(pipe: object) -> tuple[str, object]:
        kind, value = receive(pipe)  # type: ignore[arg-type]
        news.append(kind)
        runs.clock.ahead_s = 2 * MINUTES_S if len(news) == heard else 0.0
        return kind, value

    def put_on_first(*arguments: object) -> np.ndarray:
        runs.clock.ahead_s = 0.0 if heard else 2 * MINUTES_S
        return adapted_values(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(adaptation, "receive_news", receive_and_put_on)
    monkeypatch.setattr(adaptation, "adapted_values", put_on_first)
    log = FaultLog(strict=True)  # too little time is no error
    outcome = runs(log)
    assert len(news) == heard and (heard < 5 or news == ["line", "projected", "line", "line", "values"])
    (fault,) = log.faults
    assert (fault.part, fault.fallback) == ("test-time training", KEPT) and "time" in fault.what
    stands(runs, outcome, before)


def test_what_would_not_end_in_time_is_not_gone_on_with(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AdaptedFold, "project", lambda self, _: self.tell("projected", 0.9 * MINUTES_S))
    log = FaultLog(strict=True)
    started = time.monotonic()
    stands(runs, runs(log), before)
    (fault,) = log.faults
    assert (fault.part, fault.fallback) == ("test-time training", KEPT) and "it would take 270 s" in fault.what
    assert time.monotonic() - started < 60


OUT_OF_MEMORY = "the memory is too small"
FAULTS: dict[str, tuple[int, Callable[[AdaptedFold], object], str]] = {
    **{f"memory: {spelt(error)}": (1, lambda _, error=error: raise_(error), OUT_OF_MEMORY) for error in SPELLINGS[:2]},
    "weights that are NaN": (2, lambda fold: _spoil(fold), "the loss is not finite"),
    "an error": (0, lambda _: 1 // 0, "ZeroDivisionError"),
    "the kernel's OOM killer": (3, lambda _: end_by(signal.SIGKILL), "was killed by SIGKILL"),
    "an exit": (1, lambda _: os._exit(3), "ended with exit code 3"),
}


def _spoil(fold: AdaptedFold) -> None:
    with torch.no_grad():
        next(fold.model.parameters()).fill_(float("nan"))


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_in_it_the_file_from_before_stands(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """An error outside the rerun; in the rerun it is reported."""
    number, do, what = FAULTS[fault]
    before_step(monkeypatch, number, do)
    with pytest.raises(NotContained, match=what):
        runs(FaultLog(strict=True))
    stands(runs, None, before)
    log = FaultLog(strict=False)
    outcome = runs(log)
    (told,) = log.faults
    assert (told.part, told.fallback) == ("test-time training", KEPT) and what in told.what
    stands(runs, outcome, before)


@pytest.mark.parametrize(("grams", "what"), [(np.nan, "not finite"), (1e4, "has not learnt what it was taught")])
def test_predictions_that_mean_nothing_are_not_blended_in(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch, grams: float, what: str
) -> None:
    from kernel_src.inference import adapted_fold

    monkeypatch.setattr(adapted_fold, "predict_values", lambda *_, **__: np.full((1, len(runs.paths), 5), grams))
    log = FaultLog(strict=False)
    stands(runs, runs(log), before)
    assert [what in fault.what for fault in log.faults] == [True]


@pytest.mark.parametrize("step", [0, 9])
def test_a_process_that_hangs_is_ended(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    before_step(monkeypatch, step, lambda _: time.sleep(600))
    monkeypatch.setattr(adaptation, "PREPARING_S", 2.0 if step == 0 else 600.0)
    monkeypatch.setattr(adaptation, "SLOWEST_S", 0.5)
    log = FaultLog(strict=False)
    stands(runs, runs(log), before)
    (fault,) = log.faults
    assert ("hung before" if step == 0 else "twice as slow") in fault.what


def test_a_batch_too_large_for_the_memory_is_computed_in_parts(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = GradientSteps._compute

    def short_of_memory(self: GradientSteps, left: object, add_gradients: object) -> object:
        small = self.parts > 1
        refuse = lambda _: raise_(torch.OutOfMemoryError("CUDA out of memory"))  # noqa: E731
        return compute(self, left, add_gradients if small else refuse)  # type: ignore[arg-type]

    monkeypatch.setattr(GradientSteps, "_compute", short_of_memory)
    log = FaultLog(strict=True)
    runs(log)
    assert not log.faults and runs.saved[-1] != runs.saved[-2]


def test_without_the_training_data_it_is_left_out(runs: Runs, before: np.ndarray, tmp_path: Path) -> None:
    for competition in (None, tmp_path / "empty"):
        runs.job = replace(runs.job, competition=competition)
        with pytest.raises(NotContained, match=r"train\.csv"):
            runs(FaultLog(strict=True))
        log = FaultLog(strict=False)
        stands(runs, runs(log), before)
        assert [fault.part for fault in log.faults] == ["test-time training"]


def test_in_a_notebook_without_that_part_it_is_refused_and_in_the_rerun_left_out(
    runs: Runs, before: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Parts, "part", "another")
    with pytest.raises(NotContained, match="this needs the part 'test_time_training', which this notebook was"):
        runs(FaultLog(strict=True))
    log = FaultLog(strict=False)
    stands(runs, runs(log), before)
    assert [(fault.part, fault.fallback) for fault in log.faults] == [
        ("test-time training", "the predictions without it")
    ]


@pytest.mark.parametrize(("strict", "rows"), [(True, 12), (False, 20)])
def test_outside_the_rerun_the_visible_test_is_learnt_in_miniature(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, strict: bool, rows: int
) -> None:
    """Three batches of four, where the rerun trains on all twenty; every line of it is run."""
    from kernel_src.inference import adapted_fold

    asked = adapted_fold.trained

    def counting(experiment: object, fold: int, data: object, adapting: object, scratch: Path, tell: object) -> object:
        tell("line", f"{len(data.train_rows)} rows")  # type: ignore[attr-defined,operator]
        return asked(experiment, fold, data, adapting, scratch, tell)  # type: ignore[arg-type]

    monkeypatch.setattr(adapted_fold, "trained", counting)
    runs.job = replace(runs.job, image_ids=runs.job.image_ids[:2], paths=runs.job.paths[:2])
    runs.test = HiddenTest(runs.test.row_ids[:10], dict(list(runs.test.photographs.items())[:2]), ())
    runs(FaultLog(strict=strict))
    said = capsys.readouterr().out
    assert f"{rows + 2} rows" in said and ("in miniature" in said) == strict and ("in the rerun some" in said) == strict
    assert runs.saved[-1] != runs.saved[-2]

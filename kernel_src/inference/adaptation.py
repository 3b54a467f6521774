"""## Test-time training

After the whole prediction, in the time that is left: the strongest fold of a bundle learns the test photographs too,
labelled by what all folds of the bundle predict for them, beside the competition's own rows. What it then predicts is
blended with what was predicted before. The 8th place's recipe: 12 epochs, the mean of the last 4, 0.2 before and 0.8
after.

It runs in a process of its own, which is ended where it does not fit into the time or hangs. Whatever becomes of that
process, the submission from before stands until there is a better one. It computes on the first device alone: a second
GPU would save minutes where hours are left.
"""

import gc
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.held_facts import facts
from kernel_src.inference.adapted_fold import Adaptation, NotAdapted, adapt
from kernel_src.inference.prediction_store import PredictionStore
from kernel_src.runtime.bars import own_bars
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.faults import Fault, FaultLog
from kernel_src.runtime.memory import is_out_of_memory, keep_freed_memory
from kernel_src.runtime.parts import OptionalPart

NEWS_S = 1.0  # between two looks at the clock
PREPARING_S = 1800.0  # for decoding the photographs and the first steps, after which the process counts as hanging
SLOWER, SLOWER_S = 1.25, 10.0  # it goes on if so many times what is projected, and so many seconds more, are left
SLOWEST, SLOWEST_S = 2.0, 120.0  # and is ended after so many times what was projected, and so many seconds more
KILLED_S = 5.0  # for a process to end
# Fewer test photographs, outside the rerun, are the visible test: then only a miniature is trained.
VISIBLE_PHOTOGRAPHS = 10
KEPT = "the predictions from before stand"


class NoTimeLeft(NotAdapted):
    """It does not fit into the time."""


# %%
def train_on_test(
    predictions: PredictionStore,
    recipes: Sequence[BundleRecipe | None],
    damaged: Sequence[frozenset[str]],
    paths: Sequence[Path],
    competition: Path | None,
    *,
    device: DeviceReport,
    log: FaultLog,
    left_s: Callable[[], float],
) -> bool:
    """Blend in what bundles whose experiments ask for it predict after test-time training; true if any did.

    `left_s` returns how many seconds are left. Too little time is noted.

    Raises:
        NotContained: anything else that went wrong, in every run but the rerun.
    """
    changed = False
    for number, recipe in enumerate(recipes):
        if recipe is None or (how := recipe.experiment.predict.adapt) is None:
            continue
        before = predictions.bundle_values(number)
        rows = np.flatnonzero(np.isfinite(before).all(1))
        name, part = recipe.folder.name, "test-time training"
        try:
            if not len(rows):
                raise NotAdapted("the bundle has predicted nothing that could be learnt")
            if competition is None:
                raise NotAdapted(f"no {facts().train_csv} to train on: attach the competition's data")
            adaptation = Adaptation(
                recipe=recipe,
                how=how,
                competition=competition,
                damaged=damaged[number],
                paths=tuple(paths[row] for row in rows),
                values=before[rows],
                device=replace(device, count=1),
                threads=max(1, torch.get_num_threads()),
                is_miniature=log.strict and len(rows) < VISIBLE_PHOTOGRAPHS,
            )
            after = np.full(before.shape, np.nan)
            after[rows] = adapted_values(adaptation, left_s)
        except NoTimeLeft as reason:
            log.note(Fault(part=part, what=f"{name}: {reason}", fallback=KEPT))
        except NotAdapted as reason:
            log.contain(Fault(part=part, what=f"{name}: {reason}", fallback=KEPT), reason)
        else:
            predictions.blend_in(number, after, how.share)
            changed = True
            print(f"{name}: {1 - how.share:.3g} of the predictions before + {how.share:.3g} of those after training")
    return changed


# %%
def adapted_values(adaptation: Adaptation, left_s: Callable[[], float]) -> np.ndarray:
    """Train in a process of its own and return what is then predicted, (photographs, targets), unconstrained.

    Raises:
        NoTimeLeft: it would not end in time, or did not.
        NotAdapted: any other reason; the process is gone.
    """
    if left_s() <= 0:
        raise NoTimeLeft("no time is left for it")
    context: Any = get_context("fork")
    ours, theirs = context.Pipe()
    # Not the process's own folder: one that is killed would leave gigabytes behind.
    with tempfile.TemporaryDirectory(prefix="test-time-training-", ignore_cleanup_errors=True) as scratch:
        arguments = (theirs, ours, adaptation, Path(scratch))
        process = context.Process(target=_adapting_process, args=arguments)  # no daemon: it has loading processes
        process.start()
        theirs.close()
        try:
            return _answer(ours, process, left_s, adaptation)
        finally:
            process.kill()
            process.join(KILLED_S)
            ours.close()


def _answer(pipe: Connection, process: Any, left_s: Callable[[], float], adaptation: Adaptation) -> np.ndarray:
    """Listen to the process until it has predicted; it is never waited for beyond the time."""
    until_left_s, why = left_s() - PREPARING_S, "it hung before the first steps"
    while True:
        left = left_s()
        if left <= 0:
            raise NoTimeLeft("the time was over before it ended")
        if left <= until_left_s:
            raise NotAdapted(why)
        if not pipe.poll(min(NEWS_S, left)):
            continue
        try:
            kind, value = receive_news(pipe)
        except (EOFError, OSError):
            process.join(KILLED_S)
            raise NotAdapted(f"its process {_end_of(process.exitcode)}") from None
        if (left := left_s()) <= 0:
            raise NoTimeLeft("the time was over before it ended")
        if kind == "line":
            print(value, flush=True)
        elif kind == "failed":
            raise NotAdapted(value)
        elif kind == "projected":
            print(f"test-time training: {value:.0f} s are projected, {left:.0f} s are left", flush=True)
            if SLOWER * value + SLOWER_S > left:
                raise NoTimeLeft(f"it would take {value:.0f} s, and {left:.0f} s are left")
            until_left_s, why = left - SLOWEST * value - SLOWEST_S, "it became more than twice as slow as it began"
        else:
            values: np.ndarray = value
            if values.shape != adaptation.values.shape or not np.isfinite(values).all():
                raise NotAdapted("what it predicts is not finite")
            return values


def receive_news(pipe: Connection) -> tuple[str, Any]:
    """Receive what the process has to say: "line", "failed", "projected" seconds or "values", with its value."""
    kind, value = pipe.recv()
    return kind, value


def _end_of(code: int | None) -> str:
    if code is None:
        return "cannot be ended"
    return f"was killed by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _adapting_process(pipe: Connection, inherited: Connection, adaptation: Adaptation, scratch: Path) -> None:
    """Adapt in a fresh thread: a forked process must not use the thread pool that OpenMP made for its parent."""
    gc.freeze()  # a collection would copy the notebook's pages
    own_bars()
    inherited.close()
    failures: list[BaseException] = []
    thread = threading.Thread(target=_adapt_or_report, args=(pipe, adaptation, scratch, failures))
    thread.start()
    thread.join()
    if failures:
        sys.exit(1)


def _adapt_or_report(pipe: Connection, adaptation: Adaptation, scratch: Path, failures: list[BaseException]) -> None:
    def tell(kind: str, value: Any) -> None:
        pipe.send((kind, value))

    try:
        torch.set_num_threads(adaptation.threads)
        keep_freed_memory()
        tell("values", adapt(adaptation, scratch, tell))
    except (BrokenPipeError, ConnectionResetError) as error:
        failures.append(error)  # the notebook has ended, and nothing reads the pipe
    except Exception as error:
        # Not contained here: the process ends, and the notebook reports it.
        failures.append(error)
        short = "the memory is too small" if is_out_of_memory(error) else type(error).__name__
        where = "" if isinstance(error, NotAdapted | FloatingPointError | OSError) else f"\n{traceback.format_exc()}"
        tell("failed", str(error) if isinstance(error, NotAdapted) else f"{short}: {error}{where}")


class TestTimeTrainingParts(OptionalPart):
    """What an inference asks for whose bundles are to learn the test."""

    part = "test_time_training"
    train_on_test = staticmethod(train_on_test)

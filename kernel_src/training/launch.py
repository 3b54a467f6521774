"""## One process per device

On the CPU or one GPU the training is called as it is. Two T4s share the work in one of two ways: whole folds (`folds`:
nothing to wait for, and the very weights that one device would give) or each batch (`batch`: after each step the
gradients of all processes are added up).

Whole folds come from one queue: whichever device is free takes the next one, in a process of its own, whose end gives
all of its memory back. A process that is killed takes nothing with it but the steps since the last checkpoint: its fold
is tried once more, at the end of the queue. Folds that do not go round, the fifth of five on two devices, are trained
last and by all devices together, so that none stands idle.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from signal import Signals
from typing import Any

import torch
from accelerate import debug_launcher, notebook_launcher
from torch.multiprocessing.spawn import ProcessException

from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.bars import own_bars
from kernel_src.runtime.device import DeviceReport
from kernel_src.training.session import ENDLESS, Session

TRIES_OF_A_FOLD = 2  # of a fold whose process was killed; one that ends with an error would do so again


def chosen_spread(experiment: Experiment, folds: int, devices: int) -> str:
    """Decide between "batch" and "folds" where the experiment says "auto".

    Folds side by side wherever every device gets at least one: they never wait for each other (docs/performance.md).
    """
    if experiment.machine.spread != "auto":
        return experiment.machine.spread
    return "folds" if folds >= devices > 1 else "batch"


def fold_rounds(experiment: Experiment, folds: Sequence[int], devices: int) -> list[tuple[str, tuple[int, ...]]]:
    """Say which folds are trained together, and how they are spread over the devices, in their order."""
    spread = chosen_spread(experiment, len(folds), devices)
    whole = len(folds)
    if experiment.machine.spread == "auto" and spread == "folds":
        whole -= len(folds) % devices  # the rest does not go round
    parts = [(spread, tuple(folds[:whole])), ("batch", tuple(folds[whole:]))]
    return [(how, part) for how, part in parts if part]


def launch(
    function: Callable[..., object],
    device: DeviceReport,
    *,
    spread: str,
    folds: Sequence[int],
    session: Session | None = None,
    what: str = "fold",
    **arguments: object,
) -> None:
    """Call `function(device=…, folds=…, **arguments)` in as many processes as there are devices; results are dropped.

    With whole folds each call is given one fold; what a process computes may be something else than a fold, so `what`
    is its name in messages. `session`, if there is one, is an argument like the others; when its
    time is up no further fold is begun.

    Raises:
        RuntimeError: a process ended with an error, which it has printed; the other folds are done.
    """
    if session is not None:
        arguments["session"] = session
    if device.count == 1:
        function(device=device, folds=folds, **arguments)
    elif spread == "folds":
        queue = _FoldQueue(function, device, session or ENDLESS, arguments, what)
        try:
            queue.work_off(folds)
        finally:
            queue.stop()
    else:

        def work() -> None:
            own_bars()
            torch.set_num_threads(max(1, torch.get_num_threads() // device.count))
            function(device=replace(device, processes=device.count), folds=folds, **arguments)

        try:
            if device.kind == "cpu":
                debug_launcher(work, num_processes=device.count)
            else:
                # Not its mixed precision: the training has its own, so that fp32 can follow fp16 in one process.
                notebook_launcher(work, num_processes=device.count, mixed_precision="no")
        except ProcessException as error:
            raise RuntimeError(f"a training process failed, finished folds are kept: {error}") from error


# %%
class _FoldQueue:
    """The folds that wait, and the processes that train the others."""

    def __init__(
        self,
        function: Callable[..., object],
        device: DeviceReport,
        session: Session,
        arguments: dict[str, object],
        what: str = "fold",
    ) -> None:
        self.what = what
        self.function, self.device, self.session, self.arguments = function, device, session, arguments
        self.context: Any = get_context("fork")
        self.busy: dict[int, tuple[BaseProcess, int]] = {}  # device → its process, and the fold that it trains
        self.tries: dict[int, int] = {}
        self.failures: dict[int, str] = {}

    def work_off(self, folds: Sequence[int]) -> None:
        """Train all folds, the next one wherever a device is free."""
        waiting = deque(folds)
        side_by_side = min(self.device.count, len(folds))
        while waiting or self.busy:
            free = [index for index in range(side_by_side) if index not in self.busy]
            while waiting and free and (self.session.left_s > 0 or len(self.tries) < side_by_side):
                self.start(free.pop(0), waiting.popleft(), side_by_side)
            if not self.busy:
                break  # the time is up
            for index in self.ended():
                process, fold = self.busy.pop(index)
                if not (word := self.failure(process)):
                    continue
                print(f"{self.what} {fold}: its process on device {index} {word}", flush=True)
                if (process.exitcode or 0) < 0 and self.tries[fold] < TRIES_OF_A_FOLD:
                    waiting.append(fold)
                else:
                    self.failures[fold] = word
        if self.failures:
            ends = "; ".join(f"{self.what} {fold}: its process {word}" for fold, word in sorted(self.failures.items()))
            raise RuntimeError(f"{ends}; see above, the other {self.what}s are kept")

    def start(self, index: int, fold: int, side_by_side: int) -> None:
        """Train a fold on a device."""
        own = replace(self.device, count=1, processes=side_by_side)

        def work() -> None:
            own_bars()
            if own.kind == "cuda":
                torch.cuda.set_device(index)  # what "cuda" means in this process
            torch.set_num_threads(max(1, torch.get_num_threads() // side_by_side))
            self.function(device=own, folds=(fold,), **self.arguments)

        process = self.context.Process(target=work)
        process.start()
        self.tries[fold] = self.tries.get(fold, 0) + 1
        self.busy[index] = process, fold

    def ended(self) -> list[int]:
        """Wait until a process has ended; return the devices of all that have."""
        sentinels: dict[Any, int] = {process.sentinel: index for index, (process, _) in self.busy.items()}
        return [sentinels[sentinel] for sentinel in wait(list(sentinels))]

    def failure(self, process: BaseProcess) -> str:
        """Say how a process ended, if not well."""
        process.join()
        code = process.exitcode or 0
        if code < 0:
            return f"was killed by {Signals(-code).name}"
        return f"ended with exit code {code}" if code else ""

    def stop(self) -> None:
        """End what still works, when the notebook is interrupted."""
        for process, _ in self.busy.values():
            process.terminate()


def refuse_fault(device: DeviceReport) -> None:
    """Refuse to train on the CPU in place of a GPU that is there and cannot compute; no GPU at all is a choice.

    Raises:
        RuntimeError: with the fault, which names the cure.
    """
    if device.fault and device.kind == "cpu":
        raise RuntimeError(
            f"not trained: the CPU in place of this GPU would compute until the session's limit. {device.fault}. "
            "To train on the CPU all the same, hide the GPU: CUDA_VISIBLE_DEVICES=-1"
        )

"""## The workers

One forked process for each device, and a pipe to each. A worker that crashes, is killed, or hangs costs no more than
the batch it was computing.
"""

import gc
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from kernel_src.inference.device_worker import WorkerConfig, receive, work
from kernel_src.inference.schedule import BatchSize, Task
from kernel_src.runtime.device import DeviceReport

CORES_OF_A_READER = 4  # a Kaggle session with T4s has four cores
LARGEST_BATCH = 64  # photographs
ENDING_S = 5.0  # for a process to end
CRASHES_OF_A_DEVICE = 5  # a device whose workers crashed so often is not used again


@dataclass
class Worker:
    """One process, as the notebook sees it."""

    config: WorkerConfig
    process: Any
    pipe: Connection
    batch: BatchSize
    name: str
    is_ready: bool = False
    loading: tuple[int, int] | None = None  # bundle and fold (or WHOLE_BUNDLE) that it is loading
    tasks: list[Task] = field(default_factory=list)  # given and not ended, the oldest first
    skipped: set[int] = field(default_factory=set)  # steps of the oldest task that are done or cannot be
    rows_done: int = 0  # of the photographs of the oldest task, in the step that it is at
    rows_good: int = 0  # its photographs that could be read
    last_message_s: float = 0.0  # when it was started, or last sent a message
    spent_s: float = 0.0  # on the steps of the task in the making
    passes: int = 0  # photographs times steps in them
    error: str = ""  # the last one it sent

    def give(self, task: Task) -> bool:
        """Send a task; false if the worker has ended."""
        try:
            self.pipe.send(tuple(task))
        except (BrokenPipeError, OSError):
            return False
        self.tasks.append(task)
        return True

    @property
    def step(self) -> int | None:
        """Return the step that the oldest task is at."""
        return next((step for task in self.tasks[:1] for step in task.steps if step not in self.skipped), None)

    @property
    def at_once(self) -> int:
        """Return how many photographs of the oldest task go through the device together."""
        task = self.tasks[0] if self.tasks else None
        return min(task.at_once or len(task.rows), self.batch.size, len(task.rows)) if task else 0

    def next_oldest(self) -> Task:
        """Return the oldest task, which has ended, and turn to the next."""
        self.skipped, self.rows_done, self.rows_good = set(), 0, 0
        self.spent_s, self.passes = 0.0, 0
        return self.tasks.pop(0)

    @property
    def device(self) -> str:
        """Name what it computes on."""
        return f"{self.config.kind} {self.config.index}"

    @property
    def exit_reason(self) -> str:
        """Say how the process ended."""
        code = self.process.exitcode
        if code is None:
            return "cannot be ended"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


# %%
class WorkerPool:
    """All workers."""

    def __init__(self, config: WorkerConfig, device: DeviceReport, batch_size: int, clock: Callable[[], float]) -> None:
        """Plan one worker for each device; `config` are made its own."""
        self.batch_size, self._clock = batch_size, clock
        self._context = get_context("fork")
        self.workers: list[Worker] = []
        self._crashes: dict[str, int] = {}
        self._batches: dict[str, BatchSize] = {}  # by device: what was measured with one worker holds for the next
        cores = max(1, torch.get_num_threads())
        self._configs = [
            replace(
                config,
                kind=device.kind,
                index=index,
                half=device.half,
                threads=max(1, cores // device.count),
                readers=max(1, CORES_OF_A_READER // device.count) if device.kind == "cuda" else 0,
            )
            for index in range(device.count)
        ]

    def start(self) -> None:
        """Start every worker."""
        for config in self._configs:
            self._start(config)

    def _start(self, config: WorkerConfig) -> None:
        ours, theirs = self._context.Pipe()
        # A forked child inherits the notebook's ends of all pipes; one that kept them would keep the others alive.
        inherited = [ours, *(worker.pipe for worker in self.workers)]
        process = self._context.Process(target=_child, args=(theirs, inherited, config), daemon=True)
        process.start()
        theirs.close()
        name = "CPU" if config.kind == "cpu" else f"GPU {config.index}"
        on_gpu = config.kind == "cuda"
        new = BatchSize(size=self.batch_size, largest=max(LARGEST_BATCH, self.batch_size), grows=on_gpu)
        batch = self._batches.setdefault(f"{config.kind} {config.index}", new)
        self.workers.append(Worker(config, process, ours, batch, name, last_message_s=self._clock()))

    def messages(self, timeout_s: float) -> list[tuple[Worker, Any]]:
        """Wait for messages; the last message of a worker that has ended is None."""
        by_pipe: dict[Any, Worker] = {worker.pipe: worker for worker in self.workers}
        found: list[tuple[Worker, Any]] = []
        for pipe in wait(list(by_pipe), timeout=max(0.0, timeout_s)):
            worker = by_pipe[pipe]
            try:
                found.append((worker, receive(worker.pipe)))
            except (EOFError, OSError):
                found.append((worker, None))
        return found

    def replace_worker(self, worker: Worker, *, explained: bool = False, for_good: bool = False) -> str:
        """Remove a worker that has ended and start another in its place, unless its device crashed too often.

        A crash that is `explained`, by a batch that is now smaller or a fold that is now avoided, does not count
        against the device; `for_good` the device is not used again. Returns how the worker ended.
        """
        worker.process.join(ENDING_S)  # so that its own exit code is there
        self.kill(worker)
        self._crashes[worker.device] = self._crashes.get(worker.device, 0) + (not explained)
        if self._crashes[worker.device] < CRASHES_OF_A_DEVICE and not for_good:
            self._start(worker.config)
        elif not self.workers and worker.config.kind == "cuda":
            cores = max(1, torch.get_num_threads())
            recipes = tuple(recipe and replace(recipe, spread=None) for recipe in worker.config.recipes)
            on_cpu = replace(worker.config, kind="cpu", index=0, half=False, threads=cores, readers=0, recipes=recipes)
            self._start(on_cpu)
        return worker.exit_reason

    def kill(self, worker: Worker) -> None:
        """End a worker at once."""
        worker.process.kill()
        worker.process.join(ENDING_S)  # one that the driver holds cannot be waited for
        worker.pipe.close()
        self.workers.remove(worker)

    def stop(self) -> None:
        """End all workers at once."""
        for worker in list(self.workers):
            self.kill(worker)


def _child(pipe: Connection, inherited: Sequence[Connection], config: WorkerConfig) -> None:
    gc.freeze()  # a collection would write into the notebook's objects, and so copy their pages: some 100 MB
    for other in inherited:
        other.close()
    work(pipe, config)

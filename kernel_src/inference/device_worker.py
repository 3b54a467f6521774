"""## One device at work

One process per device: it loads the bundles, reads the photographs of its tasks ahead of the arithmetic and sends the
predictions of every batch and step as soon as they are computed. If it crashes, what it has sent is safe and the
notebook goes on. It never decides what a fault means: it reports the fault and goes on with the rest.
"""

import queue
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.data.images import Framing, ImageError, largest_px, picture_tensor, read_photograph, resize_rgb
from kernel_src.inference.device_folds import CannotLoad, DeviceFolds, Place
from kernel_src.inference.schedule import Task, goes_on
from kernel_src.inference.steps import Step
from kernel_src.models.precision import COMPARED_PHOTOGRAPHS, PrecisionChoice, choose_precision
from kernel_src.models.prediction import BatchWork
from kernel_src.runtime.memory import give_back_freed_memory, is_out_of_memory, keep_freed_memory

READ_AHEAD = 2  # tasks: one in the making, one being read


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """What a worker needs before its first task."""

    kind: str  # "cuda" or "cpu"
    index: int  # of the GPU
    half: bool
    threads: int  # of the arithmetic
    readers: int  # threads that read photographs ahead; 0: none, each task reads its own
    recipes: tuple[BundleRecipe | None, ...]  # None: a bundle that cannot be used
    damaged: tuple[frozenset[str], ...]  # per bundle, files that must not be used
    framings: tuple[Framing, ...]
    steps: tuple[Step, ...]
    paths: tuple[Path, ...]
    inputs: tuple[tuple[float, ...], ...] = ()  # of the paths: numbers of the test's table; empty: there are none
    not_at_start: tuple[Place, ...] = ()  # folds that are only loaded when they are needed: a worker ended over them


# Its messages; every one but the first and the last belongs to the oldest task.
class Ready(NamedTuple):
    """The bundles are loaded, but for these (bundle, fold or WHOLE_BUNDLE, why)."""

    broken: tuple[tuple[int, int, str], ...]
    seconds: float
    streamed: tuple[Place, ...]  # folds that found no room beside the others
    load_s: float  # that a fold took, of those that were loaded; 0 if none was


class Loading(NamedTuple):
    """The loading of a fold (or WHOLE_BUNDLE) begins: a crash before the next message happened in it."""

    bundle: int
    fold: int


class Loaded(NamedTuple):
    """A fold was loaded for a task that needs it, and stays or will have to be loaded again."""

    bundle: int
    fold: int
    seconds: float
    stays: bool


class Unloadable(NamedTuple):
    """A fold (or WHOLE_BUNDLE) that a task needs cannot be loaded."""

    bundle: int
    fold: int
    why: str


class Decided(NamedTuple):
    """A fold will be computed in this precision, and why; some of it may come from the batch that showed it."""

    bundle: int
    fold: int
    precision: str
    why: str


class Read(NamedTuple):
    """The photographs of a task are read, but for these (row, why); some are (row, unusual in this way)."""

    unreadable: tuple[tuple[int, str], ...]
    unusual: tuple[tuple[int, str], ...]
    seconds: float  # that the arithmetic had to wait


class Computed(NamedTuple):
    """One step of some of a task's photographs: values (rows, targets), not finite where it failed, and why."""

    step: int
    rows: tuple[int, ...]
    values: np.ndarray
    seconds: float
    why: str


class OutOfMemory(NamedTuple):
    """So many photographs at once were too many for the device's memory."""

    rows: int
    what: str


class Ended(NamedTuple):
    """The task has ended, all its steps done or its time over."""


# %%
class Crashed(NamedTuple):
    """The worker ends with an unexpected error."""

    error: str
    where: str  # traceback


MESSAGES = {
    kind.__name__: kind
    for kind in (Ready, Loading, Loaded, Unloadable, Decided, Read, Computed, OutOfMemory, Ended, Crashed)
}


def send(pipe: Connection, message: tuple[Any, ...]) -> None:
    """Send a message as plain values: a class that was defined in a notebook cell may not be found by its name."""
    pipe.send((type(message).__name__, tuple(message)))


def receive(pipe: Connection) -> Any:
    """Receive a worker's message."""
    name, values = pipe.recv()
    return MESSAGES[name](*values)


# %%
class Reader:
    """Reads the photographs of a task, in threads of its own or when they are asked for."""

    def __init__(self, config: WorkerConfig) -> None:
        """Start the threads, if there are to be any."""
        self._config = config
        self._pool = (
            ThreadPoolExecutor(config.readers, initializer=torch.set_num_threads, initargs=(1,))
            if config.readers
            else None
        )

    def begin(self, task: Task) -> "list[Future[DecodedPhoto]] | None":
        """Begin to read a task's photographs; None where nothing is read ahead."""
        return None if self._pool is None else [self._pool.submit(self.read, row) for row in task.rows]

    def read(self, row: int) -> "DecodedPhoto":
        """Read one photograph in every framing."""
        try:
            photograph = read_photograph(self._config.paths[row], largest_px(self._config.framings))
        except ImageError as error:
            return DecodedPhoto(row, (), str(error), ())
        # Each from the original: a picture resized twice is not what the network was trained on.
        pictures = tuple(picture_tensor(resize_rgb(photograph.rgb, framing)) for framing in self._config.framings)
        return DecodedPhoto(row, pictures, "", photograph.oddities)


class DecodedPhoto(NamedTuple):
    """One photograph: a picture (3, H, W) uint8 per framing, or why there is none, and what is unusual about it."""

    row: int
    pictures: tuple[torch.Tensor, ...]
    fault: str
    unusual: tuple[str, ...]


# %%
def work(pipe: Connection, config: WorkerConfig) -> None:
    """Compute the tasks from the pipe until it is closed; the body of the worker's process.

    A forked process must not use the thread pool that OpenMP made for the parent: it would wait for threads that do
    not exist. A fresh thread gets a pool of its own.
    """
    failures: list[BaseException] = []
    thread = threading.Thread(target=_work_or_report, args=(pipe, config, failures))
    thread.start()
    thread.join()
    if failures:
        sys.exit(1)


def _work_or_report(pipe: Connection, config: WorkerConfig, failures: list[BaseException]) -> None:
    try:
        DeviceWorker(pipe, config).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the notebook has ended, and nothing reads the pipe
    except BaseException as error:
        # Not contained here: the process ends, and the notebook handles it.
        failures.append(error)
        send(pipe, Crashed(f"{type(error).__name__}: {error}", traceback.format_exc()))


# %%
class DeviceWorker:
    """The loaded bundles and the loop over the tasks."""

    def __init__(self, pipe: Connection, config: WorkerConfig) -> None:
        """Take the device and load everything onto it."""
        start = time.perf_counter()
        self.pipe, self.config = pipe, config
        torch.set_num_threads(config.threads)
        if config.kind == "cuda":
            torch.cuda.set_device(config.index)
        self.folds = DeviceFolds(
            config.recipes,
            tuple(dict.fromkeys((step.bundle, step.fold) for step in config.steps)),
            config.framings,
            torch.device(config.kind),
            config.half,
            lambda bundle, fold: send(pipe, Loading(bundle, fold)),
        )
        self.current_place: Place | None = None
        self.most_at_once = sys.maxsize  # photographs; smaller once the memory was too small for more
        self.overflowed: set[Place] = set()  # folds for which that was reported
        self.undecided = {
            place
            for place in self.folds.order
            if config.half and (recipe := config.recipes[place[0]]) and recipe.experiment.encoder.precision != "fp16"
        }
        self.undecided |= {place for place in self.folds.order if (of := config.recipes[place[0]]) and of.spread}
        broken = self._load()
        count = len(self.folds.order) - len(self.folds.streamed) - len(broken)
        loading_s = time.perf_counter() - start
        self.reader = Reader(config)
        give_back_freed_memory()
        keep_freed_memory()  # not before: what loading needs for a moment would be kept as well
        streamed = tuple(sorted(self.folds.streamed))
        failed = tuple((error.bundle, error.fold, error.why) for error in broken)
        send(pipe, Ready(failed, time.perf_counter() - start, streamed, loading_s / max(1, count)))

    def _load(self) -> list[CannotLoad]:
        """Load what fits on the device; return what cannot be loaded."""
        return self.folds.load_all(self.config.not_at_start)

    @torch.inference_mode()
    def run(self) -> None:
        """Take tasks until the pipe is closed."""
        waiting: queue.Queue[tuple[Task, list[Future[DecodedPhoto]] | None] | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(waiting,), daemon=True).start()
        while (item := waiting.get()) is not None:
            task, futures = item
            self.compute(task, futures)
            send(self.pipe, Ended())

    def _listen(self, waiting: "queue.Queue[tuple[Task, list[Future[DecodedPhoto]] | None] | None]") -> None:
        try:
            while True:
                task = Task(*self.pipe.recv())
                waiting.put((task, self.reader.begin(task)))
        except (EOFError, OSError):
            waiting.put(None)

    def compute(self, task: Task, futures: "list[Future[DecodedPhoto]] | None") -> None:
        """Read a task's photographs and bring them through its steps, in parts where the memory is short."""
        start = time.perf_counter()
        if futures is None:
            readings = [self.reader.read(row) for row in task.rows]
        else:
            readings = [future.result() for future in futures]
        unreadable = tuple((reading.row, reading.fault) for reading in readings if reading.fault)
        unusual = tuple((reading.row, text) for reading in readings for text in reading.unusual)
        send(self.pipe, Read(unreadable, unusual, time.perf_counter() - start))
        good = [reading for reading in readings if not reading.fault]
        if not good:
            return
        done: set[tuple[int, int]] = set()  # step and photograph, of what has been sent
        while True:
            at_once = min(self.most_at_once, task.at_once or len(good), len(good))
            try:
                self._steps(task, good, at_once, start, done)
                return
            except (RuntimeError, MemoryError, OSError) as error:
                if not is_out_of_memory(error) or (at_once == 1 and not self._has_others()):
                    raise
            # Outside the handler, which would keep the tensors of the failed attempt alive.
            self._make_room(at_once)

    def _has_others(self) -> bool:
        """Return whether there is a fold on the device that could make room for the current one."""
        return self.current_place is not None and self.folds.has_others(self.current_place)

    def _make_room(self, at_once: int) -> None:
        """Halve the batch; where one photograph is too much for the memory, take another fold off the device."""
        if at_once > 1:
            send(self.pipe, OutOfMemory(at_once, f"{at_once} photographs at once"))
            self.most_at_once = at_once // 2
        elif self.current_place is not None:
            self.folds.evict_one(keep=self.current_place)
        if self.config.kind == "cuda":
            torch.cuda.empty_cache()

    def _steps(
        self, task: Task, readings: Sequence["DecodedPhoto"], at_once: int, begun_s: float, done: set[tuple[int, int]]
    ) -> None:
        """Bring all photographs through all steps, but for what is `done`; what is sent is added to it."""
        parts = [readings[i : i + at_once] for i in range(0, len(readings), at_once)]
        # Where the memory was too small for a batch it is not filled with what could be computed anew.
        keeps = len(parts) == 1 or at_once == task.at_once
        works: list[BatchWork | None] = [None] * len(parts)
        on_steps_s = 0.0
        for finished, number in enumerate(task.steps):
            step, step_begun_s = self.config.steps[number], time.perf_counter()
            if not goes_on(task, finished, step_begun_s - begun_s, on_steps_s):
                return
            if all((number, reading.row) in done for reading in readings) or not self._is_loaded(step):
                continue
            self.current_place = (step.bundle, step.fold)
            for i, part in enumerate(parts):
                rows = tuple(reading.row for reading in part)
                if all((number, row) in done for row in rows):
                    continue
                start = time.perf_counter()
                batch = works[i] or self._batch(part)
                if keeps:
                    works[i] = batch
                comparing_s = time.perf_counter()
                self._decide(step, part, batch)
                start += time.perf_counter() - comparing_s
                answer = batch.values(step.bundle, step.fold, step.view)
                why = batch.failure(step.bundle, step.view, answer)
                values = answer.float().cpu().numpy().astype(float)
                if len(parts) > 1:
                    batch.forget_pictures()
                seconds = time.perf_counter() - start
                send(self.pipe, Computed(number, rows, values, seconds, why))
                done.update((number, row) for row in rows)
                if batch.overflows:
                    self._take_overflows(step, len(part), batch.overflows)
            on_steps_s += time.perf_counter() - step_begun_s

    def _is_loaded(self, step: Step) -> bool:
        """Make sure that a step's fold is on the device; false, and reported, if it cannot be."""
        start = time.perf_counter()
        try:
            if self.folds.ensure_loaded(step.bundle, step.fold):
                stays = (step.bundle, step.fold) not in self.folds.streamed
                send(self.pipe, Loaded(step.bundle, step.fold, time.perf_counter() - start, stays))
        except CannotLoad as error:
            send(self.pipe, Unloadable(error.bundle, error.fold, error.why))
            return False
        return True

    def _decide(self, step: Step, part: Sequence["DecodedPhoto"], batch: BatchWork) -> None:
        """Decide in which precision a fold is computed, at its first batch, if the experiment leaves that open."""
        place, recipe = (step.bundle, step.fold), self.config.recipes[step.bundle]
        if place not in self.undecided or recipe is None:
            return
        if (settled := self.folds.settled(*place)) is not None:
            self.undecided.discard(place)
            send(self.pipe, Decided(*place, settled.name, settled.why))
            return
        few = part[:COMPARED_PHOTOGRAPHS]
        small = batch if len(few) == len(part) else self._batch(few)

        def scores(half: bool) -> torch.Tensor:
            return small.scores(*place, step.view, half)

        choice = None
        while choice is None:
            try:
                choice = choose_precision(recipe.experiment.encoder.precision, self.config.half, scores)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if choice is None and not self.folds.evict_one(keep=place):
                choice = PrecisionChoice(True, "not compared with fp32, which the memory is too small for")
        self.undecided.discard(place)
        if not choice.half and not self.folds.compute_in_full(*place):
            choice = PrecisionChoice(True, f"{choice.why}, but the memory is too small for fp32")
        send(self.pipe, Decided(*place, choice.name, choice.why))

    def _take_overflows(self, step: Step, photographs: int, overflows: int) -> None:
        """Switch a fold to fp32 if half of a batch overflowed, unless its experiment says fp16."""
        place, recipe = (step.bundle, step.fold), self.config.recipes[step.bundle]
        why = f"{overflows} of {photographs} photographs overflowed in fp16 and were computed again in fp32"
        often = recipe is not None and recipe.experiment.encoder.precision != "fp16" and 2 * overflows >= photographs
        if often and place not in self.overflowed and self.folds.compute_in_full(*place):
            send(self.pipe, Decided(*place, "fp32", why))
        elif place not in self.overflowed:
            self.overflowed.add(place)
            send(self.pipe, Decided(*place, "fp16", why))

    def _batch(self, part: Sequence["DecodedPhoto"]) -> BatchWork:
        pictures = []
        for framing in range(len(self.config.framings)):
            stacked = torch.stack([reading.pictures[framing] for reading in part])
            if self.config.kind == "cuda":
                stacked = stacked.pin_memory()
            pictures.append(stacked.to(self.folds.device, non_blocking=True))
        inputs = None
        if self.config.inputs:
            own = [self.config.inputs[reading.row] for reading in part]
            inputs = torch.tensor(own, dtype=torch.float32, device=self.folds.device)
        return BatchWork(self.folds.members, pictures, self.config.half, inputs)

"""## One device at work

A process of its own for every device: it loads the bundles, reads the photographs of its tasks ahead of the arithmetic
and sends every step's grams as soon as they are there. Whatever happens to it, what it has sent is safe, and the
notebook lives. It never decides what a fault means; it tells, and goes on with the rest.
"""

import queue
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError

from kernel_src.common.bundle_prediction import member_of
from kernel_src.common.bundles import BundleRecipe, load_recipe
from kernel_src.common.dataset import picture_tensor
from kernel_src.common.depth import DepthEstimator
from kernel_src.common.images import Framing, ImageError, largest_px, read_photograph, resize_rgb
from kernel_src.common.manifest import BundleError
from kernel_src.common.memory import give_back_freed_memory, is_out_of_memory, keep_freed_memory
from kernel_src.common.model import GramsNet, WeightsError
from kernel_src.common.prediction import BatchWork, Member
from kernel_src.common.schedule import Task, goes_on
from kernel_src.common.steps import Step

READ_AHEAD = 2  # tasks: one in the making, one being read
WHOLE_BUNDLE = -1  # in the place of a fold
LOADING_ERRORS = (BundleError, WeightsError, SafetensorError, ImportError, ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a worker must know before its first task."""

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


# What it says; every message but the first and the last belongs to a task.
class Ready(NamedTuple):
    """The bundles are loaded, but for these (bundle, fold or WHOLE_BUNDLE, why)."""

    broken: tuple[tuple[int, int, str], ...]
    seconds: float


class Read(NamedTuple):
    """The photographs of a task are read, but for these (row, why); some are (row, unusual in this way)."""

    task: int
    unreadable: tuple[tuple[int, str], ...]
    unusual: tuple[tuple[int, str], ...]
    seconds: float  # that the arithmetic had to wait


class Computed(NamedTuple):
    """One step of a task: grams (rows, 5), not finite where it failed, and why."""

    task: int
    step: int
    rows: tuple[int, ...]
    grams: np.ndarray
    seconds: float
    why: str


class Crowded(NamedTuple):
    """So many photographs at once were too many for the device's memory."""

    task: int
    rows: int
    what: str


class Ended(NamedTuple):
    """A task has ended, all its steps done or its time over."""

    task: int


class Died(NamedTuple):
    """The worker ends by an error that it does not know."""

    error: str
    where: str  # traceback


MESSAGES = {kind.__name__: kind for kind in (Ready, Read, Computed, Crowded, Ended, Died)}


def tell(pipe: Connection, message: tuple[Any, ...]) -> None:
    """Send a message as plain values: a class that was defined in a notebook cell may not be found by its name."""
    pipe.send((type(message).__name__, tuple(message)))


def hear(pipe: Connection) -> Any:
    """Receive a worker's message."""
    name, values = pipe.recv()
    return MESSAGES[name](*values)


# %%
class Reader:
    """Reads the photographs of a task, in threads of its own or when they are asked for."""

    def __init__(self, orders: Orders) -> None:
        """Start the threads, if there are to be any."""
        self._orders = orders
        self._pool = (
            ThreadPoolExecutor(orders.readers, initializer=torch.set_num_threads, initargs=(1,))
            if (orders.readers)
            else None
        )

    def begin(self, task: Task) -> "list[Future[Reading]] | None":
        """Begin to read a task's photographs; None where nothing is read ahead."""
        return None if self._pool is None else [self._pool.submit(self.read, row) for row in task.rows]

    def read(self, row: int) -> "Reading":
        """Read one photograph in every framing."""
        try:
            photograph = read_photograph(self._orders.paths[row], largest_px(self._orders.framings))
        except ImageError as error:
            return Reading(row, (), str(error), ())
        # Each from the original: a picture resized twice is not what the network was trained on.
        pictures = tuple(picture_tensor(resize_rgb(photograph.rgb, framing)) for framing in self._orders.framings)
        return Reading(row, pictures, "", photograph.oddities)


class Reading(NamedTuple):
    """One photograph: a picture (3, H, W) uint8 per framing, or why there is none, and what is unusual about it."""

    row: int
    pictures: tuple[torch.Tensor, ...]
    fault: str
    unusual: tuple[str, ...]


# %%
def work(pipe: Connection, orders: Orders) -> None:
    """Do what comes through the pipe until it is closed; the body of the worker's process.

    A forked process must not use the thread pool that OpenMP made for the parent: it would wait for threads that do
    not exist. A fresh thread gets a pool of its own.
    """
    failures: list[BaseException] = []
    thread = threading.Thread(target=_work_or_tell, args=(pipe, orders, failures))
    thread.start()
    thread.join()
    if failures:
        sys.exit(1)


def _work_or_tell(pipe: Connection, orders: Orders, failures: list[BaseException]) -> None:
    try:
        DeviceWorker(pipe, orders).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the notebook has ended, and nobody listens
    except BaseException as error:
        # Not contained here: the process ends, and the notebook decides what that means.
        failures.append(error)
        tell(pipe, Died(f"{type(error).__name__}: {error}", traceback.format_exc()))


class DeviceWorker:
    """The loaded bundles and the loop over the tasks."""

    def __init__(self, pipe: Connection, orders: Orders) -> None:
        """Take the device and load everything onto it."""
        start = time.perf_counter()
        self.pipe, self.orders = pipe, orders
        torch.set_num_threads(orders.threads)
        if orders.kind == "cuda":
            torch.cuda.set_device(orders.index)
        self.device = torch.device(orders.kind)
        self.members: list[Member | None] = []
        self.places: list[dict[int, int]] = []  # per bundle: fold → its place among those that could be loaded
        broken: list[tuple[int, int, str]] = []
        known: dict[str, DepthEstimator] = {}
        for number, (recipe, damaged) in enumerate(zip(orders.recipes, orders.damaged, strict=True)):
            models = {} if recipe is None else self._load(number, recipe, damaged, known, broken)
            self.places.append({fold: place for place, fold in enumerate(models)})
            self.members.append(self._member(recipe, known, list(models.values())) if recipe and models else None)
        self.reader = Reader(orders)
        give_back_freed_memory()
        keep_freed_memory()  # not before: what loading needs for a moment would be kept as well
        tell(self.pipe, Ready(tuple(broken), time.perf_counter() - start))

    def _load(
        self,
        number: int,
        recipe: BundleRecipe,
        damaged: frozenset[str],
        known: dict[str, DepthEstimator],
        broken: list[tuple[int, int, str]],
    ) -> dict[int, GramsNet]:
        """Load what can be loaded of a bundle, by fold; put what cannot into `broken`."""
        try:
            load_recipe(recipe, known, folds=())  # the depth model alone, which every fold needs
        except LOADING_ERRORS as error:
            broken.append((number, WHOLE_BUNDLE, str(error)))
            return {}
        models = {}
        for fold, name in enumerate(recipe.folds):
            if name in damaged:
                continue  # told of already
            try:
                (model,) = load_recipe(recipe, known, folds=[fold]).models
            except LOADING_ERRORS as error:
                broken.append((number, fold, str(error)))
                continue
            # Now, so that the next fold is loaded into the memory that the conversion frees. Channels last is what
            # convolutions compute fastest in, on CPU and GPU.
            models[fold] = model.to(self.device).to(memory_format=torch.channels_last).eval()
        return models

    def _member(self, recipe: BundleRecipe, known: dict[str, DepthEstimator], models: list[GramsNet]) -> Member:
        """Put the folds of a bundle together with its depth model, on the device."""
        bundle = replace(load_recipe(recipe, known, folds=()), models=models)
        if bundle.depth is not None:
            bundle.depth.to(self.device).eval()
        return member_of(bundle, self.orders.framings)

    @torch.inference_mode()
    def run(self) -> None:
        """Take tasks until the pipe is closed."""
        waiting: queue.Queue[tuple[Task, list[Future[Reading]] | None] | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(waiting,), daemon=True).start()
        while (item := waiting.get()) is not None:
            task, futures = item
            self.compute(task, futures)
            tell(self.pipe, Ended(task.number))

    def _listen(self, waiting: "queue.Queue[tuple[Task, list[Future[Reading]] | None] | None]") -> None:
        try:
            while True:
                task = Task(*self.pipe.recv())
                waiting.put((task, self.reader.begin(task)))
        except (EOFError, OSError):
            waiting.put(None)

    def compute(self, task: Task, futures: "list[Future[Reading]] | None") -> None:
        """Read a task's photographs and bring them through its steps, in parts where the memory is short."""
        start = time.perf_counter()
        if futures is None:
            readings = [self.reader.read(row) for row in task.rows]
        else:
            readings = [future.result() for future in futures]
        unreadable = tuple((reading.row, reading.fault) for reading in readings if reading.fault)
        unusual = tuple((reading.row, text) for reading in readings for text in reading.unusual)
        tell(self.pipe, Read(task.number, unreadable, unusual, time.perf_counter() - start))
        good = [reading for reading in readings if not reading.fault]
        if not good:
            return
        at_once = len(good)
        while True:
            try:
                self._steps(task, good, at_once, start)
                return
            except RuntimeError as error:
                if not is_out_of_memory(error) or at_once == 1:
                    raise
            # Outside the handler, which would keep the tensors of the failed attempt alive.
            tell(self.pipe, Crowded(task.number, at_once, f"{at_once} photographs at once"))
            at_once = max(1, at_once // 2)
            if self.orders.kind == "cuda":
                torch.cuda.empty_cache()

    def _steps(self, task: Task, readings: Sequence["Reading"], at_once: int, begun_s: float) -> None:
        """Send every step of all parts; nothing of a step is sent before the whole of it has succeeded."""
        parts = [readings[i : i + at_once] for i in range(0, len(readings), at_once)]
        works = [self._batch(part) for part in parts] if len(parts) == 1 else None
        on_steps_s = 0.0
        for done, number in enumerate(task.steps):
            step, start = self.orders.steps[number], time.perf_counter()
            if not goes_on(task, done, start - begun_s, on_steps_s):
                return
            fold = self.places[step.bundle].get(step.fold)
            if fold is None:
                continue  # it could not be loaded
            grams, why = [], ""
            for i, part in enumerate(parts):
                batch = works[i] if works else self._batch(part)
                answer = batch.grams(step.bundle, fold, step.view)
                why = why or batch.failure(step.bundle, step.view, answer)
                grams.append(answer.float().cpu().numpy().astype(float))
            rows = tuple(reading.row for reading in readings)
            seconds = time.perf_counter() - start
            on_steps_s += seconds
            tell(self.pipe, Computed(task.number, number, rows, np.concatenate(grams), seconds, why))

    def _batch(self, part: Sequence["Reading"]) -> BatchWork:
        pictures = []
        for framing in range(len(self.orders.framings)):
            stacked = torch.stack([reading.pictures[framing] for reading in part])
            if self.orders.kind == "cuda":
                stacked = stacked.pin_memory()
            pictures.append(stacked.to(self.device, non_blocking=True))
        return BatchWork(self.members, pictures, self.orders.half)

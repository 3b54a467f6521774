"""## Inference within the time

Bundles, photographs and a deadline go in, the best prediction that could be computed until then comes out. A complete
submission is saved again and again on the way, so that at every moment the file on disk is valid and the best so far.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

import kernel_src.inference.adaptation  # noqa: F401  # part: test_time_training
import kernel_src.inference.stacking  # noqa: F401  # part: stack
from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_facts import facts
from kernel_src.inference.device_folds import WHOLE_BUNDLE
from kernel_src.inference.device_worker import (
    READ_AHEAD,
    Computed,
    Crashed,
    Decided,
    Ended,
    Loaded,
    Loading,
    OutOfMemory,
    Read,
    Ready,
    Unloadable,
    WorkerConfig,
)
from kernel_src.inference.prediction_store import PredictionStore
from kernel_src.inference.schedule import CRASHES, MOST_ROWS, PassSchedule, Task
from kernel_src.inference.steps import steps_by_value
from kernel_src.inference.worker_pool import Worker, WorkerPool
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.faults import Fault, FaultLog
from kernel_src.runtime.parts import MissingPart, held_parts, optional_part

SAVE_SHARE = 0.05  # of the time may go into saving what is there
LEAST_SAVE_S = 0.5  # between two saves
LOOK_S = 1.0  # between two looks at the clock
SILENCE_S = 120.0  # beyond twice what was foreseen, after which a worker counts as hanging
LOADING_S = 1200.0  # for a worker to load its bundles: 6 GB at 5 MB a second
RUN_BYTES = 1.5e9  # of decoded photographs that a task may hold, on each device
FALLBACK = "the training mean"
ADAPTING = "test_time_training"  # the part


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be predicted, and with what."""

    image_ids: tuple[str, ...]
    paths: tuple[Path, ...]  # of their photographs
    inputs: tuple[tuple[float, ...], ...] = ()  # each photograph's numbers in the test's table; empty: there are none
    recipes: tuple[BundleRecipe | None, ...]  # None: a bundle that cannot be used
    damaged: tuple[frozenset[str], ...]  # per bundle, files that must not be used
    shares: tuple[float, ...]
    stack: Any | None  # a Stack of the part `stack`; None: blended by the shares
    constraint: str
    means: Mapping[str, float]  # by target, for photographs without any prediction
    competition: Path | None = None  # with train.csv and its photographs, for test-time training


@dataclass(kw_only=True)
class InferenceResult:
    """What came of it; it grows while the work goes on."""

    predictions: PredictionStore
    values: np.ndarray  # (images, targets), constrained
    predicted: np.ndarray  # (images,) of bool: not the training mean
    passes_wanted: int = 0  # photographs times steps
    passes_done: int = 0
    steps: int = 0
    by_steps: dict[int, int] = field(default_factory=dict)  # steps behind a photograph → photographs
    seconds: dict[str, float] = field(default_factory=dict)  # loading, first batch, predicting
    precision: dict[str, str] = field(default_factory=dict)  # bundle and fold → fp16 or fp32, and why
    streamed: list[str] = field(default_factory=list)  # bundle and fold: loaded anew whenever they were needed

    @classmethod
    def of_means(cls, images: int, means: Mapping[str, float]) -> "InferenceResult":
        """Return what there is before anything was computed: training means by target."""
        values = np.tile([means[target] for target in facts().targets], (images, 1))
        return cls(predictions=PredictionStore(images, []), values=values, predicted=np.zeros(images, bool))

    @property
    def predict_seconds(self) -> float:
        """Seconds of predicting, the loading of the bundles apart."""
        return max(0.0, self.seconds.get("predicting", 0.0) - self.seconds.get("loading", 0.0))

    def as_json(self) -> dict[str, Any]:
        """Return the plan and what was done of it as JSON can hold it."""
        return {
            "steps": self.steps,
            "passes_wanted": self.passes_wanted,
            "passes_done": self.passes_done,
            "photographs_by_steps": {str(steps): count for steps, count in sorted(self.by_steps.items())},
            "photographs_without_prediction": int((~self.predicted).sum()),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "precision": self.precision,
            "streamed": self.streamed,
        }


def values_now(job: Job, predictions: PredictionStore) -> tuple[np.ndarray, np.ndarray]:
    """Return the best prediction at this moment, (images, targets) constrained, and which rows rest on a prediction."""
    blended = predictions.blended(job.shares, job.stack)
    there = np.isfinite(blended).all(1)
    values = np.tile([job.means[target] for target in facts().targets], (predictions.images, 1))
    if there.any():
        values[there] = answers().finished(blended[there], job.constraint)
    return values, there


# %%
def infer(
    job: Job,
    device: DeviceReport,
    log: FaultLog,
    *,
    deadline_s: float,
    batch_size: int,
    save: Callable[[np.ndarray], None],
    clock: Callable[[], float] = time.monotonic,
) -> InferenceResult:
    """Predict until everything is done or the deadline, on the clock's scale, is reached.

    `save` writes a complete submission of values (images, targets). Bundles whose experiment asks for test-time
    training then have it, in the time that is left. An unexpected error ends the work in the rerun, and what was
    computed until then is returned.

    Raises:
        NotContained: a fault, in every run but the rerun.
    """
    folds = [0 if recipe is None else len(recipe.folds) for recipe in job.recipes]
    predictions = PredictionStore(len(job.paths), folds)
    values, predicted = values_now(job, predictions)
    adapts = any(recipe is not None and recipe.experiment.predict.adapt is not None for recipe in job.recipes)
    if adapts and ADAPTING not in held_parts():
        what = str(MissingPart(ADAPTING, held_parts()))
        log.contain(Fault(part="test-time training", what=what, fallback="the predictions without it"))
        adapts = False
    outcome = InferenceResult(predictions=predictions, values=values, predicted=predicted)
    with log.contain_unexpected():
        work = Inference(job, device, log, deadline_s, batch_size, save, clock, outcome)
        work.run()
        if adapts:
            began = clock()
            is_better = optional_part(ADAPTING).train_on_test(
                predictions,
                job.recipes,
                job.damaged,
                job.paths,
                job.competition,
                device=device,
                log=log,
                left_s=lambda: deadline_s - clock(),
            )
            outcome.seconds["test_time_training"] = clock() - began
            if is_better:
                work.save_now()
    return outcome


# %%
class Inference:
    """The loop between the schedule and the workers."""

    def __init__(
        self,
        job: Job,
        device: DeviceReport,
        log: FaultLog,
        deadline_s: float,
        batch_size: int,
        save: Callable[[np.ndarray], None],
        clock: Callable[[], float],
        outcome: InferenceResult,
    ) -> None:
        """Plan the steps; nothing is started yet."""
        self.job, self.log, self.deadline_s, self.clock, self.outcome = job, log, deadline_s, clock, outcome
        self._save, self._saved_s, self._save_took_s = save, clock(), 0.0
        self._is_new = False  # something was computed since the last save
        device, recipes = self._device_for_all(device)
        if device.spread:
            batch_size = 1  # to begin with: the weights leave little room
        usable = [
            [fold for fold, name in enumerate(recipe.folds) if name not in damaged] if recipe else []
            for recipe, damaged in zip(job.recipes, job.damaged, strict=True)
        ]
        symmetries = [recipe.symmetries if recipe else () for recipe in job.recipes]
        steps = steps_by_value(usable, [len(some) for some in symmetries], job.shares)
        framings = tuple(dict.fromkeys(one for recipe in job.recipes if recipe for one in recipe.framings))
        photograph_bytes = sum(3 * framing.height_px * framing.width_px for framing in framings)
        self.schedule = PassSchedule(
            steps,
            len(job.paths),
            deadline_s=deadline_s,
            batch_size=batch_size,
            devices=device.count,
            most_rows=max(1, min(MOST_ROWS, int(RUN_BYTES / max(1, photograph_bytes)))),
        )
        config = WorkerConfig(
            kind=device.kind,
            index=0,
            half=device.half,
            threads=1,
            readers=0,
            recipes=recipes,
            damaged=job.damaged,
            framings=framings,
            steps=tuple(steps),
            paths=job.paths,
            inputs=job.inputs,
        )
        self.pool = WorkerPool(config, device, batch_size, clock)
        outcome.steps, outcome.passes_wanted = len(steps), len(steps) * len(job.paths)

    def _device_for_all(self, device: DeviceReport) -> tuple[DeviceReport, tuple[BundleRecipe | None, ...]]:
        """Return the devices as the bundles need them, and the recipes with those over which a backbone is spread.

        One worker then owns all GPUs: two would each need both.
        """
        recipes, chosen = list(self.job.recipes), device
        for number, recipe in enumerate(recipes):
            if recipe is None or recipe.backbone is None:
                continue
            needed = optional_part("frozen").device_for(recipe.experiment, recipe.backbone, device)
            if needed.spread:
                recipes[number], chosen = replace(recipe, spread=needed.spread), needed
                what = f"{recipe.experiment.encoder.timm} finds no room on one {device.name}"
                self.log.note(Fault(part="memory", what=what, fallback=f"it is spread over {needed.gpus_per_net}"))
        return chosen, tuple(recipes)

    def run(self) -> None:
        """Work until there is nothing left to do, or no time."""
        start = self.clock()
        if self.schedule.steps and self.job.paths:
            try:
                with tqdm(total=self.outcome.passes_wanted, desc="predicting", unit="pass") as bar:
                    self.pool.start()
                    self.schedule.on_devices([worker.device for worker in self.pool.workers])
                    while self._go_on(bar):
                        pass
            finally:
                self.pool.stop()
                self._sum_up(start)
        self.save_now()

    def _go_on(self, bar: Any) -> bool:
        """Send out tasks, wait for messages, handle them; false when it is time to end."""
        now_s = self.clock()
        for worker in self.pool.workers:
            self._feed(worker, now_s)
        for_others = self.schedule.crashes < CRASHES and bool(self.schedule.unfinished())
        # A worker that hangs while it loads is not waited for when the others have done everything.
        busy = any(worker.tasks or (for_others and not worker.is_ready) for worker in self.pool.workers)
        if not busy or now_s >= self.deadline_s:
            return False
        for worker, message in self.pool.messages(min(LOOK_S, self.deadline_s - now_s)):
            self._take(worker, message, bar)
        self._end_hanging()
        if self._is_new and self.clock() - self._saved_s > max(LEAST_SAVE_S, self._save_took_s / SAVE_SHARE):
            self.save_now()
        return True

    def _feed(self, worker: Worker, now_s: float) -> None:
        ahead = READ_AHEAD if worker.config.readers else 1
        while worker.is_ready and len(worker.tasks) < ahead:
            self.schedule.batch_size = worker.batch.size
            task = self.schedule.next_task(now_s, worker.device, worker.batch.before_crash is not None)
            if task is None:
                return
            worker.last_message_s = now_s
            if not worker.give(task):
                self.schedule.on_end(task)  # the worker has ended: its pipe will say so
                return

    # Messages from the workers

    def _take(self, worker: Worker, message: Any, bar: Any) -> None:
        worker.last_message_s = self.clock()
        match message:
            case Ready():
                worker.is_ready, worker.loading = True, None
                self.outcome.seconds.setdefault("loading", message.seconds)
                self._take_ready(worker, message)
            case Loading():
                worker.loading = (message.bundle, message.fold)
            case Loaded():
                worker.loading = None
                if not message.stays:
                    self.schedule.on_load(message.bundle, message.fold, message.seconds)
                    self._note_streamed(message.bundle, message.fold)
            case Unloadable():
                worker.loading = None
                for place in self._places(message.bundle, message.fold):
                    worker.skipped |= {i for i in worker.tasks[0].steps if self.schedule.steps[i][:2] == place}
                self._take_unloadable(worker, message.bundle, message.fold, message.why)
            case Decided():
                self.outcome.precision[self._name(message.bundle, message.fold)] = f"{message.precision}: {message.why}"
            case Read():
                self._take_read(worker, message)
            case Computed():
                self._take_computed(worker, message)
                bar.update(len(message.rows))
            case OutOfMemory():
                worker.batch.shrink(message.rows)
                what = f"{worker.name}: the memory is too small for {message.what}"
                self.log.note(Fault(part="memory", what=what, fallback=f"{worker.batch.size} at once from now on"))
            case Ended():
                at_once, each_s = worker.at_once, worker.spent_s / max(1, worker.passes)
                if worker.passes:
                    worker.batch.learn(at_once, at_once * each_s)
                self.schedule.on_end(worker.next_oldest())
            case Crashed():
                worker.error = f"{message.error}\n{message.where}"
            case None:
                self._replace(worker)

    def _take_ready(self, worker: Worker, message: Ready) -> None:
        self.schedule.on_ready(message.streamed, message.load_s)
        for place in message.streamed:
            self._note_streamed(*place)
        lost = {place for bundle, fold, _ in message.broken for place in self._places(bundle, fold)}
        usable = {(step.bundle, step.fold) for step in self.schedule.steps}
        if usable <= lost and worker.config.kind == "cuda" and len(self.pool.workers) == 1:
            # Nothing can be loaded on the last GPU: the CPU tries, and reports what it cannot load either.
            what = f"nothing can be loaded on {worker.name}: {message.broken[0][2]}"
            self.log.contain(Fault(part="device", what=what, fallback="the work is done on CPU"))
            self.pool.replace_worker(worker, for_good=True)
            self.schedule.on_devices([other.device for other in self.pool.workers])
            return
        for bundle, fold, why in message.broken:
            self._take_unloadable(worker, bundle, fold, why)

    def _take_unloadable(self, worker: Worker, bundle: int, fold: int, why: str) -> None:
        name = self._name(bundle, WHOLE_BUNDLE)
        for place in self._places(bundle, fold):
            self.schedule.cannot(worker.device, *place)
        whole = fold == WHOLE_BUNDLE
        what = f"{name} cannot be loaded: {why}" if whole else f"{name}: {why}"
        fallback = "the other bundles, else " + FALLBACK if whole else "the other folds"
        self.log.contain(Fault(part="bundle" if whole else "fold", what=what, fallback=fallback))

    def _places(self, bundle: int, fold: int) -> list[tuple[int, int]]:
        """Return the fold, or all of a bundle's."""
        recipe = self.job.recipes[bundle]
        assert recipe is not None
        return [(bundle, one) for one in (range(len(recipe.folds)) if fold == WHOLE_BUNDLE else [fold])]

    def _name(self, bundle: int, fold: int) -> str:
        recipe = self.job.recipes[bundle]
        assert recipe is not None
        return recipe.folder.name if fold == WHOLE_BUNDLE else f"{recipe.folder.name}, fold {fold}"

    def _note_streamed(self, bundle: int, fold: int) -> None:
        if (name := self._name(bundle, fold)) not in self.outcome.streamed:
            self.outcome.streamed.append(name)
            what = f"{name} finds no room beside the others"
            self.log.note(Fault(part="memory", what=what, fallback="it is loaded anew whenever it is needed"))

    def _take_read(self, worker: Worker, message: Read) -> None:
        rows = worker.tasks[0].rows
        worker.rows_good = len(rows) - len(message.unreadable)
        self.schedule.throughput.learn_reading(message.seconds / len(rows))
        for row, why in message.unreadable:
            self.schedule.give_up([row])
            fault = Fault(part="photograph", what=why, fallback=FALLBACK, ids=(self.job.image_ids[row],))
            self.log.contain(fault)
        for row, what in message.unusual:
            self.log.contain(
                Fault(part="photograph", what=what, fallback="predicted as it is", ids=(self.job.image_ids[row],))
            )

    def _take_computed(self, worker: Worker, message: Computed) -> None:
        task, step = worker.tasks[0], self.schedule.steps[message.step]
        bad = self.outcome.predictions.record(step, message.rows, message.values)
        self._is_new = True
        if bad:
            what = f"{self._name(step.bundle, step.fold)}, view {step.view}: {message.why}"
            ids = tuple(self.job.image_ids[row] for row in bad)
            self.log.contain(
                Fault(part="fold", what=what, fallback=f"other folds, views and bundles, else {FALLBACK}", ids=ids)
            )
        self.schedule.on_step(task._replace(rows=message.rows), message.step, message.seconds)
        self.outcome.seconds.setdefault("first_batch", message.seconds)
        if message.step != task.steps[0] or len(task.steps) == 1:
            # The first holds the depth model's pass as well, and on a GPU the loading of kernels for a new batch size:
            # 3 s on an H200, against 0.1 for each step after it.
            worker.spent_s, worker.passes = worker.spent_s + message.seconds, worker.passes + len(message.rows)
        worker.rows_done += len(message.rows)
        if worker.rows_done >= worker.rows_good:
            worker.rows_done = 0
            worker.skipped.add(message.step)

    # Workers that ended

    def _replace(self, worker: Worker, hung: bool = False) -> None:
        tasks, step, at_once, smaller = list(worker.tasks), worker.step, worker.at_once, ""
        given_up: list[int] = []
        left_out, for_good, loading = None, False, worker.loading
        if loading is not None:
            explained, for_good = True, self._on_loading_crash(worker, tasks)
        else:
            given_up, left_out = self.schedule.on_crash(tasks, step, worker.device, at_once, hung)
            explained = bool(tasks) and max(at_once, len(tasks[0].rows)) > 1 and not hung
            if explained:
                worker.batch.on_crash(at_once)
                smaller = f", {worker.batch.size} at once"
            if given_up or left_out:
                for other in self.pool.workers:
                    other.batch.on_cause()
        reason = self.pool.replace_worker(worker, explained=explained, for_good=for_good)
        self.schedule.on_devices([other.device for other in self.pool.workers])
        ids = tuple(self.job.image_ids[row] for row in tasks[0].rows) if tasks else ()
        error = f": {worker.error}" if worker.error else ""
        while_loading = f" while {self._name(*loading)} was loaded" if loading is not None and not worker.error else ""
        what = f"the worker of {worker.name} {reason}{while_loading}{error}"
        left = ", ".join(sorted(other.name for other in self.pool.workers))
        fallback = f"its photographs are tried again on {left}{smaller}" if tasks else f"the work is done on {left}"
        fallback = fallback if left else "what is there, no device is left"
        self.log.contain(Fault(part="device", what=what, fallback=fallback, ids=ids))
        if given_up:
            names = tuple(self.job.image_ids[row] for row in given_up)
            what = f"crashed the worker of {worker.name} twice"
            self.log.contain(
                Fault(part="photograph", what=what, fallback=f"what is there of it, else {FALLBACK}", ids=names)
            )
        if left_out is not None:
            what = f"{self._name(left_out.bundle, left_out.fold)}: its workers crash"
            self.log.contain(Fault(part="fold", what=what, fallback="the other folds"))

    def _on_loading_crash(self, worker: Worker, tasks: Sequence[Task]) -> bool:
        """Leave out, on this device, the fold whose loading crashed its worker; true if it can load none any more.

        At first until all else is done: the others must not wait, and it may not have been the fold.
        """
        assert worker.loading is not None
        for task in tasks:
            self.schedule.on_end(task)
        for place in self._places(*worker.loading):
            is_first = place not in worker.config.not_at_start
            worker.config = replace(worker.config, not_at_start=(*worker.config.not_at_start, place))
            self.schedule.cannot(worker.device, *place, once_more=is_first)
            if not is_first:
                what = f"{self._name(*place)}: {worker.name} fails whenever it is loaded"
                self.log.contain(Fault(part="fold", what=what, fallback="the other folds"))
        return not self.schedule.has_usable_fold(worker.device)

    def _end_hanging(self) -> None:
        for worker in list(self.pool.workers):
            if worker.tasks:
                hangs = self.clock() - worker.last_message_s > 2 * worker.tasks[0].limit_s + SILENCE_S
            else:
                hangs = not worker.is_ready and self.clock() - worker.last_message_s > LOADING_S
            if hangs:
                worker.error = "it hung" if worker.tasks else "it hung while it loaded the bundles"
                worker.process.kill()
                self._replace(worker, hung=True)  # its pipe never closes if the driver holds it

    # Saving

    def save_now(self) -> None:
        """Save a submission of all that there is."""
        start = self.clock()
        self.outcome.values, self.outcome.predicted = values_now(self.job, self.outcome.predictions)
        try:
            self._save(self.outcome.values)
            self._is_new = False
        except OSError as error:
            self.log.contain(
                Fault(part="disk", what=f"the submission cannot be saved: {error}", fallback="the one saved before"),
                error,
            )
        self._saved_s = self.clock()
        self._save_took_s = self._saved_s - start

    def _sum_up(self, start: float) -> None:
        reached = np.array(self.schedule.reached)
        self.outcome.seconds["predicting"] = self.clock() - start
        passes = self.outcome.predictions.passes  # not what was reached: a fold may have been left out on the way
        self.outcome.passes_done = int(passes.sum())
        values, counts = np.unique(passes, return_counts=True)
        self.outcome.by_steps = dict(zip(values.tolist(), counts.tolist(), strict=True))
        short = self.schedule.unfinished()
        if self.clock() >= self.deadline_s and short:
            steps, unseen = len(self.schedule.steps), [row for row in short if passes[row] == 0]
            what = f"the time allowed all {steps} steps for {len(reached) - len(short)} of {len(reached)} photographs"
            least = f"at least {min(int(reached[row]) for row in short)} steps for the others"
            ids = tuple(self.job.image_ids[row] for row in unseen)
            fallback = f"{FALLBACK} for those not reached" if unseen else least
            self.log.note(Fault(part="time", what=what, fallback=fallback, ids=ids))
        self._name_unpredicted(passes)

    def _name_unpredicted(self, passes: np.ndarray) -> None:
        """Note the photographs that have no prediction, if no fault has named them yet."""
        named = {name for fault in self.log.faults for name in fault.ids if fault.fallback.endswith(FALLBACK)}
        named |= {name for fault in self.log.faults for name in fault.ids if fault.part == "time"}
        without = (name for name, done in zip(self.job.image_ids, passes, strict=True) if not done)
        if ids := tuple(name for name in without if name not in named):
            self.log.note(Fault(part="photograph", what="no prediction was computed", fallback=FALLBACK, ids=ids))

"""## Inference within the time

Bundles, photographs and a deadline go in, the best prediction that could be computed until then comes out. A complete
submission is saved again and again on the way, so that at every moment the file on disk is valid and the best so far.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from kernel_src.common.answers import Answers
from kernel_src.common.blend import Stack
from kernel_src.common.bundles import BundleRecipe, load_recipe
from kernel_src.common.competition import TARGETS
from kernel_src.common.constraints import constrain
from kernel_src.common.depth import DepthEstimator
from kernel_src.common.device import DeviceReport
from kernel_src.common.device_worker import (
    READ_AHEAD,
    WHOLE_BUNDLE,
    Computed,
    Crowded,
    Died,
    Ended,
    Orders,
    Read,
    Ready,
)
from kernel_src.common.faults import Fault, FaultLog
from kernel_src.common.refinement import refine_on_test
from kernel_src.common.schedule import DEATHS, Schedule
from kernel_src.common.steps import steps_by_value
from kernel_src.common.symmetries import views
from kernel_src.common.workforce import Worker, Workforce

SAVING_SHARE = 0.05  # of the time may go into saving what is there
LEAST_SAVE_S = 0.5  # between two saves
LOOK_S = 1.0  # between two looks at the clock
SILENCE_S = 120.0  # beyond twice what was foreseen, after which a worker counts as hanging
LOADING_S = 1200.0  # for a worker to load its bundles: 6 GB at 5 MB a second
FALLBACK = "the training mean"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be predicted, and with what."""

    image_ids: tuple[str, ...]
    paths: tuple[Path, ...]  # of their photographs
    recipes: tuple[BundleRecipe | None, ...]  # None: a bundle that cannot be used
    damaged: tuple[frozenset[str], ...]  # per bundle, files that must not be used
    shares: tuple[float, ...]
    stack: Stack | None
    constraint: str
    means: Mapping[str, float]  # grams by target, for photographs without any prediction


@dataclass(kw_only=True)
class Outcome:
    """What came of it; it grows while the work goes on."""

    answers: Answers
    grams: np.ndarray  # (images, 5), constrained
    predicted: np.ndarray  # (images,) of bool: not the training mean
    passes_wanted: int = 0  # photographs times steps
    passes_done: int = 0
    steps: int = 0
    by_steps: dict[int, int] = field(default_factory=dict)  # steps behind a photograph → photographs
    seconds: dict[str, float] = field(default_factory=dict)  # loading, first batch, predicting

    @classmethod
    def of_means(cls, images: int, means: Mapping[str, float]) -> "Outcome":
        """Return what there is before anything was computed: training means, grams by target."""
        grams = np.tile([means[target] for target in TARGETS], (images, 1))
        return cls(answers=Answers(images, []), grams=grams, predicted=np.zeros(images, bool))

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
        }


def grams_now(job: Job, answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the best prediction at this moment, (images, 5) constrained, and which rows rest on a prediction."""
    blended = answers.blended(job.shares, job.stack)
    there = np.isfinite(blended).all(1)
    grams = np.tile([job.means[target] for target in TARGETS], (answers.images, 1))
    if there.any():
        grams[there] = constrain(blended[there], job.constraint)
    return grams, there


# %%
def infer(
    job: Job,
    device: DeviceReport,
    log: FaultLog,
    *,
    deadline_s: float,
    batch_size: int,
    save: Callable[[np.ndarray], None],
    refine_s: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Predict until everything is done or the deadline, on the clock's scale, is reached.

    `save` writes a complete submission of grams (images, 5). With `refine_s` the heads then learn for so many seconds
    from the test's own confident predictions. An error that nobody foresaw ends the work in the rerun, and what was
    computed until then is returned.

    Raises:
        NotContained: a fault, in every run but the rerun.
    """
    folds = [0 if recipe is None else len(recipe.folds) for recipe in job.recipes]
    answers = Answers(len(job.paths), folds)
    grams, predicted = grams_now(job, answers)
    outcome = Outcome(answers=answers, grams=grams, predicted=predicted)
    with log.whatever_happens():
        work = Inference(job, device, log, deadline_s, batch_size, save, clock, outcome)
        work.run()
        if refine_s:
            work.refine(device, batch_size, refine_s)
    return outcome


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
        outcome: Outcome,
    ) -> None:
        """Plan the steps; nothing is started yet."""
        self.job, self.log, self.deadline_s, self.clock, self.outcome = job, log, deadline_s, clock, outcome
        self._save, self._saved_s, self._save_took_s = save, clock(), 0.0
        self._is_new = False  # something was computed since the last save
        usable = [
            [fold for fold, name in enumerate(recipe.folds) if name not in damaged] if recipe else []
            for recipe, damaged in zip(job.recipes, job.damaged, strict=True)
        ]
        symmetries = [views(recipe.experiment) if recipe else () for recipe in job.recipes]
        steps = steps_by_value(usable, [len(some) for some in symmetries], job.shares)
        framings = tuple(dict.fromkeys(one for recipe in job.recipes if recipe for one in recipe.framings))
        self.schedule = Schedule(
            steps, len(job.paths), deadline_s=deadline_s, batch_size=batch_size, devices=device.count
        )
        orders = Orders(
            kind=device.kind,
            index=0,
            half=device.half,
            threads=1,
            readers=0,
            recipes=job.recipes,
            damaged=job.damaged,
            framings=framings,
            steps=tuple(steps),
            paths=job.paths,
        )
        self.force = Workforce(orders, device, batch_size, clock)
        outcome.steps, outcome.passes_wanted = len(steps), len(steps) * len(job.paths)

    def run(self) -> None:
        """Work until there is nothing left to do, or no time."""
        start = self.clock()
        if self.schedule.steps and self.job.paths:
            try:
                with tqdm(total=self.outcome.passes_wanted, desc="predicting", unit="pass") as bar:
                    self.force.start()
                    while self._go_on(bar):
                        pass
            finally:
                self.force.stop()
                self._sum_up(start)
        self._save_now()

    def refine(self, device: DeviceReport, batch_size: int, seconds: float) -> None:
        """Let the heads learn from the test's own confident predictions, if there is everything to learn from."""
        answers, recipes = self.outcome.answers, [recipe for recipe in self.job.recipes if recipe is not None]
        if any(recipe.experiment.is_frozen for recipe in recipes):
            print("not refined: a regressor on frozen features has no heads")
            return
        if len(recipes) < len(self.job.recipes) or not answers.is_complete():
            print("not refined: some folds have not predicted every photograph")
            return
        depth_models: dict[str, DepthEstimator] = {}
        bundles = [load_recipe(recipe, depth_models) for recipe in recipes]
        refined = refine_on_test(
            bundles,
            self.job.paths,
            [answers.fold_grams(number) for number in range(len(recipes))],
            device=device,
            batch_size=batch_size,
            budget_s=min(seconds, self.deadline_s - self.clock()),
        )
        for number, grams in enumerate(refined):
            answers.put_fold_grams(number, grams)
        self._save_now()

    def _go_on(self, bar: Any) -> bool:
        """Give out tasks, wait for messages, take them up; false when it is time to end."""
        now_s = self.clock()
        for worker in self.force.workers:
            self._feed(worker, now_s)
        for_others = self.schedule.deaths < DEATHS and bool(self.schedule.unfinished())
        # A worker that hangs while it loads is not waited for when the others have done everything.
        busy = any(worker.tasks or (for_others and not worker.is_ready) for worker in self.force.workers)
        if not busy or now_s >= self.deadline_s:
            return False
        for worker, message in self.force.messages(min(LOOK_S, self.deadline_s - now_s)):
            self._take(worker, message, bar)
        self._end_hanging()
        if self._is_new and self.clock() - self._saved_s > max(LEAST_SAVE_S, self._save_took_s / SAVING_SHARE):
            self._save_now()
        return True

    def _feed(self, worker: Worker, now_s: float) -> None:
        ahead = READ_AHEAD if worker.orders.readers else 1
        while worker.is_ready and len(worker.tasks) < ahead:
            self.schedule.batch_size = worker.batch.size
            task = self.schedule.next_task(now_s)
            if task is None:
                return
            worker.heard_s = now_s
            if not worker.give(task):
                self.schedule.on_end(task)  # the worker is dead, which its pipe will tell
                return

    # What the workers say

    def _take(self, worker: Worker, message: Any, bar: Any) -> None:
        worker.heard_s = self.clock()
        match message:
            case Ready():
                worker.is_ready = True
                self.outcome.seconds.setdefault("loading", message.seconds)
                self._take_broken(message)
            case Read():
                self._take_read(worker, message)
            case Computed():
                self._take_computed(worker, message)
                bar.update(len(message.rows))
            case Crowded():
                worker.batch.shrink(message.rows)
                what = f"{worker.name}: the memory is too small for {message.what}"
                self.log.note(Fault(part="memory", what=what, instead=f"{worker.batch.size} at once from now on"))
            case Ended():
                task = worker.tasks.pop(0)
                self.schedule.on_end(task)
                worker.step = worker.tasks[0].steps[0] if worker.tasks else None
                if worker.passes:
                    worker.batch.learn(len(task.rows), worker.spent_s / worker.passes)
                worker.spent_s, worker.passes = 0.0, 0
            case Died():
                worker.error = f"{message.error}\n{message.where}"
            case None:
                self._bury(worker)

    def _take_broken(self, message: Ready) -> None:
        for bundle, fold, why in message.broken:
            recipe = self.job.recipes[bundle]
            assert recipe is not None
            folds = range(len(recipe.folds)) if fold == WHOLE_BUNDLE else [fold]
            for one in folds:
                self.schedule.leave_out(bundle, one)
            whole = fold == WHOLE_BUNDLE
            what = f"{recipe.folder.name} cannot be loaded: {why}" if whole else f"{recipe.folder.name}: {why}"
            instead = "the other bundles, else " + FALLBACK if whole else "the other folds"
            self.log.contain(Fault(part="bundle" if whole else "fold", what=what, instead=instead))

    def _take_read(self, worker: Worker, message: Read) -> None:
        rows = worker.tasks[0].rows
        self.schedule.pace.learn_reading(message.seconds / len(rows))
        for row, why in message.unreadable:
            self.schedule.give_up([row])
            fault = Fault(part="photograph", what=why, instead=FALLBACK, ids=(self.job.image_ids[row],))
            self.log.contain(fault)
        for row, what in message.unusual:
            self.log.contain(
                Fault(part="photograph", what=what, instead="predicted as it is", ids=(self.job.image_ids[row],))
            )

    def _take_computed(self, worker: Worker, message: Computed) -> None:
        task, step = worker.tasks[0], self.schedule.steps[message.step]
        bad = self.outcome.answers.record(step, message.rows, message.grams)
        self._is_new = True
        if bad:
            recipe = self.job.recipes[step.bundle]
            what = f"{recipe.folder.name if recipe else ''}, fold {step.fold}, view {step.view}: {message.why}"
            ids = tuple(self.job.image_ids[row] for row in bad)
            self.log.contain(
                Fault(part="fold", what=what, instead=f"other folds, views and bundles, else {FALLBACK}", ids=ids)
            )
        self.schedule.on_step(task, message.step, message.seconds)
        self.outcome.seconds.setdefault("first_batch", message.seconds)
        if message.step != task.steps[0] or len(task.steps) == 1:
            # The first holds the depth model's pass as well, and on a GPU the loading of kernels for a new batch size:
            # 3 s on an H200, against 0.1 for each step after it.
            worker.spent_s, worker.passes = worker.spent_s + message.seconds, worker.passes + 1
        worker.step = next((one for one in task.steps if one > message.step), message.step)

    # Death

    def _bury(self, worker: Worker) -> None:
        tasks, step = list(worker.tasks), worker.step
        death = self.force.bury(worker)
        given_up, left_out = self.schedule.on_death(tasks, step, worker.device)
        self.schedule.on_devices([other.device for other in self.force.workers])
        ids = tuple(self.job.image_ids[row] for row in tasks[0].rows) if tasks else ()
        what = f"the worker of {worker.name} {death}{f': {worker.error}' if worker.error else ''}"
        left = ", ".join(sorted(other.name for other in self.force.workers))
        instead = f"its photographs are tried again on {left}" if tasks else f"the work is done on {left}"
        instead = instead if left else "what is there, no device is left"
        self.log.contain(Fault(part="device", what=what, instead=instead, ids=ids))
        if given_up:
            names = tuple(self.job.image_ids[row] for row in given_up)
            what = f"kills the worker of {worker.name}, twice"
            self.log.contain(
                Fault(part="photograph", what=what, instead=f"what is there of it, else {FALLBACK}", ids=names)
            )
        if left_out is not None:
            recipe = self.job.recipes[left_out.bundle]
            what = f"{recipe.folder.name if recipe else ''}, fold {left_out.fold}: kills its workers"
            self.log.contain(Fault(part="fold", what=what, instead="the other folds"))

    def _end_hanging(self) -> None:
        for worker in list(self.force.workers):
            if worker.tasks:
                hangs = self.clock() - worker.heard_s > 2 * worker.tasks[0].limit_s + SILENCE_S
            else:
                hangs = not worker.is_ready and self.clock() - worker.heard_s > LOADING_S
            if hangs:
                worker.error = "it hung" if worker.tasks else "it hung while it loaded the bundles"
                worker.process.kill()
                self._bury(worker)  # its pipe will never tell if the driver holds it

    # Saving

    def _save_now(self) -> None:
        start = self.clock()
        self.outcome.grams, self.outcome.predicted = grams_now(self.job, self.outcome.answers)
        try:
            self._save(self.outcome.grams)
            self._is_new = False
        except OSError as error:
            self.log.contain(
                Fault(part="disk", what=f"the submission cannot be saved: {error}", instead="the one saved before"),
                error,
            )
        self._saved_s = self.clock()
        self._save_took_s = self._saved_s - start

    def _sum_up(self, start: float) -> None:
        reached = np.array(self.schedule.reached)
        self.outcome.seconds["predicting"] = self.clock() - start
        passes = self.outcome.answers.passes  # not what was reached: a fold may have been left out on the way
        self.outcome.passes_done = int(passes.sum())
        values, counts = np.unique(passes, return_counts=True)
        self.outcome.by_steps = dict(zip(values.tolist(), counts.tolist(), strict=True))
        short = self.schedule.unfinished()
        if self.clock() >= self.deadline_s and short:
            steps, unseen = len(self.schedule.steps), [row for row in short if reached[row] == 0]
            what = f"the time allowed all {steps} steps for {len(reached) - len(short)} of {len(reached)} photographs"
            least = f"at least {min(int(reached[row]) for row in short)} steps for the others"
            ids = tuple(self.job.image_ids[row] for row in unseen)
            instead = f"{FALLBACK} for those not reached" if unseen else least
            self.log.note(Fault(part="time", what=what, instead=instead, ids=ids))
        self._name_unpredicted(passes)

    def _name_unpredicted(self, passes: np.ndarray) -> None:
        """Tell of the photographs that have no prediction, if no fault has named them yet."""
        named = {name for fault in self.log.faults for name in fault.ids if fault.instead.endswith(FALLBACK)}
        named |= {name for fault in self.log.faults for name in fault.ids if fault.part == "time"}
        without = (name for name, done in zip(self.job.image_ids, passes, strict=True) if not done)
        if ids := tuple(name for name in without if name not in named):
            self.log.note(Fault(part="photograph", what="no prediction was computed", instead=FALLBACK, ids=ids))

"""## The schedule

Which photographs go through which steps next, so that the time is used and never overrun:

1. A few photographs are tried first, for a small part of the time: they show how long a reading and a step take here.
2. From then on all photographs get as many steps, in the order of their value, as fit into the time that is left; what
   each batch really took corrects the estimate, so a device that becomes slower or faster half-way changes the plan.
3. At any moment enough time is kept to bring the photographs that have no step yet through their first, even if the
   device became ten times slower: a task is cut short before it takes of that, and where the time is shorter than that
   from the start, the first step comes for all of them, although each must then be read once more.
4. When all have them and time is left, further steps follow for as many photographs as possible.
5. A task that takes far longer than foreseen is cut short as well, and what is left of it planned anew.
6. Where some folds have to be loaded anew for every task, tasks become longer, until loading takes a small part of the
   time; within one all views of a fold follow each other, and the estimates hold the loading.
7. What one device cannot compute is left to the others. Only what none can is left out.

No clock and no process is touched here: the caller says what time it is and what became of a task.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kernel_src.inference.steps import Step

TRIED_FIRST = 2  # photographs
TRIAL_SHARE = 0.05  # of the time that is left
NEWEST_WEIGHT = 0.5  # of the newest measurement in the running mean
SAFETY = 10.0  # see rule 3
PATIENCE, PATIENCE_S = 2.0, 1.0  # a task may take so many times what was foreseen, and so many seconds more
CRASHES_OF_A_STEP = 2  # with different photographs, after which its fold is left out
CRASHES = 8  # of all workers together that a smaller batch cannot explain, after which nothing more is begun
LOADING_SHARE = 0.05  # of the time that loading folds anew may take, where longer tasks help
MOST_ROWS = 512  # photographs of a task, which are decoded together
AFTER_A_CRASH = 8  # batches of a task at most, on a device that has crashed


class Task(NamedTuple):
    """Photographs (rows of the test table) that go through some steps, in their order."""

    number: int
    rows: tuple[int, ...]
    steps: tuple[int, ...]
    limit_s: float  # it is cut short after so long
    foreseen_s: tuple[float, ...]  # of each step, for all its photographs; 0 where nothing is known
    at_once: int = 0  # photographs that go through the device together; 0: all


class Throughput:
    """Seconds per photograph on one device: of reading it, and of every step."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Start without measurements."""
        self._steps = steps
        self._known: dict[int, float] = {}
        self.reading_s = 0.0

    def learn_reading(self, seconds: float) -> None:
        """Add one measurement."""
        self.reading_s = seconds if not self.reading_s else _mean(self.reading_s, seconds)

    def learn(self, step: int, seconds: float) -> None:
        """Add one measurement of a step."""
        self._known[step] = _mean(self._known[step], seconds) if step in self._known else seconds

    @property
    def longest_s(self) -> float:
        """What the slowest step takes, 0 if nothing is known."""
        return max(self._known.values(), default=0.0)

    def of(self, step: int) -> float | None:
        """Return what a step takes; of one never tried what its bundle's others take, None if none was."""
        if step in self._known:
            return self._known[step]
        alike = [s for number, s in self._known.items() if self._steps[number].bundle == self._steps[step].bundle]
        # The first step of a bundle may hold the depth model's pass as well: the cheapest is the better guess.
        return min(alike) if alike else None


def _mean(old: float, new: float) -> float:
    return (1 - NEWEST_WEIGHT) * old + NEWEST_WEIGHT * new


# %%
class PassSchedule:
    """What has been computed, what is in work, and what is next."""

    def __init__(
        self,
        steps: Sequence[Step],
        rows: int,
        *,
        deadline_s: float,
        batch_size: int,
        devices: int = 1,
        most_rows: int = MOST_ROWS,
    ) -> None:
        """Begin with nothing done; `deadline_s` is on the caller's clock, `most_rows` the longest task."""
        self.steps, self.rows, self.deadline_s, self.batch_size = list(steps), rows, deadline_s, batch_size
        self.devices = devices  # that work side by side
        self.most_rows = most_rows
        self.throughput = Throughput(self.steps)
        self.loading_s: dict[tuple[int, int], float] = {}  # (bundle, fold) that is loaded anew for each task
        self.reached = [0] * rows  # steps behind each photograph, without a gap
        self.given_up: set[int] = set()  # photographs that are left as they are
        self.left_out: set[int] = set()  # steps
        self.crashes = 0
        self._in_work: dict[int, Task] = {}
        self._ahead: dict[int, set[int]] = {}  # photograph → steps behind it beyond those without a gap
        self._names: list[str] = []  # of the devices, once they are known
        self._cannot: dict[str, set[tuple[int, int]]] = {}  # device → (bundle, fold) that it cannot compute
        self._once_more: dict[str, set[tuple[int, int]]] = {}  # device → those that it tries again in the end
        self._alone: dict[int, set[str]] = {}  # photographs of a crash, tried one by one → devices they crashed
        # (bundle, fold) → device and photographs of each crash since it last worked
        self._crashes_at: dict[tuple[int, int], list[tuple[str, tuple[int, ...]]]] = {}
        self._given_up_at: dict[tuple[int, int], set[int]] = {}  # (bundle, fold) → photographs given up since then
        self._numbers = 0

    # What is next

    def next_task(self, now_s: float, device: str = "", crashed: bool = False) -> Task | None:
        """Return a device's next task, None where there is nothing (or no time) left to begin.

        Tasks of a device that has `crashed` stay short.
        """
        left_s = self.deadline_s - now_s
        if left_s <= 0 or self.crashes >= CRASHES:
            return None
        flying = {row for task in self._in_work.values() for row in task.rows}
        firsts = self._firsts(device, flying)
        if not firsts and self._once_more.get(device):
            self._cannot[device] -= self._once_more.pop(device)
            firsts = self._firsts(device, flying)
        if not firsts:
            return None
        lowest = min(firsts.values())
        level = [row for row, first in firsts.items() if first == lowest]
        alike = self._ahead.get(level[0])
        level = [row for row in level if self._ahead.get(row) == alike]
        rows = level[:1] if level[0] in self._alone else [row for row in level if row not in self._alone]
        if (untried := self._untried(device)) is not None and lowest <= untried:
            return self._task(rows[: min(TRIED_FIRST, self.batch_size)], device, lowest, len(self.steps), left_s, True)
        rows = rows[: self._most_at_once(len(firsts), crashed)]
        spare_s = left_s - self._reserve_s(rows)
        if spare_s <= 0:
            return self._task(rows, device, lowest, lowest + 1, left_s)
        return self._task(rows, device, lowest, max(self._affordable(left_s), lowest + 1), spare_s)

    def _firsts(self, device: str, flying: set[int]) -> dict[int, int]:
        """Return for each photograph that is not in work the first step that a device could compute."""
        there = (row for row in range(self.rows) if row not in self.given_up and row not in flying)
        return {
            row: first for row in there if (first := self._behind(self.reached[row], device, row)) < len(self.steps)
        }

    def _most_at_once(self, waiting: int, crashed: bool) -> int:
        """Return how many photographs a task may have: one batch, or more where that saves loading folds anew."""
        loading_s = sum(self._loading_of(range(len(self.steps))).values())
        if not loading_s:
            return self.batch_size
        each_s = sum(self.throughput.of(step) or 0.0 for step in range(len(self.steps)) if step not in self.left_out)
        wanted = loading_s / (LOADING_SHARE * each_s) if each_s else self.most_rows
        most = min(self.most_rows, math.ceil(waiting / self.devices))
        if crashed:
            most = min(most, AFTER_A_CRASH * self.batch_size if self.batch_size > 1 else 1)
        batches = math.ceil(min(wanted, most) / self.batch_size)
        return max(1, batches) * self.batch_size

    def _loading_of(self, steps: Iterable[int]) -> dict[tuple[int, int], float]:
        """Return the seconds of loading, once for each fold that these steps need and that is loaded anew."""
        places = dict.fromkeys(self._place(step) for step in steps if step not in self.left_out)
        return {place: self.loading_s[place] for place in places if place in self.loading_s}

    def _place(self, step: int) -> tuple[int, int]:
        return self.steps[step].bundle, self.steps[step].fold

    def _task(
        self, rows: Sequence[int], device: str, first: int, last: int, left_s: float, is_trial: bool = False
    ) -> Task:
        ahead = self._ahead.get(rows[0], set())
        steps = [step for step in range(first, last) if step not in ahead and self._is_open(step, device)]
        loading = self._loading_of(steps)
        if loading:
            # All views of a fold follow each other, the folds in the order of their first step.
            order = {place: number for number, place in enumerate(dict.fromkeys(map(self._place, steps)))}
            steps.sort(key=lambda step: order[self._place(step)])
        foreseen_s = [len(rows) * (self.throughput.of(step) or 0.0) for step in steps]
        for number, step in enumerate(steps):
            foreseen_s[number] += loading.pop(self._place(step), 0.0)
        limit_s = TRIAL_SHARE * left_s if is_trial else left_s
        if all(self.throughput.of(step) is not None for step in steps):
            all_s = len(rows) * self.throughput.reading_s + sum(foreseen_s)
            limit_s = min(limit_s, PATIENCE * all_s + PATIENCE_S)
        self._numbers += 1
        task = Task(self._numbers, tuple(rows), tuple(steps), limit_s, tuple(foreseen_s), self.batch_size)
        self._in_work[task.number] = task
        return task

    def _reserve_s(self, rows: Sequence[int]) -> float:
        """Return what the photographs without any step, but for `rows`, need for their first, `SAFETY` times slower."""
        waiting = {row for row in range(self.rows) if row not in self.given_up and not self._reached_soon(row)}
        first = self._behind(0)
        each_s = self.throughput.reading_s + (self.throughput.of(first) or 0.0)
        # A step that turns out slow is only noticed when it has ended.
        unnoticed_s = self.throughput.longest_s * min(len(rows), self.batch_size)
        loading_s = sum(self._loading_of([first]).values()) if first < len(self.steps) and waiting - set(rows) else 0.0
        return SAFETY * (each_s * len(waiting - set(rows)) / self.devices + unnoticed_s) + loading_s

    def _behind(self, reached: int, device: str = "", row: int | None = None) -> int:
        """Skip the steps that are left out, that a device cannot compute, or that a photograph has behind it."""
        ahead = self._ahead.get(row, set()) if row is not None else set()
        while reached < len(self.steps) and (reached in ahead or not self._is_open(reached, device)):
            reached += 1
        return reached

    def _is_open(self, step: int, device: str = "") -> bool:
        if step in self.left_out:
            return False
        cannot = self._cannot.get(device)
        return not cannot or self._place(step) not in cannot

    def _untried(self, device: str) -> int | None:
        """Return the first step of a bundle of which no step was ever tried; None if all were."""
        return next(
            (i for i in range(len(self.steps)) if self._is_open(i, device) and self.throughput.of(i) is None), None
        )

    def _affordable(self, left_s: float) -> int:
        """Return how many steps all photographs can have in the time that is left."""
        reached = sorted(self._reached_soon(row) for row in range(self.rows) if row not in self.given_up)
        total_s, behind, most = 0.0, 0, 0
        loading = self._loading_of(range(len(self.steps)))
        rows = self._most_at_once(len(reached), False)
        for step in range(len(self.steps)):
            joined = behind
            while behind < len(reached) and reached[behind] <= step:
                behind += 1
            if step not in self.left_out:
                total_s += behind * (self.throughput.of(step) or 0.0)
                total_s += math.ceil(behind / rows) * loading.pop(self._place(step), 0.0)
            total_s += (behind - joined) * self.throughput.reading_s  # each is read once, whatever it then goes through
            if total_s / self.devices > left_s:
                break
            most = step + 1
        return most

    def _reached_soon(self, row: int) -> int:
        return max([self.reached[row], *(max(task.steps) + 1 for task in self._in_work.values() if row in task.rows)])

    def unfinished(self) -> list[int]:
        """Return the photographs that could have more steps."""
        return list(self._firsts("", set()))

    # Results

    def on_step(self, task: Task, step: int, seconds: float) -> None:
        """Record one more step of a task; `seconds` for all its photographs, without any loading."""
        self.throughput.learn(step, seconds / len(task.rows))
        place = self._place(step)
        self._crashes_at.pop(place, None)
        self._given_up_at.pop(place, None)
        for row in task.rows:
            if row not in self.given_up:
                self._advance(row, step)

    def _advance(self, row: int, step: int) -> None:
        ahead = self._ahead.setdefault(row, set())
        ahead.add(step)
        while self.reached[row] in ahead or self.reached[row] in self.left_out:
            ahead.discard(self.reached[row])
            self.reached[row] += 1
        if not ahead:
            del self._ahead[row]

    def on_load(self, bundle: int, fold: int, seconds: float) -> None:
        """Record that a fold had to be loaded anew."""
        place = (bundle, fold)
        self.loading_s[place] = _mean(self.loading_s[place], seconds) if place in self.loading_s else seconds

    def on_ready(self, streamed: Iterable[tuple[int, int]], load_s: float) -> None:
        """Record which folds found no room on a device that has loaded all that it can; a load took so long."""
        self.loading_s = {place: self.loading_s.get(place, load_s) for place in streamed}

    def on_end(self, task: Task) -> None:
        """Record that a task has ended; what it has left undone is planned anew."""
        self._in_work.pop(task.number, None)

    def give_up(self, rows: Iterable[int]) -> None:
        """Leave photographs as they are: they cannot be read."""
        self.given_up |= set(rows)

    def leave_out(self, bundle: int, fold: int) -> None:
        """Leave out a fold that no device can load, or that crashes its workers."""
        self.left_out |= {i for i, step in enumerate(self.steps) if (step.bundle, step.fold) == (bundle, fold)}

    def cannot(self, device: str, bundle: int, fold: int, *, once_more: bool = False) -> None:
        """Leave a fold to the other devices; with `once_more` this one tries it again when all else is done.

        A fold that no device can compute is left out.
        """
        place = (bundle, fold)
        known = self._cannot.setdefault(device, set())
        known.add(place)
        if once_more:
            self._once_more.setdefault(device, set()).add(place)
        self._leave_out_impossible()

    def has_usable_fold(self, device: str) -> bool:
        """Return whether there is a fold that a device has not failed to load."""
        cannot = self._cannot.get(device, set())
        return any(self._place(step) not in cannot for step in range(len(self.steps)))

    def _leave_out_impossible(self) -> None:
        names = self._names or list(self._cannot)
        if len(names) < self.devices:
            return
        given_up = [self._cannot.get(name, set()) - self._once_more.get(name, set()) for name in names]
        for place in set.intersection(*given_up):
            self.leave_out(*place)

    def on_crash(
        self,
        tasks: Sequence[Task],
        step: int | None,
        device: str = "",
        at_once: int | None = None,
        hung: bool = False,
    ) -> tuple[list[int], Step | None]:
        """Record that a worker crashed with these tasks, the first of them in the making at `step`.

        With several photographs `at_once` (by default all of the task) the batch may have been too large: nothing is
        blamed, and the caller makes the batches of that device smaller. A single one is tried once more: if it crashes
        again it is given up, and a fold that crashed with different photographs, without any success in between, is
        left out. A worker that `hung` with several has them tried one by one. Where several devices work, what crashed
        one of them only is not to blame: the device may be. Returns the photographs given up and a step of the fold
        left out.
        """
        for task in tasks:
            self.on_end(task)
        if not tasks or step is None:
            self.crashes += 1
            return [], None
        rows = tasks[0].rows
        if max(len(rows), at_once or 0) > 1 and not hung:
            return [], None
        self.crashes += 1
        place = self._place(step)
        self._crashes_at.setdefault(place, []).append((device, rows))
        given_up = [row for row in rows if row in self._alone and self._is_the_cause({*self._alone[row], device})]
        with_different = {some for _, some in self._crashes_at[place]}
        crashed_on = {name for name, _ in self._crashes_at[place]}
        if len(with_different) >= CRASHES_OF_A_STEP and self._is_the_cause(crashed_on):
            # It is the fold, also if photographs were blamed before.
            self.given_up -= self._given_up_at.pop(place, set())
            self.leave_out(*place)
            return [], self.steps[step]
        self._given_up_at.setdefault(place, set()).update(given_up)
        for row in rows:
            self._alone.setdefault(row, set()).add(device)
        self.give_up(given_up)
        return given_up, None

    def on_devices(self, names: Sequence[str]) -> None:
        """Record which devices are left; crashes of a device that is not used any more are blamed on it alone."""
        self.devices, self._names = max(1, len(names)), list(names)
        for place, crashes in self._crashes_at.items():
            self._crashes_at[place] = [crash for crash in crashes if crash[0] in names]
        self._alone = {row: crashed_on & {*names} for row, crashed_on in self._alone.items() if crashed_on & {*names}}
        self._leave_out_impossible()

    def _is_the_cause(self, crashed_on: set[str]) -> bool:
        return self.devices == 1 or len(crashed_on) > 1


# %%
def goes_on(task: Task, done: int, spent_s: float, spent_on_steps_s: float) -> bool:
    """Return whether a task may begin its next step; the first is always begun.

    `done` steps of it have taken `spent_on_steps_s`, and it `spent_s` in all. What is still to come is taken to be as
    much slower than foreseen as what has been.
    """
    if not done:
        return True
    foreseen_s = sum(task.foreseen_s[:done])
    slower = max(1.0, spent_on_steps_s / foreseen_s) if foreseen_s else 1.0
    return spent_s + slower * task.foreseen_s[done] <= task.limit_s


# %%
@dataclass
class BatchSize:
    """How many photographs go through a device at once: tried upwards on a GPU, halved where memory runs out."""

    size: int
    largest: int
    grows: bool  # false on a CPU, where nothing is gained and results must not depend on timing
    seconds: float = float("inf")  # per photograph and step, at the size before
    before_crash: "BatchSize | None" = None  # what it was before the worker crashed, until the cause is clear

    LEAST_GAIN = 0.97  # of the time per photograph; a larger batch must save more than that

    def learn(self, rows: int, seconds: float) -> None:
        """Record what a step of a full batch took; double while that pays."""
        if not self.grows or rows < self.size:
            return
        each = seconds / rows
        if each < self.LEAST_GAIN * self.seconds and self.size < self.largest:
            self.seconds, self.size = each, min(2 * self.size, self.largest)
        elif each > self.seconds / self.LEAST_GAIN and self.size > 1:
            self.size, self.grows = self.size // 2, False
        else:
            self.grows = False

    def shrink(self, rows: int) -> None:
        """Record that so many were too many for the memory."""
        self.largest = self.size = max(1, rows // 2)
        self.grows = False
        if self.before_crash is not None:
            self.before_crash.shrink(rows)

    def on_crash(self, rows: int) -> None:
        """Record that the worker crashed with so many at once: the next ones get half, until the cause is found."""
        before = self.before_crash or replace(self)
        self.before_crash = None
        self.shrink(min(rows, self.size) if rows > 1 else 2)
        self.before_crash = before

    def on_cause(self) -> None:
        """Record that a photograph or a fold was the cause of the crashes, and not the size."""
        if (before := self.before_crash) is not None:
            self.size, self.largest, self.grows = before.size, before.largest, before.grows
            self.before_crash = None

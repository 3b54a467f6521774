"""## The schedule

Which photographs go through which steps next, so that the time is used and never overrun:

1. A few photographs are tried first, for a small part of the time: they tell how long a reading and a step take here.
2. From then on all photographs get as many steps, in the order of their value, as fit into the time that is left; what
   each batch really took corrects the estimate, so a device that becomes slower or faster half-way changes the plan.
3. At any moment enough time is kept to bring the photographs that have no step yet through their first, even if the
   device became ten times slower: a task is cut short before it takes of that, and where the time is shorter than that
   from the start, the first step comes for all of them, although each must then be read once more.
4. When all have them and time is left, further steps follow for as many photographs as possible.
5. A task that takes far longer than foreseen is cut short as well, and what is left of it planned anew.

No clock and no process is touched here: the caller says what time it is and what became of a task.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kernel_src.common.steps import Step

TRIED_FIRST = 2  # photographs
TRIAL_SHARE = 0.05  # of the time that is left
NEWEST_WEIGHT = 0.5  # of the newest measurement in the running mean
SAFETY = 10.0  # see rule 3
PATIENCE, PATIENCE_S = 2.0, 1.0  # a task may take so many times what was foreseen, and so many seconds more
DEATHS_OF_A_STEP = 2  # after which its fold is left out
DEATHS = 8  # of all workers together, after which nothing more is begun


class Task(NamedTuple):
    """Photographs (rows of the test table) that go through some steps, in their order."""

    number: int
    rows: tuple[int, ...]
    steps: tuple[int, ...]
    limit_s: float  # it is cut short after so long
    foreseen_s: tuple[float, ...]  # of each step, for all its photographs; 0 where nothing is known


class Pace:
    """Seconds per photograph on one device: of reading it, and of every step."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Know nothing yet."""
        self._steps = steps
        self._known: dict[int, float] = {}
        self.reading_s = 0.0

    def learn_reading(self, seconds: float) -> None:
        """Take up one measurement."""
        self.reading_s = seconds if not self.reading_s else _mean(self.reading_s, seconds)

    def learn(self, step: int, seconds: float) -> None:
        """Take up one measurement of a step."""
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


class Schedule:
    """What has been done, what is being done, and what is next."""

    def __init__(
        self, steps: Sequence[Step], rows: int, *, deadline_s: float, batch_size: int, devices: int = 1
    ) -> None:
        """Begin with nothing done; `deadline_s` is on the caller's clock."""
        self.steps, self.rows, self.deadline_s, self.batch_size = list(steps), rows, deadline_s, batch_size
        self.devices = devices  # that work side by side
        self.pace = Pace(self.steps)
        self.reached = [0] * rows  # steps behind each photograph
        self.given_up: set[int] = set()  # photographs that are left as they are
        self.left_out: set[int] = set()  # steps
        self.deaths = 0
        self._flying: dict[int, Task] = {}
        self._alone: dict[int, set[str]] = {}  # photographs under suspicion, tried one by one → devices they died on
        self._deaths_at: dict[tuple[int, int], list[str]] = {}  # (bundle, fold) → the devices, one for each death
        self._worked: set[tuple[int, int]] = set()  # (bundle, fold) that has computed something
        self._victims: dict[tuple[int, int], set[int]] = {}  # (bundle, fold) → photographs given up at it
        self._numbers = 0

    # What is next

    def next_task(self, now_s: float) -> Task | None:
        """Return the next task, None where there is nothing (or no time) left to begin."""
        left_s = self.deadline_s - now_s
        flying = {row for task in self._flying.values() for row in task.rows}
        idle = [row for row in self.unfinished() if row not in flying]
        if not idle or left_s <= 0 or self.deaths >= DEATHS:
            return None
        lowest = min(self._behind(self.reached[row]) for row in idle)
        level = [row for row in idle if self._behind(self.reached[row]) == lowest]
        rows = level[:1] if level[0] in self._alone else [row for row in level if row not in self._alone]
        if (untried := self._untried()) is not None and lowest <= untried:
            return self._task(rows[:TRIED_FIRST], lowest, len(self.steps), TRIAL_SHARE * left_s)
        rows = rows[: self.batch_size]
        spare_s = left_s - self._reserve_s(rows)
        if spare_s <= 0:
            return self._task(rows, lowest, lowest + 1, left_s)
        return self._task(rows, lowest, max(self._affordable(left_s), lowest + 1), spare_s)

    def _task(self, rows: Sequence[int], first: int, last: int, left_s: float) -> Task:
        steps = tuple(step for step in range(first, last) if step not in self.left_out)
        foreseen_s = tuple(len(rows) * (self.pace.of(step) or 0.0) for step in steps)
        limit_s = left_s
        if all(self.pace.of(step) is not None for step in steps):
            all_s = len(rows) * self.pace.reading_s + sum(foreseen_s)
            limit_s = min(left_s, PATIENCE * all_s + PATIENCE_S)
        self._numbers += 1
        task = Task(self._numbers, tuple(rows), steps, limit_s, foreseen_s)
        self._flying[task.number] = task
        return task

    def _reserve_s(self, rows: Sequence[int]) -> float:
        """Return what the photographs without any step, but for `rows`, need for their first, `SAFETY` times slower."""
        waiting = {row for row in range(self.rows) if row not in self.given_up and not self._reached_soon(row)}
        each_s = self.pace.reading_s + (self.pace.of(self._behind(0)) or 0.0)
        # A step that turns out slow is only noticed when it has ended.
        unnoticed_s = self.pace.longest_s * len(rows)
        return SAFETY * (each_s * len(waiting - set(rows)) / self.devices + unnoticed_s)

    def _behind(self, reached: int) -> int:
        """Skip the steps that are left out."""
        while reached < len(self.steps) and reached in self.left_out:
            reached += 1
        return reached

    def _untried(self) -> int | None:
        """Return the first step of a bundle of which no step was ever tried; None if all were."""
        return next(
            (i for i in range(len(self.steps)) if i not in self.left_out and self.pace.of(i) is None),
            None,
        )

    def _affordable(self, left_s: float) -> int:
        """Return how many steps all photographs can have in the time that is left."""
        reached = sorted(self._reached_soon(row) for row in range(self.rows) if row not in self.given_up)
        total_s, behind, most = 0.0, 0, 0
        for step in range(len(self.steps)):
            joined = behind
            while behind < len(reached) and reached[behind] <= step:
                behind += 1
            if step not in self.left_out:
                total_s += behind * (self.pace.of(step) or 0.0)
            total_s += (behind - joined) * self.pace.reading_s  # each is read once, whatever it then goes through
            if total_s / self.devices > left_s:
                break
            most = step + 1
        return most

    def _reached_soon(self, row: int) -> int:
        return max([self.reached[row], *(task.steps[-1] + 1 for task in self._flying.values() if row in task.rows)])

    def unfinished(self) -> list[int]:
        """Return the photographs that could have more steps."""
        return [
            row
            for row in range(self.rows)
            if row not in self.given_up and self._behind(self.reached[row]) < len(self.steps)
        ]

    # What became of it

    def on_step(self, task: Task, step: int, seconds: float) -> None:
        """Take up that a task has one more step behind it; `seconds` for all its photographs together."""
        self.pace.learn(step, seconds / len(task.rows))
        self._worked.add((self.steps[step].bundle, self.steps[step].fold))
        for row in task.rows:
            if row not in self.given_up:
                self.reached[row] = max(self.reached[row], step + 1)

    def on_end(self, task: Task) -> None:
        """Take up that nothing more comes of a task; what it has left undone is planned anew."""
        self._flying.pop(task.number, None)

    def give_up(self, rows: Iterable[int]) -> None:
        """Leave photographs as they are: they cannot be read."""
        self.given_up |= set(rows)

    def leave_out(self, bundle: int, fold: int) -> None:
        """Do without a fold that cannot be loaded or kills its workers."""
        self.left_out |= {i for i, step in enumerate(self.steps) if (step.bundle, step.fold) == (bundle, fold)}

    def on_death(self, tasks: Sequence[Task], step: int | None, device: str = "") -> tuple[list[int], Step | None]:
        """Take up that a worker died with these tasks on its hands, the first of them in the making at `step`.

        Its photographs are tried once more, one by one: the one that kills again is given up, and the fold that killed
        twice is left out, also if two photographs first passed for what killed. Where several devices work, what died
        on one of them only is not to blame: the device may be. Returns the photographs given up and a step of the fold
        left out.
        """
        self.deaths += 1
        for task in tasks:
            self.on_end(task)
        if not tasks or step is None:
            return [], None
        place = (self.steps[step].bundle, self.steps[step].fold)
        self._deaths_at.setdefault(place, []).append(device)
        suspects = tasks[0].rows
        given_up = [row for row in suspects if row in self._alone and self._is_guilty({*self._alone[row], device})]
        deadly = len(self._deaths_at[place]) >= DEATHS_OF_A_STEP and self._is_guilty(set(self._deaths_at[place]))
        if deadly and not given_up:
            self.leave_out(*place)
            return [], self.steps[step]
        victims = self._victims.setdefault(place, set())
        if given_up and victims and place not in self._worked:
            # Two photographs, each alone, at a fold that never worked: it is the fold.
            self.given_up -= victims
            self.leave_out(*place)
            return [], self.steps[step]
        victims |= set(given_up)
        for row in suspects:
            self._alone.setdefault(row, set()).add(device)
        self.give_up(given_up)
        return given_up, None

    def on_devices(self, names: Sequence[str]) -> None:
        """Take up which devices are left. What died on one that is not used any more is held against it alone."""
        self.devices = max(1, len(names))
        for deaths in self._deaths_at.values():
            deaths[:] = [device for device in deaths if device in names]
        self._alone = {row: died_on & {*names} for row, died_on in self._alone.items() if died_on & {*names}}

    def _is_guilty(self, died_on: set[str]) -> bool:
        return self.devices == 1 or len(died_on) > 1


def goes_on(task: Task, done: int, spent_s: float, spent_on_steps_s: float) -> bool:
    """Tell whether a task may begin its next step; the first is always begun.

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
    grows: bool  # false on a CPU, where nothing is gained and results shall not depend on timing
    seconds: float = float("inf")  # per photograph and step, at the size before

    LEAST_GAIN = 0.97  # of the time per photograph; a larger batch must save more than that

    def learn(self, rows: int, seconds: float) -> None:
        """Take up what a step of a full batch took; double while that pays."""
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
        """Take up that so many were too many for the memory."""
        self.largest = self.size = max(1, rows // 2)
        self.grows = False

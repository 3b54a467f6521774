"""The time is used and never overrun, whatever the device does; a fake clock stands for it."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_src.inference.schedule import BatchSize, PassSchedule, Task, goes_on
from kernel_src.inference.steps import Step, steps_by_value

STEPS = steps_by_value([range(3), range(2)], [4, 2], [0.4, 0.6])
READING_S = 0.01
Speed = Callable[[float, Step], float]  # time, step → seconds per photograph


def steady(_: float, step: Step) -> float:
    return 0.1 if step.bundle else 0.3


def simulate(limit_s: float, speed: Speed, images: int = 40, devices: int = 1) -> tuple[PassSchedule, float]:
    """Let devices work through a schedule as the workers do; return it and the time of its end."""
    schedule = PassSchedule(STEPS, images, deadline_s=limit_s, batch_size=8, devices=devices)
    free_at = [0.0] * devices
    while True:
        device = min(range(devices), key=lambda one: free_at[one])
        now = free_at[device]
        task = schedule.next_task(now)
        if task is None:
            return schedule, max(free_at)
        begun = now
        now += READING_S * len(task.rows)
        schedule.throughput.learn_reading(READING_S)
        on_steps = 0.0
        for done, step in enumerate(task.steps):
            if not goes_on(task, done, now - begun, on_steps):
                break
            seconds = speed(now, STEPS[step]) * len(task.rows)
            if now + seconds > limit_s:
                now = limit_s  # the notebook kills the worker at the deadline
                break
            now, on_steps = now + seconds, on_steps + seconds
            schedule.on_step(task, step, seconds)
        schedule.on_end(task)
        free_at[device] = now


def test_folds_come_before_views_and_the_larger_share_before_the_smaller() -> None:
    assert STEPS[:5] == [Step(1, 0, 0), Step(0, 0, 0), Step(1, 1, 0), Step(0, 1, 0), Step(0, 2, 0)]
    assert len(STEPS) == len(set(STEPS)) == 3 * 4 + 2 * 2
    assert [step.view for step in STEPS] == sorted(step.view for step in STEPS)


def test_with_enough_time_everything_is_computed_and_each_photograph_is_read_once() -> None:
    """Read once means decoded once, and its depth estimated once."""
    schedule, end_s = simulate(1e6, steady)
    assert schedule.reached == [len(STEPS)] * 40
    assert end_s == pytest.approx((sum(steady(0, step) for step in STEPS) + READING_S) * 40)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.8, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("slower_from", [None, 0.5])
def test_the_limit_is_kept_and_the_first_fold_comes_for_all_before_more(
    share: float, slower_from: float | None
) -> None:
    need_s = (sum(steady(0, step) for step in STEPS) + READING_S) * 40
    limit_s = share * need_s

    def speed(now: float, step: Step) -> float:
        return steady(now, step) * (10 if slower_from is not None and now > slower_from * limit_s else 1)

    schedule, end_s = simulate(limit_s, speed)
    assert end_s <= limit_s
    if slower_from is None:
        used = sum(sum(steady(0, step) for step in STEPS[:reached]) for reached in schedule.reached)
        assert used > 0.85 * min(limit_s, need_s) - 8 * 0.3, "the time is used"
        assert max(schedule.reached) - min(schedule.reached) <= len(STEPS) if share < 0.1 else 2
    if slower_from is not None and share >= 0.3:
        assert min(schedule.reached) >= 1, "one fold for every photograph, although the device became ten times slower"


@given(st.floats(0.02, 1.5), st.floats(0.02, 1.5), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_more_time_never_gives_less(one: float, other: float, devices: int) -> None:
    need_s = sum(steady(0, step) for step in STEPS) * 40 / devices
    less, more = sorted((one, other))
    few, many = (simulate(share * need_s, steady, devices=devices)[0] for share in (less, more))
    batch = 8 * devices  # what the deadline may cut off differs by a batch
    assert sum(many.reached) >= sum(few.reached) - batch
    assert many.reached.count(0) <= few.reached.count(0)


def test_a_device_that_becomes_faster_computes_more_of_the_early_ones_too() -> None:
    need_s = sum(steady(0, step) for step in STEPS) * 40
    schedule, _ = simulate(0.6 * need_s, lambda now, step: steady(now, step) * (1.0 if now < 0.2 * need_s else 0.2))
    assert schedule.reached == [len(STEPS)] * 40


def test_two_devices_share_the_photographs_and_none_is_computed_twice() -> None:
    schedule, end_s = simulate(1e6, steady, devices=2)
    assert schedule.reached == [len(STEPS)] * 40
    assert end_s < 0.6 * (sum(steady(0, step) for step in STEPS) + 2 * READING_S) * 40


def test_photographs_given_up_and_folds_left_out_are_not_begun_again() -> None:
    schedule = PassSchedule(STEPS, 3, deadline_s=1e6, batch_size=8)
    schedule.give_up([1])
    schedule.leave_out(1, 0)
    seen: set[int] = set()
    while (task := schedule.next_task(0.0)) is not None:
        assert 1 not in task.rows
        for step in task.steps:
            seen.add(step)
            schedule.on_step(task, step, 0.1)
        schedule.on_end(task)
    assert {STEPS[step] for step in seen} == {step for step in STEPS if (step.bundle, step.fold) != (1, 0)}


def begin(schedule: PassSchedule) -> Task:
    task = schedule.next_task(0.0)
    assert task is not None
    return task


def test_after_a_crash_with_several_photographs_nothing_is_blamed() -> None:
    """The batch may have been too large for the memory, in whatever way the process ended."""
    schedule = PassSchedule(STEPS[:1], 8, deadline_s=1e6, batch_size=8)
    for size in (8, 4, 2):
        schedule.batch_size = size
        assert schedule.on_crash([begin(schedule)], 0) == ([], None)
    assert not schedule.crashes and not schedule.given_up and not schedule.left_out


def test_a_photograph_that_kills_twice_by_itself_is_given_up_and_the_others_are_not() -> None:
    schedule = PassSchedule(STEPS[:1], 3, deadline_s=1e6, batch_size=1)
    first, again = begin(schedule), None
    assert schedule.on_crash([first], 0) == ([], None)
    again = begin(schedule)
    assert first.rows == again.rows == (0,)
    assert schedule.on_crash([again], 0) == ([0], None)
    assert begin(schedule).rows == (1,)


def test_two_photographs_that_kill_do_not_cost_their_fold_where_it_works_with_others() -> None:
    schedule = PassSchedule(STEPS[:2], 6, deadline_s=1e6, batch_size=1)
    for _ in range(6):
        task = begin(schedule)
        if task.rows[0] in (0, 3):
            assert not schedule.left_out
            schedule.on_crash([task], task.steps[0])
            continue
        for step in task.steps:
            schedule.on_step(task, step, 0.1)
        schedule.on_end(task)
    assert schedule.given_up == {0, 3} and not schedule.left_out


def test_a_fold_that_kills_with_different_photographs_is_left_out_and_they_are_not_given_up() -> None:
    schedule = PassSchedule(STEPS[:4], 6, deadline_s=1e6, batch_size=1)
    one, other = begin(schedule), begin(schedule)
    assert set(one.rows).isdisjoint(other.rows)
    assert schedule.on_crash([one], 0) == ([], None)
    assert schedule.on_crash([other], 0) == ([], STEPS[0])
    assert 0 in schedule.left_out and not schedule.given_up
    schedule = PassSchedule(STEPS[:4], 6, deadline_s=1e6, batch_size=1)
    assert [schedule.on_crash([begin(schedule)], 0) for _ in range(2)] == [([], None), ([0], None)]
    assert schedule.on_crash([begin(schedule)], 0) == ([], STEPS[0]), "two photographs, each by itself: the fold"
    assert not schedule.given_up


def test_a_worker_that_hung_with_several_has_them_tried_one_by_one() -> None:
    """Halving again and again would cost minutes each time."""
    schedule = PassSchedule(STEPS[:1], 4, deadline_s=1e6, batch_size=4)
    schedule.throughput.learn(0, 0.1)
    assert schedule.on_crash([begin(schedule)], 0, hung=True) == ([], None)
    assert begin(schedule).rows == (0,)


def test_a_gpus_batch_grows_while_it_pays_and_a_crowded_memory_is_remembered() -> None:
    batch = BatchSize(size=16, largest=64, grows=True)
    batch.learn(16, 1.6)
    batch.learn(32, 1.6)
    assert batch.size == 64
    batch.learn(64, 6.4)
    assert batch.size == 32, "64 at once were slower for each"
    batch.shrink(32)
    batch.learn(16, 0.1)
    assert batch.size == 16
    steady_size = BatchSize(size=16, largest=64, grows=False)
    steady_size.learn(16, 0.1)
    assert steady_size.size == 16


def test_a_crash_halves_the_batch_until_its_cause_is_found() -> None:
    batch = BatchSize(size=32, largest=64, grows=True)
    batch.on_crash(32)
    assert batch.size == 16
    batch.learn(16, 0.001)
    assert batch.size == 16, "it does not grow back into the same crash"
    batch.on_crash(16)
    batch.on_crash(8)
    assert batch.size == 4
    batch.on_cause()
    assert (batch.size, batch.largest) == (32, 64), "it was a photograph, and not the size"
    batch.on_crash(32)
    batch.shrink(4)
    batch.on_cause()
    assert batch.size == 2, "what the memory was too small for is not forgotten"


def test_what_dies_on_one_device_of_two_only_is_not_blamed_on_the_fold_or_the_photograph() -> None:
    """A GPU that fails again and again must not cost the other one its folds."""
    schedule = PassSchedule(STEPS[:4], 6, deadline_s=1e6, batch_size=1, devices=2)
    for _ in range(4):
        task = schedule.next_task(0.0)
        assert task is not None
        assert schedule.on_crash([task], 0, "cuda 1") == ([], None)
    task = schedule.next_task(0.0)
    assert task is not None
    assert schedule.on_crash([task], 0, "cuda 0") != ([], None), "on both it is the photograph or the fold"


def test_what_died_on_a_device_that_is_given_up_is_held_against_that_device_alone() -> None:
    """One GPU dies for good; a single death on the other is then a first one, of a photograph or of chance."""
    schedule = PassSchedule(STEPS[:4], 6, deadline_s=1e6, batch_size=1, devices=2)
    for _ in range(5):
        assert schedule.on_crash([begin(schedule)], 0, "cuda 1") == ([], None)
    schedule.on_devices(["cuda 0"])
    first = begin(schedule)
    assert schedule.on_crash([first], 0, "cuda 0") == ([], None), "neither a fold nor a photograph is lost by one death"
    alone = begin(schedule)
    assert alone.rows == first.rows, "now on trial"
    assert schedule.on_crash([alone], 0, "cuda 0") == ([0], None), "and there is no other device to ask any more"
    assert not schedule.left_out


# Folds that one device cannot load, and folds that are loaded anew


def finish(schedule: PassSchedule, task: Task) -> None:
    for step in task.steps:
        schedule.on_step(task, step, 0.1 * len(task.rows))
    schedule.on_end(task)


def test_a_fold_that_one_device_cannot_load_is_computed_by_the_other() -> None:
    schedule = PassSchedule(STEPS, 20, deadline_s=1e6, batch_size=4, devices=2)
    schedule.on_devices(["cuda 0", "cuda 1"])
    schedule.cannot("cuda 1", 0, 1)
    done: list[tuple[int, int]] = []  # photograph, step
    while (tasks := [(name, schedule.next_task(0.0, name)) for name in ("cuda 0", "cuda 1")]) != [
        ("cuda 0", None),
        ("cuda 1", None),
    ]:
        for name, task in tasks:
            if task is not None:
                assert name == "cuda 0" or all(STEPS[step][:2] != (0, 1) for step in task.steps)
                done += [(row, step) for row in task.rows for step in task.steps]
                finish(schedule, task)
    assert sorted(done) == [(row, step) for row in range(20) for step in range(len(STEPS))], "each once, by somebody"
    assert schedule.reached == [len(STEPS)] * 20 and not schedule.unfinished()


def test_a_fold_that_no_device_can_load_is_left_out_and_one_to_be_tried_again_is_not() -> None:
    schedule = PassSchedule(STEPS, 4, deadline_s=1e6, batch_size=4, devices=2)
    schedule.on_devices(["cuda 0", "cuda 1"])
    schedule.cannot("cuda 0", 1, 0)
    schedule.cannot("cuda 1", 1, 0, once_more=True)
    assert not schedule.left_out
    seen = []
    while (task := schedule.next_task(0.0, "cuda 1")) is not None:
        seen += [STEPS[step][:2] for step in task.steps]
        finish(schedule, task)
    assert seen[-2:] == [(1, 0)] * 2 and (1, 0) not in seen[:-2], "when all else is done"
    schedule.cannot("cuda 1", 1, 0)
    assert {STEPS[step][:2] for step in schedule.left_out} == {(1, 0)}


@pytest.mark.parametrize("load_s", [0.0, 2.0, 20.0])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0, 1.5])
def test_the_limit_is_kept_where_folds_are_loaded_anew_and_little_time_goes_into_that(
    load_s: float, share: float
) -> None:
    """Three folds of one bundle; only the first stays on the device."""
    steps = steps_by_value([range(3)], [4], [1.0])
    need_s = 0.2 * len(steps) * 200
    schedule = PassSchedule(steps, 200, deadline_s=share * need_s, batch_size=8)
    there, now, loading_s = 0, 0.0, 0.0
    for fold in (1, 2):
        if load_s:
            schedule.on_load(0, fold, load_s)
    while (task := schedule.next_task(now)) is not None:
        begun, on_steps = now, 0.0
        for done, step in enumerate(task.steps):
            if not goes_on(task, done, now - begun, on_steps):
                break
            fold, spent = steps[step].fold, 0.2 * len(task.rows)
            if fold and fold != there and load_s:
                there, spent, loading_s = fold, spent + load_s, loading_s + load_s
            if now + spent > schedule.deadline_s:
                now = schedule.deadline_s
                break
            now, on_steps = now + spent, on_steps + spent
            schedule.on_step(task, step, 0.2 * len(task.rows))
        schedule.on_end(task)
    assert now <= schedule.deadline_s
    if share >= 0.4:
        assert loading_s <= max(0.2 * now, 4 * load_s)
    if share == 1.5:
        assert schedule.reached == [len(steps)] * 200
    if share >= 0.1 and load_s < 20:
        passes = sum(schedule.reached) + sum(map(len, schedule._ahead.values()))
        assert passes * 0.2 + loading_s > 0.7 * min(1.0, share) * need_s, "the time is used"

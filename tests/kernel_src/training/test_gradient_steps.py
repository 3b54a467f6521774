"""A step is the same whatever went wrong on the way to it, and all processes do the same about it."""

import math
import re
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kernel_src.training.gradient_steps import (
    LEFT_OUT_BATCHES,
    Blame,
    GradientSteps,
    HalfPrecisionFailed,
    StepReport,
    TrainingDiverged,
)

RATE = 0.1
FINE = torch.linspace(-1, 1, 8 * 3).reshape(8, 3)
BROKEN = torch.full((8, 3), float("nan"))


class Bench:
    """One process: a small net with a batch norm, plain gradient descent, and accidents on demand."""

    def __init__(self, *, half: bool = False, processes: int = 1, limit: int = 99, clip_norm: float = 0.0) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).train()
        self.optimizer = torch.optim.SGD(self.net.parameters(), RATE)
        self.said: list[str] = []
        self.limit = limit  # photographs at once that the memory bears
        self.sizes: list[int] = []  # that were computed
        self.steps = GradientSteps(
            self.net,
            self.optimizer,
            device=torch.device("cpu"),
            half=half,
            clip_norm=clip_norm,
            processes=processes,
            say=self.said.append,
        )

    def take(self, batches: Sequence[torch.Tensor], *, time_is_up: bool = False, labels: bool = False) -> StepReport:
        def add_gradients(i: int) -> torch.Tensor:
            total = torch.zeros(())
            for part in batches[i].split(math.ceil(len(batches[i]) / self.steps.parts)):
                if len(part) > self.limit:
                    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
                self.sizes.append(len(part))
                loss = self.net(part).square().mean() * (len(part) / len(batches[i]))
                self.steps.scaler.scale(loss).backward()
                total += loss.detach()
            return total

        def blame(i: int) -> Blame:
            bad = not torch.isfinite(batches[i]).all()
            return Blame(f"batch {i} is broken", labels) if bad else Blame("")

        sizes = [len(batch) for batch in batches]
        return self.steps.take(sizes, add_gradients, blame, lambda: time_is_up)

    def state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.net.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def gradient_norm(batches: int, clip_norm: float = 0.0) -> float:
    """How far a step of so many equal batches moves, over the rate."""
    bench = Bench(clip_norm=clip_norm)
    before = torch.cat([p.detach().flatten().clone() for p in bench.net.parameters()])
    bench.take([FINE] * batches)
    after = torch.cat([p.detach().flatten() for p in bench.net.parameters()])
    return float((before - after).norm()) / RATE


def test_a_step_of_fewer_batches_is_divided_by_those_that_are_there() -> None:
    """The last group of an epoch: 60, 45 and 21 were the norms of four, three and one or so of four equal batches."""
    assert [gradient_norm(batches) for batches in (1, 2, 3)] == pytest.approx([gradient_norm(4)] * 3, rel=1e-4)


def test_gradients_are_clipped_after_they_were_divided() -> None:
    assert gradient_norm(3, clip_norm=1e-3) == pytest.approx(1e-3, rel=1e-3)


# Out of memory


def test_out_of_memory_cuts_every_batch_until_it_fits_and_says_what_that_means() -> None:
    bench = Bench(limit=3)
    report = bench.take([FINE, FINE])
    assert bench.steps.parts == 4 and set(bench.sizes) == {2}
    assert report.left_out == 0 and report.moved
    assert [re.findall(r"at (\d+) photographs|computed (\d+) at", line) for line in bench.said] == [
        [("8", ""), ("", "4")],
        [("4", ""), ("", "2")],
    ]
    assert "Batch norm takes its statistics of 4 photographs in place of 8" in bench.said[0]


def test_after_out_of_memory_the_step_is_bit_for_bit_that_of_a_training_begun_so() -> None:
    bench, begun_so = Bench(limit=4), Bench()
    begun_so.steps.parts = 2
    for each in (bench, begun_so):
        each.take([FINE, FINE[:6]])
    assert same(bench.state(), begun_so.state()), "the batch norm remembers what was dropped"


def test_without_batch_norm_nothing_is_said_about_it() -> None:
    bench = Bench(limit=4)
    bench.steps.model = nn.Sequential(nn.Linear(3, 1))
    bench.steps._cut_batches(8)
    assert "Batch norm" not in bench.said[0]


def test_where_not_even_one_photograph_fits_the_error_says_what_helps() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="one photograph at a time. Cure: encoder.checkpointing=True"):
        Bench(limit=0).take([FINE])


def test_another_error_is_not_taken_for_it() -> None:
    bench = Bench()
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes"):
        bench.take([torch.zeros(2, 5)])
    assert bench.steps.parts == 1


# Not finite


def test_in_fp16_a_batch_that_is_not_finite_leaves_no_trace() -> None:
    bench, without = Bench(half=True), Bench(half=True)
    report = bench.take([FINE, BROKEN, FINE[:4]])
    without.take([FINE, FINE[:4]])
    assert same(bench.state(), without.state())
    assert len(report.losses) == 2 and report.left_out == 1 and all(math.isfinite(loss) for loss in report.losses)
    assert bench.said == [f"left out, 1 of at most {LEFT_OUT_BATCHES} in fp16: batch 1 is broken"]


def test_a_step_without_any_good_batch_moves_nothing() -> None:
    bench = Bench(half=True)
    before = bench.state()
    assert bench.take([BROKEN], time_is_up=True) == StepReport((), 1, False, True)
    assert same(bench.state(), before)


def test_more_than_a_few_of_them_are_half_precisions_failure() -> None:
    bench = Bench(half=True)
    for _ in range(LEFT_OUT_BATCHES):
        bench.take([BROKEN, FINE])
    with pytest.raises(HalfPrecisionFailed, match="6 batches were not finite in fp16; the last: batch 0 is broken"):
        bench.take([BROKEN, FINE])


def test_in_fp32_one_is_enough_and_so_is_one_with_broken_labels() -> None:
    with pytest.raises(TrainingDiverged, match="batch 1 is broken"):
        Bench().take([FINE, BROKEN])
    with pytest.raises(TrainingDiverged, match="batch 0 is broken"):
        Bench(half=True).take([BROKEN], labels=True)


def test_gradients_that_overflow_cost_a_step_and_at_every_scale_the_half_precision() -> None:
    bench = Bench(half=True)
    for parameter in bench.net.parameters():
        parameter.register_hook(lambda gradient: gradient * float("inf"))
    before = [p.detach().clone() for p in bench.net.parameters()]
    report = bench.take([FINE])
    assert not report.moved and all(torch.equal(a, b) for a, b in zip(before, bench.net.parameters(), strict=True))
    with pytest.raises(HalfPrecisionFailed, match="overflow in fp16 at every scale"):
        for _ in range(40):
            bench.take([FINE])


# Two processes


def in_two_processes(folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(rank)` in two processes that are joined by gloo; return what each returns."""
    context = get_context("fork")
    answers: Any = context.Queue()

    def body(rank: int) -> None:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
        )
        try:
            answers.put((rank, work(rank)))
        except Exception:
            answers.put((rank, traceback.format_exc()))

    processes = [context.Process(target=body, args=(rank,), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=60) for _ in processes)  # one that waits for the other for ever is the failure
    for process in processes:
        process.join(5)
        process.kill()
    return [found[0], found[1]]


def lists(bench: Bench) -> dict[str, Any]:
    return {name: tensor.tolist() for name, tensor in bench.net.state_dict().items()}


def test_out_of_memory_in_one_process_cuts_the_batches_of_both(tmp_path: Path) -> None:
    def work(rank: int) -> Any:
        bench = Bench(processes=2, limit=99 if rank else 2)
        bench.take([FINE[:4] * (rank + 1), FINE[4:]])
        return bench.steps.parts, [lists(bench)[name] for name in ("0.weight", "2.bias")]

    one, two = in_two_processes(tmp_path, work)
    assert one == two and one[0] == 2


def test_a_loss_that_one_process_cannot_compute_is_left_out_by_both_and_both_know_why(tmp_path: Path) -> None:
    def work(rank: int) -> Any:
        bench = Bench(processes=2, half=True)
        report = bench.take([BROKEN if rank else FINE, FINE])
        return report.left_out, len(report.losses), bench.said, lists(bench)["0.weight"]

    one, two = in_two_processes(tmp_path, work)
    assert one == two and one[:2] == (1, 1) and "batch 0 is broken" in one[2][0]


def test_both_processes_fail_at_the_same_step_for_the_same_reason(tmp_path: Path) -> None:
    def work(rank: int) -> Any:
        bench = Bench(processes=2)
        try:
            bench.take([FINE, FINE if rank else BROKEN])
        except TrainingDiverged as error:
            return str(error)

    assert in_two_processes(tmp_path, work) == ["batch 1 is broken"] * 2


def test_two_processes_make_the_step_of_one_that_sees_all_photographs_and_agree_about_the_time(tmp_path: Path) -> None:
    def without_batch_norm(bench: Bench) -> Bench:
        bench.net[1] = nn.Identity()
        return bench

    def work(rank: int) -> Any:
        bench = without_batch_norm(Bench(processes=2))
        report = bench.take([FINE[rank * 4 : rank * 4 + 4]] * 3, time_is_up=rank == 1)
        return report.time_is_up, lists(bench)

    alone = without_batch_norm(Bench())
    alone.take([FINE] * 3)
    for is_up, weights in in_two_processes(tmp_path, work):
        assert is_up
        for name, values in lists(alone).items():
            assert torch.tensor(weights[name]).numpy() == pytest.approx(torch.tensor(values).numpy(), rel=1e-5)

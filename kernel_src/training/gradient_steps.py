"""## One optimiser step

The batches of one step are computed one after another and their gradients added up. Only then do the processes, one for
each device, put side by side how it went, so that all of them do the same about it:

1. Out of memory anywhere: every batch is cut into twice as many micro-batches, and the step is computed again.
2. A loss that is not finite: the step is computed again without that batch. Only fp16 may leave batches out, and only a
   few of a whole training; after that, and in fp32 at once, the training of this fold has failed.
3. Else the gradients are summed over the processes, divided by the batches that are there, and applied.

A computation that is dropped leaves no trace: the batch norms get their statistics back, so that the step is the very
one that would have been made without the accident. Processes that met only inside the backward pass (as DDP's do) would
wait for ever for the one that ran out of memory.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import nn

from kernel_src.runtime.memory import is_out_of_memory

LEFT_OUT_BATCHES = 5  # of one training, in fp16, because their loss was not finite
LEAST_SCALE = 1.0  # of fp16's gradients; below it they vanish, and what still overflows does so in earnest
BUCKET_NUMBERS = 1 << 23  # gradients that are summed over the processes at once, 32 MB


class TrainingDiverged(FloatingPointError):
    """The loss stopped being a number; the message says where and why."""


class HalfPrecisionFailed(Exception):
    """Too much is not finite in fp16; every process gets it at the same step."""


class Blame(NamedTuple):
    """Why the loss of a batch is not finite, as one process sees it."""

    cause: str  # in one line; empty: it is finite here
    labels: bool = False  # the batch itself is at fault, and no arithmetic can help


class StepReport(NamedTuple):
    """What came of one step, the same in every process."""

    losses: tuple[float, ...]  # of the batches that counted, means over the processes
    left_out: int  # batches whose loss was not finite
    moved: bool  # False: half precision found no scale for its gradients this time
    time_is_up: bool  # some process says so


# %%
class GradientSteps:
    """Takes steps with one model; `parts` and `left_out` outlast it in the checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        half: bool,
        clip_norm: float,
        processes: int,
        say: Callable[[str], object],
    ) -> None:
        """Take what is trained; `say` prints once for all processes."""
        self.model, self.optimizer, self.device, self.half = model, optimizer, device, half
        self.clip_norm, self.processes, self.say = clip_norm, processes, say
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        self.parts = 1  # micro-batches that every batch is cut into
        self.left_out = 0  # batches so far

    def take(
        self,
        batch_sizes: Sequence[int],
        add_gradients: Callable[[int], torch.Tensor],
        blame: Callable[[int], Blame],
        is_time_up: Callable[[], bool],
    ) -> StepReport:
        """Make one step of batches that hold so many photographs in this process.

        `add_gradients(i)` computes batch i in `parts` micro-batches, adds its scaled gradients to those that are there
        and returns its loss, a scalar. `blame(i)` is asked in every process about a batch that is not finite in
        one of them.

        Raises:
            HalfPrecisionFailed: another batch is not finite in fp16, or its gradients overflow at every scale.
            TrainingDiverged: a loss is not finite in fp32, or the labels of a batch are not.
            torch.OutOfMemoryError: there is too little memory even for one photograph.
        """
        left, left_out = list(range(len(batch_sizes))), 0
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        while left:
            losses, out_of_memory = self._compute(left, add_gradients)
            answers = self._agree([float(out_of_memory), float(is_time_up()), *losses])  # (processes, 2 + batches)
            if bool(answers[:, 0].any()):
                self._drop(buffers)
                self._cut_batches(max(batch_sizes))
                continue
            finite = torch.isfinite(answers[:, 2:]).all(0).tolist()
            if all(finite):
                moved = self._apply(len(left))
                means = tuple(answers[:, 2:].mean(0).tolist())
                return StepReport(means, left_out, moved, bool(answers[:, 1].any()))
            self._drop(buffers)
            bad = [place for place, good in zip(left, finite, strict=True) if not good]
            left = [place for place in left if place not in bad]
            left_out += len(bad)
            self._leave_out(bad, blame)
            self._drop(buffers)  # of what looking for the cause has left
        return StepReport((), left_out, False, bool(self._agree([float(is_time_up())]).any()))

    def _compute(self, left: Sequence[int], add_gradients: Callable[[int], torch.Tensor]) -> tuple[list[float], bool]:
        """Return the losses of the batches, or NaN and that the memory was too little."""
        reserved: list[torch.Tensor] = []
        try:
            if self.device.type == "cuda" and not self.optimizer.state:
                # The optimiser makes its state at the first step, when it is too late to ask whether there is room.
                self._reserve(reserved)
            losses = [add_gradients(place) for place in left]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return [math.nan] * len(left), True
        finally:
            reserved.clear()
        return torch.stack(losses).double().tolist(), False

    def _reserve(self, reserved: list[torch.Tensor]) -> None:
        """Hold as much memory as AdamW's two moments will take."""
        for group in self.optimizer.param_groups:
            reserved += [torch.empty_like(p) for p in group["params"] for _ in range(2)]

    def _agree(self, numbers: Sequence[float]) -> torch.Tensor:
        """Return what every process says, (processes, numbers)."""
        mine = torch.tensor(list(numbers), dtype=torch.float64)
        if self.processes == 1:
            return mine[None]
        mine = mine.float().to(self.device)
        gathered = [torch.empty_like(mine) for _ in range(self.processes)]
        torch.distributed.all_gather(gathered, mine)
        return torch.stack(gathered).double().cpu()

    def _drop(self, buffers: dict[str, torch.Tensor]) -> None:
        """Forget a computation: its gradients, and what its photographs did to the batch norms."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _cut_batches(self, largest: int) -> None:
        """Halve the micro-batches.

        Raises:
            torch.OutOfMemoryError: they hold one photograph each already.
        """
        before = math.ceil(largest / self.parts)
        if before == 1:
            raise torch.OutOfMemoryError(
                "out of memory with one photograph at a time. Cure: encoder.checkpointing=True, smaller "
                "pictures.height_px and pictures.width_px, or a larger machine.shape"
            )
        self.parts *= 2
        after = math.ceil(largest / self.parts)
        line = (
            f"out of memory at {before} photographs at once: each batch is computed {after} at a time from now on, "
            f"in {self.parts} parts whose gradients are added up; a step is made of the same photographs as before"
        )
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.model.modules()):
            line += f". Batch norm takes its statistics of {after} photographs in place of {before}, which is noisier"
        self.say(line)

    def _leave_out(self, bad: Sequence[int], blame: Callable[[int], Blame]) -> None:
        """Note batches whose loss is not finite, and say so.

        Raises:
            HalfPrecisionFailed: there were too many of them.
            TrainingDiverged: it is not half precision's fault.
        """
        cause, labels = self._first_word([blame(place) for place in bad])
        if not self.half or labels:
            raise TrainingDiverged(cause)
        self.left_out += len(bad)
        if self.left_out > LEFT_OUT_BATCHES:
            raise HalfPrecisionFailed(f"{self.left_out} batches were not finite in fp16; the last: {cause}")
        self.say(f"left out, {self.left_out} of at most {LEFT_OUT_BATCHES} in fp16: {cause}")

    def _first_word(self, blames: Sequence[Blame]) -> Blame:
        """Return the first cause that any process found, one in the labels before others."""
        gathered: list[Any] = [[tuple(blame) for blame in blames]]  # as plain values, which a notebook can send
        if self.processes > 1:
            mine, gathered = gathered[0], [None] * self.processes
            torch.distributed.all_gather_object(gathered, mine)
        known = [Blame(*blame) for blames_of_one in gathered for blame in blames_of_one if blame[0]]
        return max(known, key=lambda blame: blame.labels, default=Blame("the loss is not finite"))

    def _apply(self, batches: int) -> bool:
        """Bring the summed gradients to the mean over processes and batches, and let the optimiser move.

        Returns whether it did.

        Raises:
            HalfPrecisionFailed: the gradients overflow however little they are scaled.
        """
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.processes > 1:
            _sum_over_processes(gradients)
        if batches * self.processes > 1:
            torch._foreach_mul_(gradients, 1 / (batches * self.processes))
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], self.clip_norm)
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        after = self.scaler.get_scale()
        if after < LEAST_SCALE:
            raise HalfPrecisionFailed("the gradients overflow in fp16 at every scale")
        return after >= before  # it is lowered when the gradients were not finite, and the step was left out


# %%
def _sum_over_processes(gradients: Sequence[torch.Tensor]) -> None:
    """Add up the gradients of all processes, in place; a few large messages instead of hundreds of small ones."""
    start = 0
    while start < len(gradients):
        end, numbers = start, 0
        while end < len(gradients) and (end == start or numbers + gradients[end].numel() <= BUCKET_NUMBERS):
            numbers += gradients[end].numel()
            end += 1
        bucket = torch.cat([gradient.flatten() for gradient in gradients[start:end]])
        torch.distributed.all_reduce(bucket)
        for gradient, summed in zip(
            gradients[start:end], bucket.split([g.numel() for g in gradients[start:end]]), strict=True
        ):
            gradient.copy_(summed.view(gradient.shape))
        start = end

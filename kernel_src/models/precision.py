"""## Half precision or full

fp16 is several times as fast on a T4, and most networks bear it; some do not: their feature maps grow past 65504, or
lose so many digits that the output is another. So `auto` lets the network itself decide: a few photographs are computed
both ways and compared. bf16 is never used: a T4 (sm_75) only emulates it, although torch says that it is supported.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

COMPARED_PHOTOGRAPHS = 4  # enough to see a network that overflows; in fp32 they need twice the memory
LARGEST_DIFFERENCE = 0.05  # of fp16 from fp32, as a share of the spread; where fp16 is precise enough it is some 0.001


class PrecisionChoice(NamedTuple):
    """Whether to compute in fp16, and why."""

    half: bool
    why: str

    @property
    def name(self) -> str:
        """Name the precision as the experiment does."""
        return "fp16" if self.half else "fp32"


def precision_difference(half: torch.Tensor, full: torch.Tensor) -> float:
    """Return by how much fp16's outputs (B, …) differ from fp32's, as a share of the spread; infinite where not finite.

    Root mean squares. The spread is that of the fp32 outputs around zero, so give z-scores or features, not values.
    """
    half, full = half.detach().double(), full.detach().double()
    if not bool(torch.isfinite(half).all()) and bool(torch.isfinite(full).all()):
        return float("inf")
    both = torch.isfinite(half) & torch.isfinite(full)  # what fp32 cannot compute either is not fp16's fault
    if not bool(both.any()):
        return 0.0
    difference = (half[both] - full[both]).square().mean().sqrt()
    spread = full[both].square().mean().sqrt()
    return float(difference / spread) if float(spread) else float("inf") if float(difference) else 0.0


def choose_precision(wanted: str, can_half: bool, compute: Callable[[bool], torch.Tensor]) -> PrecisionChoice:
    """Decide for one network; `wanted` is one of `PRECISIONS`, `can_half` whether the device is fast in fp16.

    `compute(half)` returns the network's outputs (B, …) for the same few photographs in fp16 (True) or fp32 (False),
    without dropout and without changing anything; it is called only where `auto` has something to decide.
    """
    if not can_half:
        return PrecisionChoice(False, "this device has no fast fp16")
    if wanted != "auto":
        return PrecisionChoice(wanted == "fp16", "the experiment says so")
    difference = precision_difference(compute(True), compute(False))
    if difference == float("inf"):
        return PrecisionChoice(False, "compared with fp32, fp16 gives numbers that are not finite")
    seen = f"fp16 differs from fp32 by {difference:.2%} of the spread of its outputs"
    if difference > LARGEST_DIFFERENCE:
        return PrecisionChoice(False, f"{seen}, more than the {LARGEST_DIFFERENCE:.0%} that rounding explains")
    return PrecisionChoice(True, seen)

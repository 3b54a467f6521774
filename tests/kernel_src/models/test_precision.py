"""fp16 is used where the experiment says so, or where a comparison shows that the network bears it."""

import pytest
import torch

from kernel_src.models.precision import PrecisionChoice, choose_precision, precision_difference
from kernel_src.recipes.changes import changed
from tests.kernel_src.tiny import TINY

FULL = torch.tensor([[1.0, -2.0, 0.5], [0.1, 3.0, -1.0]])


def never(half: bool) -> torch.Tensor:
    raise AssertionError("nothing is left to compare")


def test_what_the_experiment_says_is_done_without_a_comparison() -> None:
    assert choose_precision("fp16", True, never) == PrecisionChoice(True, "the experiment says so")
    assert choose_precision("fp32", True, never) == PrecisionChoice(False, "the experiment says so")


@pytest.mark.parametrize("wanted", ["fp16", "fp32", "auto"])
def test_a_device_without_fast_fp16_computes_in_fp32(wanted: str) -> None:
    assert choose_precision(wanted, False, never) == PrecisionChoice(False, "this device has no fast fp16")


def test_auto_takes_fp16_where_it_differs_by_rounding_alone_and_says_by_how_much() -> None:
    choice = choose_precision("auto", True, lambda half: FULL.half() * 1.001 if half else FULL)
    assert choice.half and choice.name == "fp16" and "differs from fp32 by 0.1" in choice.why


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_auto_takes_fp32_where_one_number_overflows(broken: float) -> None:
    half = FULL.clone()
    half[1, 2] = broken
    choice = choose_precision("auto", True, lambda is_half: half if is_half else FULL)
    assert choice == PrecisionChoice(False, "compared with fp32, fp16 gives numbers that are not finite")
    assert choice.name == "fp32"


def test_auto_takes_fp32_where_fp16_is_finite_and_something_else() -> None:
    choice = choose_precision("auto", True, lambda half: FULL * 1.2 if half else FULL)
    assert not choice.half and "20.00%" in choice.why


def test_what_fp32_cannot_compute_either_is_not_the_fault_of_fp16() -> None:
    broken = torch.full_like(FULL, float("nan"))
    assert precision_difference(broken, broken) == 0.0
    assert precision_difference(torch.zeros(2), torch.zeros(2)) == 0.0
    assert precision_difference(torch.ones(2), torch.zeros(2)) == float("inf")


def test_a_real_network_in_fp16_is_told_from_one_that_overflows() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5)).eval()
    pictures = torch.rand(4, 8)

    @torch.no_grad()
    def compute(half: bool) -> torch.Tensor:
        with torch.autocast("cpu", torch.float16, enabled=half):
            output: torch.Tensor = network(pictures)
        return output

    assert choose_precision("auto", True, compute).half
    with torch.no_grad():
        network[0].weight.mul_(1e5)
        network[2].weight.mul_(1e-5)
    assert not choose_precision("auto", True, compute).half


@pytest.mark.parametrize("word", ["bf16", "half", ""])
def test_no_other_precision_can_be_asked_for(word: str) -> None:
    with pytest.raises(ValueError, match=r"precision=.* is not one of auto, fp16, fp32"):
        changed(TINY, {"encoder.precision": word})

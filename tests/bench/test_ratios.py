"""What the bench promises, on a net small enough for a test: a guard against a step back, not the measurement.

The limits come from ten repetitions (docs/performance.md). Seconds are the processor's, so other work on the machine
hardly moves them.
"""

import pytest

from bench.guard import ratios
from bench.memory import measure_growth

pytestmark = pytest.mark.full


def test_our_inference_stays_near_its_floor_and_well_below_the_seeds_way() -> None:
    found = ratios()
    assert found["overhead"] < 2.0
    assert found["seed"] > 1.6


def test_memory_does_not_grow_with_the_number_of_photographs() -> None:
    assert measure_growth(few=16, many=128, rounds=1)[0]["value"] < 1.05

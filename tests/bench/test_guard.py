"""A guard on ratios that are stable anywhere; bench/guard.py says how stable, and what the bounds would notice."""

import json
import os
import subprocess
import sys

import pytest

from bench.guard import LEAST_OVER_SEED, LEAST_READ_SPEEDUP, MOST_OVERHEAD
from bench.run import ROOT


@pytest.mark.full
def test_no_work_is_done_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.guard"],
        cwd=ROOT,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["overhead"] <= MOST_OVERHEAD, "our inference over its forward passes alone"
    assert found["seed"] >= LEAST_OVER_SEED, "the seed's way over our inference"
    assert found["read"] >= LEAST_READ_SPEEDUP, "decoding over reading from the training's cache"

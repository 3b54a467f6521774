"""Killed at any moment after the first cell, the notebook leaves a complete, valid submission behind."""

import json
import os
import random
import time
from pathlib import Path

import pytest

from build.core.submission_file import read_column, submission_problems
from tests.kernel_src.faults.forking import Forked, run_cells
from tests.kernel_src.faults.planting import ALONE, Plant, Stage, planted_notebook, rehearse_planted
from tests.kernel_src.kernels.running import lay_out_kaggle

# Slow enough that a kill hits every part of the prediction: 14 photographs, 8 passes each.
SLOW = """
healthy = BatchWork.values
def planted(self, number, model, view):
    time.sleep(0.01 * len(self.pictures[0]))
    return healthy(self, number, model, view)
BatchWork.values = planted
LEAST_SAVE_S = 0.05
"""
SECONDS = 2.5  # about what the whole of it takes


def kill_at_random(stage: Stage, home: Path, kills: int, seed: int) -> int:
    """Kill a run so many times, each at another moment; return how many of them were killed while they predicted."""
    content = planted_notebook(Plant(cell=SLOW))
    ids = read_column(stage.competition / "sample_submission.csv", "sample_id")
    moments, midway = random.Random(seed), 0
    for number in range(kills):
        bundles = {ALONE: stage.bundle(ALONE)}
        kaggle = lay_out_kaggle(home / f"{number}", stage.competition, bundles)
        environment = dict(os.environ) | {"KIT_KAGGLE_ROOT": str(kaggle), "KAGGLE_IS_COMPETITION_RERUN": "1"}
        submission, log = kaggle / "kaggle/working/submission.csv", home / f"{number}.log"
        process = Forked(lambda: bool(run_cells(content, environment, home)), log)  # noqa: B023 forked at once
        try:
            begun = time.monotonic()
            while not submission.exists():
                assert time.monotonic() - begun < 60 and process.poll() is None, log.read_text()
                time.sleep(0.005)
            first = submission.read_bytes()
            time.sleep(moments.uniform(0, SECONDS))
        finally:
            process.kill()
            process.wait()
        assert submission_problems(submission, ids) == [], f"kill {number}"
        report = submission.with_name("inference_report.json")
        if report.exists():
            json.loads(report.read_text())
        else:
            midway += submission.read_bytes() != first
    return midway


def test_killed_at_random_moments_a_valid_submission_is_left(stage: Stage, tmp_path: Path) -> None:
    kill_at_random(stage, tmp_path, kills=3, seed=1)


@pytest.mark.full
def test_killed_at_fifty_random_moments_a_valid_submission_is_left(stage: Stage, tmp_path: Path) -> None:
    midway = kill_at_random(stage, tmp_path, kills=50, seed=2)
    assert midway >= 5, "some kills must hit a run that has replaced its first submission and not ended"


@pytest.mark.full
@pytest.mark.parametrize("limit_s", [8.0, 12.0, 15.0])
def test_a_rehearsal_killed_by_its_limit_leaves_a_valid_submission(
    stage: Stage, tmp_path: Path, limit_s: float
) -> None:
    never_ends = Plant(cell=SLOW.replace("0.01 *", "1.0 *"), whole=True)
    run = rehearse_planted(stage, never_ends, tmp_path, rerun=True, limit_s=limit_s)
    assert run.report.failure and run.report.failure.kind == "time"
    assert run.report.submission and run.report.submission.valid

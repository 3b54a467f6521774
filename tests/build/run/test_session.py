"""The kernels as plain scripts: only the parameters differ, and only one process works on a run."""

from pathlib import Path

import pytest

from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import ROOT
from build.run.session import only_one, parameterised


def test_only_the_parameters_differ_line_by_line_from_the_kernel() -> None:
    before = (ROOT / "kernel_src/kernels/train.py").read_text().splitlines()
    after = parameterised(
        "train", {"EXPERIMENT": "v8", "CHANGES": {"schedule.epochs": 3, "head.hidden": [8]}}
    ).splitlines()
    changed = {i: line for i, line in enumerate(after) if line != before[i]}
    assert len(before) == len(after) and len(changed) == 2
    assert [line.split("  #")[0] for line in changed.values()] == [
        'EXPERIMENT = "v8"',
        'CHANGES = {"schedule.epochs": 3, "head.hidden": [8]}',
    ]


def test_a_parameter_that_the_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(CheckFailed, match="parameter EPOCHS is not assigned here"):
        parameterised("train", {"EPOCHS": 3})


def test_a_run_is_held_by_one_process(tmp_path: Path) -> None:
    with only_one(tmp_path / "run"):
        with pytest.raises(UsageError, match="another process is at this very run"):
            with only_one(tmp_path / "run"):
                pass
    with only_one(tmp_path / "run"):
        pass

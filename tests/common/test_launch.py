"""One process per device: two processes train what one trains, and decide alike."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_src.common import launch as launch_module
from kernel_src.common.launch import launch
from kernel_src.common.training import train_fold
from tests.common.tiny import CPU, TINY, TINY_VIT, fold_data

ROOT = Path(__file__).resolve().parents[2]
# Batch norm sees other halves on each device, so that without one common inner loss the two would part.
PATIENT = replace(TINY, epochs=6, patience_epochs=1, inner_folds=2, learning_rate=0.02)
PLAIN = replace(TINY_VIT, epochs=3)
TWO_PROCESSES = """
import json, sys
from pathlib import Path
import torch
from accelerate import PartialState, debug_launcher
from kernel_src.common.training import train_fold
from tests.common.test_launch import PATIENT, PLAIN
from tests.common.tiny import CPU, fold_data

def work(out):
    torch.set_num_threads(1)
    logs = {}
    for experiment, data in ((PLAIN, fold_data(16)), (PATIENT, fold_data(16, 6, size_px=PATIENT.image_size_px))):
        folder = Path(out) / experiment.name
        folder.mkdir(exist_ok=True)
        logs[experiment.name] = train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    state = PartialState()
    logs["processes"] = state.num_processes
    (Path(out) / f"log{state.process_index}.json").write_text(json.dumps(logs))

if __name__ == "__main__":
    debug_launcher(work, (sys.argv[1],), num_processes=2)
"""


def test_one_device_is_called_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_module, "notebook_launcher", None)
    seen: list[Any] = []
    launch(lambda **arguments: seen.append(arguments), CPU, experiment=TINY, fold=3)
    assert seen == [{"device": CPU, "experiment": TINY, "fold": 3}]


def test_two_devices_get_a_process_each_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(launch_module, "notebook_launcher", lambda work, **options: (asked.append(options), work()))
    seen: list[Any] = []
    device = replace(CPU, kind="cuda", count=2, half=True)
    launch(lambda **arguments: seen.append(arguments), device, fold=1)
    assert asked == [{"num_processes": 2, "mixed_precision": "fp16"}]
    assert seen == [{"device": device, "fold": 1}]


@pytest.mark.full
def test_two_processes_see_the_losses_of_one_and_stop_at_the_same_epoch(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=150,  # a process that waits for ever for the other is the failure
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"log{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == 2

    def losses(log: list[dict[str, Any]], key: str) -> list[float]:
        return [row[key] for row in log]

    (tmp_path / "alone").mkdir()
    alone = train_fold(PLAIN, 0, fold_data(16), device=CPU, starting_weights=None, folder=tmp_path / "alone")
    for two in (first, second):
        assert losses(two[PLAIN.name], "train_loss") == pytest.approx(losses(alone, "train_loss"), rel=2e-3)
    assert losses(first[PATIENT.name], "inner_loss") == losses(second[PATIENT.name], "inner_loss")
    assert (tmp_path / PLAIN.name / "fold0.safetensors").exists()

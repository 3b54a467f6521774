"""One process per device: two processes train what one trains, and decide alike."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_src.competitions.biomass.tables import read_train
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import InnerFold
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import sha256_of
from kernel_src.training import launch as launch_module
from kernel_src.training.launch import chosen_spread, fold_rounds, launch
from kernel_src.training.runs import train_run
from kernel_src.training.session import Session
from kernel_src.training.training import train_fold
from tests.kernel_src.tiny import CPU, TINY, TINY_VIT, fold_data

ROOT = Path(__file__).resolve().parents[3]
# Batch norm sees other halves on each device, so that without one common inner loss the two would part.
PATIENT = changed(TINY, {"schedule.epochs": 6, "keep": InnerFold(2, patience=1), "optimizer.lr": 0.02})
PLAIN = changed(TINY_VIT, {"schedule.epochs": 3})
TWO_PROCESSES = """
import json, sys
from pathlib import Path
import torch
from accelerate import PartialState, debug_launcher
from kernel_src.training.training import train_fold
from tests.kernel_src.training.test_launch import PATIENT, PLAIN
from tests.kernel_src.tiny import CPU, fold_data

def work(out):
    torch.set_num_threads(1)
    logs = {}
    for experiment, data in ((PLAIN, fold_data(16)), (PATIENT, fold_data(16, 6, size_px=PATIENT.pictures.canvas_px))):
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
    for spread in ("batch", "folds"):
        launch(lambda **arguments: seen.append(arguments), CPU, spread=spread, folds=(0, 2), experiment=TINY)
    assert seen == [{"device": CPU, "folds": (0, 2), "experiment": TINY}] * 2


def test_two_devices_that_share_batches_get_a_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(launch_module, "notebook_launcher", lambda work, **options: (asked.append(options), work()))
    seen: list[Any] = []
    device = replace(CPU, kind="cuda", count=2, half=True)
    launch(lambda **arguments: seen.append(arguments), device, spread="batch", folds=(1,), experiment=TINY)
    assert asked == [{"num_processes": 2, "mixed_precision": "no"}], "the training has its own precision"
    assert seen == [{"device": replace(device, processes=2), "folds": (1,), "experiment": TINY}]


def test_by_default_devices_take_whole_folds_where_each_gets_one() -> None:
    assert [chosen_spread(TINY, folds, 2) for folds in (0, 1, 2, 5)] == ["batch", "batch", "folds", "folds"]
    assert chosen_spread(TINY, 5, 1) == "batch", "one device has nothing to spread"
    assert chosen_spread(changed(TINY, {"machine.spread": "batch"}), 5, 2) == "batch"
    assert chosen_spread(changed(TINY, {"machine.spread": "folds"}), 1, 2) == "folds"


def test_folds_that_do_not_go_round_are_trained_last_by_all_devices() -> None:
    assert fold_rounds(TINY, (0, 1, 2, 3, 4), 2) == [("folds", (0, 1, 2, 3)), ("batch", (4,))]
    assert fold_rounds(TINY, (1, 3), 2) == [("folds", (1, 3))]
    assert fold_rounds(TINY, (4,), 2) == [("batch", (4,))]
    assert fold_rounds(TINY, (), 2) == []
    assert fold_rounds(TINY, (0, 1, 2), 1) == [("batch", (0, 1, 2))], "one device is called once, with all of them"
    assert fold_rounds(changed(TINY, {"machine.spread": "folds"}), (0, 1, 2), 2) == [("folds", (0, 1, 2))], (
        "as was asked for"
    )
    assert fold_rounds(changed(TINY, {"machine.spread": "batch"}), (0, 1, 2), 2) == [("batch", (0, 1, 2))]


class Diary:
    """What each process of the queue did: one file for each fold and try."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parent, self.chosen = folder, os.getpid(), list[int]()

    def note(self, device: DeviceReport, fold: int) -> int:
        """Write down who trains the fold; return which try it is."""
        attempt = len(list(self.folder.glob(f"{fold}-*")))
        entry = [self.chosen[-1], device.count, device.processes, os.getpid() != self.parent, time.monotonic()]
        (self.folder / f"{fold}-{attempt}").write_text(json.dumps(entry))
        return attempt

    def devices(self) -> dict[str, int]:
        return {path.name: json.loads(path.read_text())[0] for path in sorted(self.folder.iterdir())}


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diary:
    diary = Diary(tmp_path)
    monkeypatch.setattr(launch_module.torch.cuda, "set_device", diary.chosen.append)
    return diary


PAIR = replace(CPU, kind="cuda", count=2)


def test_whichever_device_is_free_takes_the_next_fold_in_a_process_of_its_own(diary: Diary) -> None:
    def work(device: DeviceReport, folds: tuple[int, ...]) -> None:
        (fold,) = folds
        diary.note(device, fold)
        time.sleep(1.0 if fold == 0 else 0.1)

    launch(work, PAIR, spread="folds", folds=(0, 1, 2, 4))
    assert diary.devices() == {"0-0": 0, "1-0": 1, "2-0": 1, "4-0": 1}, "two each would leave the second one idle"
    for path in diary.folder.iterdir():
        assert json.loads(path.read_text())[1:4] == [1, 2, True]
    assert not diary.chosen, "this process must not touch a GPU before it has forked the others"


def test_the_fold_of_a_killed_process_is_tried_once_more_after_the_others(diary: Diary) -> None:
    def work(device: DeviceReport, folds: tuple[int, ...]) -> None:
        (fold,) = folds
        if diary.note(device, fold) == 0 and fold == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)

    launch(work, PAIR, spread="folds", folds=(0, 1, 2, 3))
    assert set(diary.devices()) == {"0-0", "1-0", "1-1", "2-0", "3-0"}


def test_a_fold_that_is_killed_again_and_one_that_fails_cost_no_other_fold(
    diary: Diary, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(device: DeviceReport, folds: tuple[int, ...]) -> None:
        (fold,) = folds
        diary.note(device, fold)
        if fold == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if fold == 2:
            raise ValueError("broken")

    with pytest.raises(RuntimeError, match="fold 1: its process was killed by SIGKILL; fold 2: .* exit code 1; see"):
        launch(work, PAIR, spread="folds", folds=(0, 1, 2, 3, 4))
    assert set(diary.devices()) == {"0-0", "1-0", "1-1", "2-0", "3-0", "4-0"}
    assert "fold 1: its process on device" in capsys.readouterr().out


def test_when_the_time_is_up_no_further_fold_is_begun_but_each_device_makes_a_step(diary: Diary) -> None:
    def work(device: DeviceReport, folds: tuple[int, ...], session: Session) -> None:
        diary.note(device, folds[0])

    launch(work, PAIR, spread="folds", folds=(0, 1, 2, 3), session=Session(started_s=0.0, limit_s=0.001))
    assert set(diary.devices()) == {"0-0", "1-0"}


def test_folds_spread_over_two_devices_are_those_of_one_bit_for_bit(tmp_path: Path, tiny_competition: Path) -> None:
    """With batch norm, dropout and augmentation."""
    train = read_train(tiny_competition / "train.csv")
    experiment = changed(TINY, {"data.split.folds": 3})
    for name, count in (("serial", 1), ("spread", 2)):
        launch(
            train_run,
            replace(CPU, count=count),
            spread="folds",
            folds=(0, 1, 2),
            experiment=experiment,
            train=train,
            competition=tiny_competition,
            starting_weights=None,
            folder=tmp_path / name,
            cache=tmp_path / f"cache-{name}",
        )
    for fold in range(3):
        one, two = (sha256_of(tmp_path / name / f"fold{fold}.safetensors") for name in ("serial", "spread"))
        assert one == two


def run_script(code: str, folder: Path, *arguments: object) -> str:
    """Run a script in a process of its own, its first argument the folder, and return what it prints."""
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script, folder, *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=150,  # a process that waits for ever for the other is the failure
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.full
def test_two_processes_see_the_losses_of_one_and_stop_at_the_same_epoch(tmp_path: Path) -> None:
    run_script(TWO_PROCESSES, tmp_path)
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


SESSIONS = """
import sys
from dataclasses import replace
from pathlib import Path
from kernel_src.training.launch import launch
from kernel_src.training.runs import train_run
from kernel_src.training.session import Session
from kernel_src.competitions.biomass.tables import read_train
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import EMA
from tests.kernel_src.tiny import CPU, TINY_VIT

out, competition, limit_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
launch(
    train_run,
    replace(CPU, count=2),
    spread="batch",
    folds=(0, 1),
    experiment=changed(TINY_VIT, {"keep": EMA(0.9), "batch.size": 2}),
    train=read_train(competition / "train.csv"),
    competition=competition,
    starting_weights=None,
    folder=out / "run",
    cache=out / "cache",
    session=Session(started_s=0.0, limit_s=limit_s),
)
"""


@pytest.mark.full
def test_two_processes_stop_together_at_the_sessions_end_and_go_on_together(
    tmp_path: Path, tiny_competition: Path
) -> None:
    def session(limit_s: float) -> str:
        return run_script(SESSIONS, tmp_path, tiny_competition, str(limit_s))

    assert session(0.001).count("fold 0: stopped in epoch 1 of 2, batch 1") == 2
    assert (tmp_path / "run/checkpoint0.safetensors").exists()
    assert "fold 0: resumed after epoch 0, batch 1" in session(0.0)
    assert {path.name for path in (tmp_path / "run").glob("*.safetensors")} == {
        "fold0.safetensors",
        "fold1.safetensors",
    }

"""The output of an earlier session among the inputs is taken up: the right one, whole, and writable."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kernel_src.recipes.changes import changed
from kernel_src.training.checkpoint import save_tensors
from kernel_src.training.resumption import (
    check_fingerprint,
    checkpoint_folder,
    continue_previous_run,
    hand_over,
    run_fingerprint,
    trained_recipe,
)
from tests.kernel_src.tiny import TINY


def write_run(folder: Path, folds: int, step: int = 0, epochs: int = TINY.schedule.epochs) -> Path:
    folder.mkdir(parents=True)
    recipe = trained_recipe(changed(TINY, {"schedule.epochs": epochs}))
    (folder / "fingerprint.json").write_text(json.dumps({"experiment": recipe, "data": "d", "weights": []}))
    for fold in range(folds):
        (folder / f"fold{fold}.safetensors").write_bytes(bytes([fold]))
    if step:
        progress = json.dumps({"step": step})
        save_tensors(folder / f"checkpoint{folds}.safetensors", {"a": torch.ones(1)}, {"progress": progress})
    return folder


@pytest.mark.parametrize(
    "mount",
    [
        "notebooks/owner/i2b-v8-train/run",
        "i2b-v8-train/run",
        "datasets/owner/i2b-v8-run",  # an output made into a dataset loses its folder
    ],
)
def test_a_run_is_found_in_either_layout_and_copied_whole(tmp_path: Path, mount: str) -> None:
    earlier = write_run(tmp_path / "input" / mount, 2, step=7)
    for path in (*earlier.iterdir(), earlier):
        path.chmod(0o555)
    folder = tmp_path / "working" / "run"
    scratch = tmp_path / "scratch"
    assert continue_previous_run(tmp_path / "input", folder, TINY, scratch) == earlier
    checkpoints = checkpoint_folder(scratch, folder)
    assert [path.name for path in checkpoints.iterdir()] == ["checkpoint2.safetensors"], (
        "they need no room in the output"
    )
    assert {path.name: path.read_bytes() for path in (*folder.iterdir(), *checkpoints.iterdir())} == {
        path.name: path.read_bytes() for path in earlier.iterdir()
    }
    for path in (folder, *folder.iterdir(), *checkpoints.iterdir()):
        assert path.stat().st_mode & 0o200, "what is copied from a read-only input must be writable"


def test_the_furthest_run_of_the_very_recipe_is_taken(tmp_path: Path) -> None:
    inputs = tmp_path / "input"
    write_run(inputs / "a/run", 1, step=90)
    furthest = write_run(inputs / "b/run", 2, step=7)
    write_run(inputs / "c/run", 2, step=6)
    write_run(inputs / "d/run", 4, epochs=TINY.schedule.epochs + 1)
    assert continue_previous_run(inputs, tmp_path / "run", TINY, tmp_path / "scratch") == furthest
    longer = changed(TINY, {"machine.limit_s": 9.0, "machine.shape": "NvidiaL4"})
    assert continue_previous_run(inputs, tmp_path / "other", longer, tmp_path / "scratch") == furthest, (
        "these may differ between sessions"
    )


def test_a_run_that_is_under_way_is_not_overwritten_and_without_inputs_nothing_happens(tmp_path: Path) -> None:
    write_run(tmp_path / "input/a/run", 2)
    mine = write_run(tmp_path / "run", 1)
    assert continue_previous_run(tmp_path / "input", mine, TINY, tmp_path / "scratch") is None
    assert len(list(mine.iterdir())) == 2
    assert continue_previous_run(tmp_path / "nothing", tmp_path / "other", TINY, tmp_path / "scratch") is None
    assert not (tmp_path / "other").exists()


def test_a_copy_that_was_cut_short_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, folder = write_run(tmp_path / "input/a/run", 3), tmp_path / "run"
    folder.mkdir()
    (folder / "fold0.safetensors").write_bytes(b"half")
    assert continue_previous_run(tmp_path / "input", folder, TINY, tmp_path / "scratch") == earlier
    assert sorted(os.listdir(folder)) == sorted(os.listdir(earlier))


def test_the_refusal_says_what_differs(tmp_path: Path) -> None:
    recipe = trained_recipe(TINY)
    begun = {"experiment": recipe, "data": "d", "folds": "f", "weights": ["w"]}
    check_fingerprint(begun, tmp_path)
    check_fingerprint(begun, tmp_path)
    other = trained_recipe(changed(TINY, {"schedule.epochs": 9, "seed": 1}))
    with pytest.raises(ValueError, match=r"different are: schedule.epochs, seed, weights\)"):
        check_fingerprint(begun | {"experiment": other, "weights": ["x"]}, tmp_path)


def test_a_run_whose_photographs_lay_in_other_folds_is_refused(tmp_path: Path) -> None:
    """A newer kit deals the same visits out otherwise: half the folds of each would be no cross-validation."""
    rows = pd.DataFrame({"image_id": ["a", "b"], "image_path": ["a.jpg", "b.jpg"]})
    check_fingerprint(run_fingerprint(TINY, rows, np.array([0, 1]), None, []), tmp_path)
    check_fingerprint(run_fingerprint(TINY, rows, np.array([0, 1]), None, []), tmp_path)
    with pytest.raises(ValueError, match=r"different are: folds\)"):
        check_fingerprint(run_fingerprint(TINY, rows, np.array([1, 0]), None, []), tmp_path)


# Handing over


def scratch_with(folder: Path, scratch: Path, steps: dict[int, int], numbers: int = 1) -> Path:
    checkpoints = checkpoint_folder(scratch, folder)
    checkpoints.mkdir(parents=True, exist_ok=True)
    for fold, step in steps.items():
        notes = {"progress": json.dumps({"step": step})}
        save_tensors(checkpoints / f"checkpoint{fold}.safetensors", {"a": torch.ones(numbers)}, notes)
    return checkpoints


def test_at_the_end_of_a_session_the_next_one_gets_the_checkpoints_of_unfinished_folds(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 2)
    checkpoints = scratch_with(run, tmp_path / "scratch", {1: 99, 2: 7, 3: 8})
    assert hand_over(tmp_path / "scratch", run) == [
        "checkpoint3.safetensors is kept, after step 8",
        "checkpoint2.safetensors is kept, after step 7",
    ]
    assert {path.name for path in run.glob("checkpoint*")} == {"checkpoint2.safetensors", "checkpoint3.safetensors"}
    assert not (checkpoints / "checkpoint1.safetensors").exists(), "its fold is finished"
    assert hand_over(tmp_path / "scratch", run) == [], "nothing was added to what is there"
    scratch_with(run, tmp_path / "scratch", {2: 9})
    assert hand_over(tmp_path / "scratch", run) == ["checkpoint2.safetensors is kept, after step 9"]


def test_the_checkpoints_of_another_run_in_the_same_scratch_folder_are_left_alone(tmp_path: Path) -> None:
    mine, other = write_run(tmp_path / "run", 0), write_run(tmp_path / "other", 0, epochs=TINY.schedule.epochs + 1)
    scratch_with(other, tmp_path / "scratch", {0: 5})
    assert hand_over(tmp_path / "scratch", mine) == [] and not list(mine.glob("checkpoint*"))
    assert hand_over(tmp_path / "scratch", tmp_path / "nothing begun") == []


def test_what_the_working_folder_has_no_room_for_stays_behind_the_furthest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", 1)
    scratch_with(run, tmp_path / "scratch", {1: 5, 2: 50}, numbers=10_000)  # 40 kB each
    monkeypatch.setattr("kernel_src.training.resumption.KEPT_BYTES", 60_000)
    kept, left = hand_over(tmp_path / "scratch", run)
    assert kept == "checkpoint2.safetensors is kept, after step 50"
    assert left.startswith("checkpoint1.safetensors is not kept: 0.0 GB with it")


def test_a_hand_over_that_is_cut_short_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", 1)
    scratch_with(run, tmp_path / "scratch", {1: 5})

    def cut(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise OSError("No space left on device")

    monkeypatch.setattr("shutil.copyfile", cut)
    with pytest.raises(OSError, match="No space"):
        hand_over(tmp_path / "scratch", run)
    assert not list(run.glob("checkpoint*")) and not list(run.glob(".checkpoint*"))

"""The output of an earlier session among the inputs is taken up: the right one, whole, and writable."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kernel_src.common.checkpoint import save_tensors
from kernel_src.common.resumption import check_fingerprint, continue_previous_run, run_fingerprint, trained_recipe
from tests.common.tiny import TINY


def write_run(folder: Path, folds: int, step: int = 0, epochs: int = TINY.epochs) -> Path:
    folder.mkdir(parents=True)
    recipe = trained_recipe(replace(TINY, epochs=epochs))
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
    assert continue_previous_run(tmp_path / "input", folder, TINY) == earlier
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in earlier.iterdir()
    }
    for path in (folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o200, "what is copied from a read-only input must be writable"


def test_the_furthest_run_of_the_very_recipe_is_taken(tmp_path: Path) -> None:
    inputs = tmp_path / "input"
    write_run(inputs / "a/run", 1, step=90)
    furthest = write_run(inputs / "b/run", 2, step=7)
    write_run(inputs / "c/run", 2, step=6)
    write_run(inputs / "d/run", 4, epochs=TINY.epochs + 1)
    assert continue_previous_run(inputs, tmp_path / "run", TINY) == furthest
    longer = replace(TINY, session_limit_s=9.0, machine_shape="NvidiaL4")
    assert continue_previous_run(inputs, tmp_path / "other", longer) == furthest, "these may differ between sessions"


def test_a_run_that_is_under_way_is_not_overwritten_and_without_inputs_nothing_happens(tmp_path: Path) -> None:
    write_run(tmp_path / "input/a/run", 2)
    mine = write_run(tmp_path / "run", 1)
    assert continue_previous_run(tmp_path / "input", mine, TINY) is None
    assert len(list(mine.iterdir())) == 2
    assert continue_previous_run(tmp_path / "nothing", tmp_path / "other", TINY) is None
    assert not (tmp_path / "other").exists()


def test_a_copy_that_was_cut_short_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, folder = write_run(tmp_path / "input/a/run", 3), tmp_path / "run"
    folder.mkdir()
    (folder / "fold0.safetensors").write_bytes(b"half")
    assert continue_previous_run(tmp_path / "input", folder, TINY) == earlier
    assert sorted(os.listdir(folder)) == sorted(os.listdir(earlier))


def test_the_refusal_says_what_differs(tmp_path: Path) -> None:
    recipe = trained_recipe(TINY)
    begun = {"experiment": recipe, "data": "d", "folds": "f", "weights": ["w"]}
    check_fingerprint(begun, tmp_path)
    check_fingerprint(begun, tmp_path)
    other = trained_recipe(replace(TINY, epochs=9, seed=1))
    with pytest.raises(ValueError, match=r"different are: epochs, seed, weights\)"):
        check_fingerprint(begun | {"experiment": other, "weights": ["x"]}, tmp_path)


def test_a_run_whose_photographs_lay_in_other_folds_is_refused(tmp_path: Path) -> None:
    """A newer kit deals the same visits out otherwise: half the folds of each would be no cross-validation."""
    rows = pd.DataFrame({"image_id": ["a", "b"], "image_path": ["a.jpg", "b.jpg"]})
    check_fingerprint(run_fingerprint(TINY, rows, np.array([0, 1]), None, []), tmp_path)
    check_fingerprint(run_fingerprint(TINY, rows, np.array([0, 1]), None, []), tmp_path)
    with pytest.raises(ValueError, match=r"different are: folds\)"):
        check_fingerprint(run_fingerprint(TINY, rows, np.array([1, 0]), None, []), tmp_path)

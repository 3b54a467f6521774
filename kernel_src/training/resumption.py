"""## Going on where the last session stopped

A run folder says what it was begun with, so that only the same training goes on in it. Checkpoints change all the time
and are large, so they lie in a scratch folder; what the next session needs of them is handed over to the run folder
when this one ends. There the next session finds it, among its inputs.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competition.splits import split_sha256
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.spec import by_path
from kernel_src.runtime.files import sha256_of, write_atomically, write_json
from kernel_src.runtime.untrusted import parsed_json, plain_file
from kernel_src.training.checkpoint import steps_done
from kernel_src.training.fold_files import FoldFiles

FINGERPRINT_FILE = "fingerprint.json"
NOT_OF_THE_TRAINING = ("machine",)  # may differ from session to session
CHECKPOINTS = "checkpoint*.safetensors"
KEPT_BYTES = 19e9  # of a run folder: Kaggle keeps 20 GB of the working folder
OUTPUT_DEPTH = 5  # folders between the inputs' root and a run: notebooks/<owner>/<slug>/run


def run_fingerprint(
    experiment: Experiment,
    rows: pd.DataFrame,
    fold_of: np.ndarray,
    pseudo_labels: pd.DataFrame | None,
    weights: list[Path | None],
) -> dict[str, Any]:
    """Say what a training depends on: recipe, rows, their folds (rows,) and weights, not where they are mounted."""
    data = rows.drop(columns=IMAGE_COLUMN).to_csv(index=False)
    if pseudo_labels is not None:
        data += pseudo_labels.drop(columns=IMAGE_COLUMN).to_csv(index=False)
    return {
        "experiment": trained_recipe(experiment),
        "data": hashlib.sha256(data.encode()).hexdigest(),
        "folds": split_sha256(rows["image_id"].tolist(), fold_of),
        "weights": [sha256_of(path) if path is not None else "" for path in weights],
    }


def trained_recipe(experiment: Experiment) -> dict[str, Any]:
    """Return the fields that decide what is trained, as they come back from JSON."""
    fields = {name: value for name, value in experiment.as_json().items() if name not in NOT_OF_THE_TRAINING}
    return dict(json.loads(json.dumps(fields)))


def check_fingerprint(fingerprint: dict[str, Any], folder: Path) -> None:
    """Refuse to resume a run that was begun with something else; mark a new one.

    Raises:
        ValueError: `folder` holds another run; the message says what differs.
    """
    path = folder / FINGERPRINT_FILE
    begun = read_fingerprint(path) if path.exists() else {}
    if begun == fingerprint:
        return
    if begun or any(folder.glob("*.safetensors")):
        before, now = (by_path(known.get("experiment") or {}) for known in (begun, fingerprint))
        differing = [path for path in now if before.get(path) != now[path]] if begun else []
        differing += [name for name in ("data", "folds", "weights") if begun.get(name) != fingerprint.get(name)]
        raise ValueError(
            f"{folder} holds a run of another experiment or of other data: choose an empty folder "
            f"(different are: {', '.join(differing)})"
        )
    write_json(path, fingerprint)


def read_fingerprint(path: Path) -> dict[str, Any]:
    """Read what a run was begun with.

    Raises:
        ValueError: the file is damaged, or no fingerprint.
    """
    try:
        value = parsed_json(plain_file(path.parent, path.name).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}): detach that input, or choose an empty folder") from None
    if not isinstance(value, dict) or not isinstance(value.get("experiment"), dict):
        raise ValueError(f"{path} does not name the experiment of a run: detach that input, or choose an empty folder")
    return value


# %%
def checkpoint_folder(scratch: Path, folder: Path) -> Path:
    """Return where in a scratch folder the run in `folder` keeps its checkpoints: no other run's lie there."""
    return scratch / sha256_of(folder / FINGERPRINT_FILE)[:16]


def hand_over(scratch: Path, folder: Path) -> list[str]:
    """Put what the next session needs into the run's folder, each file whole or not at all; return what was done.

    The furthest come first; those for which the working folder has no room stay behind.
    """
    if not (folder / FINGERPRINT_FILE).exists():
        return []  # nothing was begun
    done = []
    found = checkpoint_folder(scratch, folder).glob(CHECKPOINTS)
    ours = [path for path in found if path.stem.removeprefix("checkpoint").isdecimal()]
    for path in sorted(ours, key=steps_done, reverse=True):
        files = FoldFiles(folder, int(path.stem.removeprefix("checkpoint")), path.parent)
        files.clear()
        if not path.exists() or steps_done(path) <= steps_done(files.handed_over):
            continue  # the fold is finished, or nothing was added to what is there
        others = [file for file in folder.iterdir() if file.is_file() and file != files.handed_over]
        kept = sum(file.stat().st_size for file in others)
        size = path.stat().st_size
        if kept + size > KEPT_BYTES:
            done.append(
                f"{path.name} is not kept: {(kept + size) / 1e9:.1f} GB with it, {KEPT_BYTES / 1e9:.0f} at most"
            )
            continue
        files.handed_over.unlink(missing_ok=True)  # there may be no room for both; the further one lies in scratch
        write_atomically(files.handed_over, partial(shutil.copyfile, path))
        done.append(f"{path.name} is kept, after step {steps_done(path)}")
    return done


def continue_previous_run(inputs: Path, folder: Path, experiment: Experiment, scratch: Path) -> Path | None:
    """Copy the furthest run of this recipe that lies below `inputs` to `folder`; return where it was.

    Its checkpoints go to `scratch`. Nothing is copied, and None returned, where `folder` holds a run already or no
    input does.

    Raises:
        ValueError: a file of such a run is damaged, or a link that leads out of it.
        WeightsError: a checkpoint of it is damaged.
    """
    if (folder / FINGERPRINT_FILE).exists():
        return None
    runs = previous_runs(inputs, experiment)
    if not runs:
        return None
    furthest = max(runs, key=_steps_done)
    checkpoints = checkpoint_folder(scratch, furthest)
    copy_run(furthest, lambda path: checkpoints if path.match(CHECKPOINTS) else folder)
    return furthest


def previous_runs(inputs: Path, experiment: Experiment) -> list[Path]:
    """Find the folders below `inputs` that hold a run of this recipe.

    Raises:
        ValueError: what a run there was begun with cannot be read.
    """
    files = sorted(path for depth in range(1, OUTPUT_DEPTH) for path in inputs.glob("*/" * depth + FINGERPRINT_FILE))
    wanted = trained_recipe(experiment)
    return [path.parent for path in files if read_fingerprint(path)["experiment"] == wanted]


def copy_run(run: Path, place: Callable[[Path], Path]) -> None:
    """Copy the files of a run, each into the folder that `place` says, its fingerprint last.

    So a copy that is cut short is begun again. Not copytree, which makes the folder read-only.

    Raises:
        ValueError: a file is a link that leads out of the run.
    """
    for path in sorted(run.iterdir(), key=lambda path: path.name == FINGERPRINT_FILE):
        if path.is_file():
            place(path).mkdir(parents=True, exist_ok=True)
            try:
                write_atomically(place(path) / path.name, partial(shutil.copyfile, plain_file(run, path.name)))
            except ValueError as error:
                raise ValueError(f"{path} {error}: detach that input") from None


def _steps_done(folder: Path) -> tuple[int, int]:
    """Count the folds that are finished and the steps of those that are not."""
    return len(list(folder.glob("fold*.safetensors"))), sum(map(steps_done, folder.glob(CHECKPOINTS)))

"""## Going on where the last session stopped

A run folder says what it was begun with, so that only the same training goes on in it. The output of an earlier
session, attached as an input, is copied into the working folder first.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.common.checkpoint import read_progress
from kernel_src.common.competition import IMAGE_COLUMN
from kernel_src.common.experiment import Experiment
from kernel_src.common.files import sha256_of, write_json
from kernel_src.common.pseudo_labels import split_sha256
from kernel_src.common.untrusted import parsed_json, plain_file
from kernel_src.common.weight_files import open_weights

FINGERPRINT_FILE = "fingerprint.json"
NOT_OF_THE_TRAINING = ("session_limit_s", "machine_shape")  # may differ from session to session
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
        before, now = (dict(known.get("experiment") or {}) for known in (begun, fingerprint))
        differing = [name for name in now if before.get(name) != now[name]] if begun else []
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
def continue_previous_run(inputs: Path, folder: Path, experiment: Experiment) -> Path | None:
    """Copy the furthest run of this recipe that lies below `inputs` to `folder`; return where it was.

    Nothing is copied, and None returned, where `folder` holds a run already or no input does.

    Raises:
        ValueError: a file of such a run is damaged, or a link that leads out of it.
        WeightsError: a checkpoint of it is damaged.
    """
    if (folder / FINGERPRINT_FILE).exists():
        return None
    files = sorted(path for depth in range(1, OUTPUT_DEPTH) for path in inputs.glob("*/" * depth + FINGERPRINT_FILE))
    wanted = trained_recipe(experiment)
    runs = [path.parent for path in files if read_fingerprint(path)["experiment"] == wanted]
    if not runs:
        return None
    furthest = max(runs, key=_steps_done)
    folder.mkdir(parents=True, exist_ok=True)
    # The mark comes last: a copy that is cut short is begun again. Not copytree, which makes the folder read-only.
    for path in sorted(furthest.iterdir(), key=lambda path: path.name == FINGERPRINT_FILE):
        if path.is_file():
            try:
                shutil.copyfile(plain_file(furthest, path.name), folder / path.name)
            except ValueError as error:
                raise ValueError(f"{path} {error}: detach that input") from None
    return furthest


def _steps_done(folder: Path) -> tuple[int, int]:
    """Count the folds that are finished and the steps of those that are not."""
    steps = 0
    for path in folder.glob("checkpoint*.safetensors"):
        with open_weights(path) as file:
            steps += read_progress(file, path).step
    return len(list(folder.glob("fold*.safetensors"))), steps

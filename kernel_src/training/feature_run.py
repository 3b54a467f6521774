"""## A run that makes features

The photographs are cut into chunks of a fixed size, whatever devices there are. Each device computes chunks of its own
and saves each whole or not at all, so that a run which is stopped, by the session's end or by anything else, goes on
with the chunk after the last. In the end there is one file for all: `features.npz`.
"""

import csv
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from kernel_src.bundle.bundle_prediction import PhotographFiles
from kernel_src.bundle.bundles import framings_of
from kernel_src.models.frozen_features import device_for, feature_blocks
from kernel_src.models.full_pass import loading_processes
from kernel_src.models.precision import PrecisionChoice
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import WeightsError, write_atomically, write_json, write_text
from kernel_src.runtime.provenance import sources_of
from kernel_src.runtime.untrusted import parsed_json
from kernel_src.runtime.weight_files import open_weights, weights_sha256
from kernel_src.training.checkpoint import save_tensors
from kernel_src.training.feature_extraction import FeatureExtractor
from kernel_src.training.launch import launch
from kernel_src.training.resumption import FINGERPRINT_FILE, check_fingerprint, copy_run, previous_runs, trained_recipe
from kernel_src.training.session import Session

CHUNK_PHOTOGRAPHS = 32  # a 7B encoder at three scales takes six minutes for them on a T4
CHUNK_NAME, CHUNKS = "chunk{:04d}.safetensors", "chunk*.safetensors"
PRECISION_FILE, LOG_FILE = "precision.json", "features_log.csv"
FEATURES_FILE, PROVENANCE = "features.npz", "provenance"
LOGGED = ("chunk", "photographs", "device", "precision", "at_once", "computed_again_in_fp32", "seconds")
VERSIONED = ("torch", "timm", "numpy")
ONE_ROUND = "folds"  # of `launch`: a process for each device, each with a share of its own


class FeatureTask(NamedTuple):
    """Of what the features are made, and by what."""

    experiment: Experiment
    photographs: Mapping[str, Path]  # by image id, in the order of the rows
    weights: Path
    folder: Path  # of the run

    def chunk(self, number: int) -> Path:
        """Return the file of a chunk."""
        return self.folder / CHUNK_NAME.format(number)

    def rows(self, number: int) -> range:
        """Return the rows of a chunk."""
        start = number * CHUNK_PHOTOGRAPHS
        return range(start, min(start + CHUNK_PHOTOGRAPHS, len(self.photographs)))

    @property
    def chunks(self) -> range:
        """Return the numbers of all chunks."""
        return range(-(-len(self.photographs) // CHUNK_PHOTOGRAPHS))

    @property
    def chunks_left(self) -> list[int]:
        """Return the chunks that are to be computed yet; none where the features are finished."""
        if (self.folder / FEATURES_FILE).exists():
            return []
        return [number for number in self.chunks if not self.chunk(number).exists()]

    def fingerprint(self) -> dict[str, Any]:
        """Say what the features depend on: recipe, photographs (their ids and sizes) and weights."""
        files = [[image_id, path.stat().st_size] for image_id, path in self.photographs.items()]
        return {
            "experiment": trained_recipe(self.experiment),
            "data": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
            "weights": [weights_sha256(self.weights)],
        }


def continue_previous_features(inputs: Path, folder: Path, experiment: Experiment) -> Path | None:
    """Copy the run of this recipe below `inputs` that has come furthest to `folder`; return where it was.

    Nothing is copied, and None returned, where `folder` holds a run already or no input does.

    Raises:
        ValueError: a file of such a run is damaged, or a link that leads out of it.
    """
    runs = [] if (folder / FINGERPRINT_FILE).exists() else previous_runs(inputs, experiment)
    if not runs:
        return None
    furthest = max(runs, key=lambda run: ((run / FEATURES_FILE).exists(), len(list(run.glob(CHUNKS)))))
    copy_run(furthest, lambda path: folder)
    return furthest


# %%
def make_chunks(
    task: FeatureTask, device: DeviceReport, session: Session, *, batch_size: int, quiet: bool = False
) -> None:
    """Compute the chunks that are left, on all devices, until they are done or the session ends.

    A backbone that one GPU cannot hold is spread over all of them, which then compute one chunk together.

    Raises:
        ValueError: the folder holds a run of something else, or the backbone cannot do what the experiment asks of it.
        WeightsError: the weights do not fit.
        ImageError: a photograph cannot be read.
        FloatingPointError: a feature is not finite, in fp32 either.
        RuntimeError: not even one photograph finds room, or one of several processes ended so, having printed why.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    check_fingerprint(task.fingerprint(), task.folder)
    left = task.chunks_left
    if left:
        device = device_for(task.experiment, task.weights, device)
    if device.spread:
        print(f"{task.experiment.encoder.timm} finds no room on one GPU: it is spread over all", flush=True)
        batch_size = 1  # the weights leave little room
    shares = [share for number in range(device.count) if (share := left[number :: device.count])]
    if shares:
        launch(
            _make_shares,
            device,
            spread=ONE_ROUND,
            folds=range(len(shares)),
            session=session,
            what="share",
            task=task,
            shares=shares,
            batch_size=batch_size,
            quiet=quiet,
        )


def _make_shares(
    task: FeatureTask,
    shares: Sequence[Sequence[int]],
    *,
    device: DeviceReport,
    folds: Sequence[int],
    session: Session,
    batch_size: int,
    quiet: bool,
) -> None:
    """Compute one device's chunks; the body of its process."""
    todo = [number for share in folds for number in shares[share] if not task.chunk(number).exists()]
    paths = list(task.photographs.values())
    extractor = FeatureExtractor(task.experiment, task.weights, device, batch_size)
    _settle_precision(extractor, task, paths)
    batches = [list(rows[i : i + batch_size]) for rows in map(task.rows, todo) for i in range(0, len(rows), batch_size)]
    loader = iter(
        DataLoader(
            PhotographFiles(paths, extractor.framings),
            batch_sampler=batches,
            num_workers=loading_processes(device),
            pin_memory=device.kind == "cuda",
        )
    )
    slowest_s = 0.0
    total = sum(len(task.rows(number)) for number in todo)
    with tqdm(total=total, desc=f"features, {device.name}", unit="image", disable=quiet) as bar:
        for number in todo:
            if session.left_s <= slowest_s:
                return
            start_s = time.monotonic()
            again = extractor.overflows
            parts: list[np.ndarray] = []
            while sum(len(part) for part in parts) < len(task.rows(number)):
                parts.append(extractor.features(next(loader)))
                bar.update(len(parts[-1]))
            features = np.concatenate(parts)
            _refuse_not_finite(features, [paths[row] for row in task.rows(number)])
            seconds = time.monotonic() - start_s
            notes = {
                "photographs": len(features),
                "device": device.name,
                "precision": "fp16" if extractor.half else "fp32",
                "at_once": extractor.at_once,
                "computed_again_in_fp32": extractor.overflows - again,
                "seconds": round(seconds, 1),
            }
            tensors = {"features": torch.from_numpy(features)}
            save_tensors(task.chunk(number), tensors, {name: str(note) for name, note in notes.items()})
            slowest_s = max(slowest_s, seconds)


# %%
def _settle_precision(extractor: FeatureExtractor, task: FeatureTask, paths: Sequence[Path]) -> None:
    """Decide once for the run: what one device or session has decided holds for the others."""
    path = task.folder / PRECISION_FILE
    if not extractor.device.half:
        return
    if path.exists():
        extractor.use(_read_choice(path).half)
        return
    choice = extractor.choose_precision(paths)
    write_json(path, choice._asdict())
    print(f"{choice.name}: {choice.why}", flush=True)


def _read_choice(path: Path) -> PrecisionChoice:
    value = parsed_json(path.read_bytes())
    if not isinstance(value, dict) or not isinstance(value.get("half"), bool):
        raise ValueError(
            f"{path} does not say which precision was chosen: detach that input, or choose an empty folder"
        )
    return PrecisionChoice(value["half"], str(value.get("why", "")))


def _refuse_not_finite(features: np.ndarray, paths: Sequence[Path]) -> None:
    bad = [str(path) for path, row in zip(paths, features, strict=True) if not np.isfinite(row).all()]
    if bad:
        raise FloatingPointError(f"a feature is NaN or infinite, in fp32 too: {', '.join(bad)}")


# %%
def finish_features(task: FeatureTask) -> dict[str, Any]:
    """Put all chunks into `features.npz`, whole or not at all, and remove them; return what made the features.

    Raises:
        ValueError: chunks are missing.
        WeightsError: a chunk is damaged.
    """
    out = task.folder / FEATURES_FILE
    if not out.exists():
        if left := task.chunks_left:
            raise ValueError(f"{task.folder}: chunks {', '.join(map(str, left))} are not computed yet")
        parts, log = zip(*(_read_chunk(task, number) for number in task.chunks), strict=True)
        features = np.concatenate(parts)
        arrays = {
            "image_id": np.array(list(task.photographs)),
            "features": features,
            PROVENANCE: np.array(json.dumps(_provenance(task, features.shape[1], log))),
        }
        text = StringIO()
        table = csv.DictWriter(text, LOGGED, lineterminator="\n")
        table.writeheader()
        table.writerows(log)
        write_text(task.folder / LOG_FILE, text.getvalue())
        write_atomically(out, lambda draft: np.savez(draft, **arrays))
    for number in task.chunks:
        task.chunk(number).unlink(missing_ok=True)
    with np.load(out, allow_pickle=False) as archive:
        return dict(json.loads(str(archive[PROVENANCE])))


def _read_chunk(task: FeatureTask, number: int) -> tuple[np.ndarray, dict[str, Any]]:
    path = task.chunk(number)
    with open_weights(path, "np") as file:
        notes = dict(file.metadata() or {})
        features = np.asarray(file.get_tensor("features")) if "features" in file.keys() else np.zeros(0)  # noqa: SIM118
    if features.ndim != 2 or len(features) != len(task.rows(number)) or features.dtype != np.float32:
        raise WeightsError(f"{path} does not hold the features of {len(task.rows(number))} photographs: delete it")
    return features, {"chunk": number} | {name: notes.get(name, "") for name in LOGGED[1:]}


def _provenance(task: FeatureTask, width: int, log: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say what made the features, for whoever makes the same of other photographs."""
    experiment, path = task.experiment, task.folder / PRECISION_FILE
    preprocessing = preprocessing_of(experiment.encoder.timm)
    choice = _read_choice(path) if path.exists() else None
    if choice is not None and not choice.half:
        experiment = changed(experiment, {"encoder.precision": "fp32"})  # so that inference decides the same
    return {
        "experiment": experiment.as_json(),
        "preprocessing": preprocessing.as_json(),
        "weights": {"dataset": experiment.encoder.weights, "sha256": weights_sha256(task.weights)},
        "blocks": feature_blocks(experiment, framings_of(experiment, preprocessing)),
        "images": len(task.photographs),
        "features": width,
        "dtype": "float32",
        "device": "; ".join(dict.fromkeys(f"{one['device']}, {one['precision']}" for one in log)),
        "precision": choice.why if choice is not None else "no device with fast fp16",
        "source_sha256": sources_of(task.folder),
        "versions": {name: version(name) for name in VERSIONED},
    }

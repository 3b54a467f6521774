"""What lies on a person's machine after training, bundling, rehearsing and submitting: made up, without any network."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from build.core.bundle_files import file_entry
from build.run.rehearse.report import Report, SubmissionCheck
from build.scores.ledger import Score, append_score
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.runtime.files import sha256_of
from tests.build.scores.painted import group_folds, predicted, truth, write_oof, write_train

NAME = "v7"
TABLE = truth()
GRAMS = TABLE[list(TARGETS)].to_numpy(float)
FORMULA = "official weighted R2 over all rows, in grams, after the constraint"
RUN, BUNDLE = Path("out/runs/v7/abc"), Path("out/bundles/v7")
REHEARSAL = Path("out/rehearsals/i2b-v7-infer/report.json")


def lay_out(root: Path, grams: np.ndarray | None = None, folds: np.ndarray | None = None, **changes: Any) -> Path:
    """Lay out data with a dozen photographs, run, bundle and rehearsal of `v7`; `changes` are of its experiment."""
    data = root / "data/csiro-biomass"
    (data / "train").mkdir(parents=True)
    write_train(data / "train.csv", TABLE)
    random = np.random.default_rng(5)
    for image in TABLE["image_id"][::30]:
        cv2.imwrite(str(data / "train" / f"{image}.jpg"), random.integers(0, 255, (50, 100, 3), np.uint8))
    write_run(root / RUN, grams, folds, **changes)
    write_bundle(root)
    write_rehearsal(root)
    return root


def write_run(folder: Path, grams: np.ndarray | None = None, folds: np.ndarray | None = None, **changes: Any) -> Path:
    """Write what a training leaves: config, predictions, log, weights."""
    folder.mkdir(parents=True, exist_ok=True)
    grams = predicted(TABLE, 1) if grams is None else grams
    write_oof(folder / "oof.csv", TABLE, grams, group_folds(TABLE) if folds is None else folds)
    experiment = changed(EXPERIMENTS[NAME], changes)
    weights = [f"fold{fold}.safetensors" for fold in range(5)]
    for name in weights:
        (folder / name).write_bytes(b"weights of " + name.encode())
    config = {
        "format": 3,
        "experiment": experiment.as_json(),
        "source_sha256": "ab" * 32,
        "folds": weights,
        "target_mean": dict(zip(TARGETS, GRAMS.mean(0).tolist(), strict=True)),
        "oof": {
            "score": weighted_r2(GRAMS, constrain(grams, experiment.predict.constraint)),
            "images": len(TABLE),
            "formula": FORMULA,
        },
        "versions": {"python": "3.12.13", "torch": "2.11.0"},
        "device": {"kind": "cuda", "name": "Tesla T4", "count": 2, "half": True, "fault": ""},
    }
    (folder / "config.json").write_text(json.dumps(config))
    rows = ["fold,epoch,train_loss,inner_loss,learning_rate,seconds"]
    rows += [f"{fold},{e},{3 / e},{4 / e + (e > 3)},0.0001,10.0" for fold in range(5) for e in range(1, 6)]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_bundle(root: Path) -> Path:
    """Write the bundle of the run; its weights are nobody's."""
    folder, run = root / BUNDLE, root / RUN
    folder.mkdir(parents=True, exist_ok=True)
    names = ["config.json", "oof.csv", *(f"fold{fold}.safetensors" for fold in range(5))]
    for name in names:
        (folder / name).write_bytes((run / name).read_bytes())
    manifest = {
        "format": 3,
        "dataset": "i2b-v7-weights",
        "experiment": NAME,
        "source_sha256": "ab" * 32,
        "versions": {},
        "files": {name: file_entry(folder / name) for name in names},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_rehearsal(root: Path, **changes: Any) -> Path:
    """Write the report of a rehearsal on the bundle."""
    report = Report(
        notebook="notebooks/i2b-v7-infer/i2b-v7-infer.ipynb",
        manifests={"i2b-v7-weights": sha256_of(root / BUNDLE / "manifest.json")},
        out="out",
        rerun=True,
        layout="new",
        seconds=31.0,
        limit_s=32400.0,
        peak_rss_gb=1.84,
        memory_gb=29.0,
        isolation={"network": "namespace"},
        network_attempts=0,
        images=40,
        projected_seconds_800=612.0,
        projection="40 images in 29 s",
        submission=SubmissionCheck(rows=200, valid=True, problems=()),
    )
    path = root / REHEARSAL
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(report, **changes).write(path)
    return path


def submit(root: Path, **changes: Any) -> Score:
    """Record a scored submission of the bundle."""
    score = Score(
        time="2026-11-24T10:00:00+00:00",
        experiment=NAME,
        source_sha256="a" * 64,
        bundle_sha256=sha256_of(root / BUNDLE / "manifest.json"),
        kernel_version=3,
        submission_ref=77,
        status="complete",
        cv=0.5,
        cv_formula=FORMULA,
        public=0.5812,
        note="first real one",
    )
    append_score(replace(score, **changes), root / "docs/scores.csv", root=root)
    return score

"""One tune command on nets of 0.1 M parameters: in this process, or as the command line that users type."""

import subprocess
import sys
from pathlib import Path

from build.notebooks.builder import ROOT

TINY = (
    "backbone=test_efficientnet starting_weights= image_height_px=32 image_width_px=64 head_hidden=8 epochs=2 "
    "batch_size=4 folds=2 inner_folds=0 patience_epochs=0 tta=none warmup_epochs=0"
)
SPACE = "learning_rate=1e-4..1e-2 loss=mse,smooth_l1 optimizer=adamw augmentation=conservative weight_decay=1e-4"


def tune_command(data: Path, out: Path, *, trials: int, more: tuple[str, ...] = ()) -> list[str]:
    return [
        sys.executable, "-m", "build", "tune", "--experiment", "demo", "--data", str(data), "--trials", str(trials),
        "--set", TINY, "--space", SPACE, "--inner-folds", "2", "--pruner", "none", "--out", str(out), "--json", *more,
    ]  # fmt: skip


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

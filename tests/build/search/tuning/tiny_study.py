"""One tune command on nets of 0.1 M parameters: in this process, or as the command line that users type."""

import subprocess
import sys
from pathlib import Path

from build.notebooks.builder import ROOT

TINY = (
    "encoder.timm=test_efficientnet encoder.weights= pictures.height_px=32 pictures.width_px=64 head.hidden=8 "
    "schedule.epochs=2 schedule.warmup=0 batch.size=4 data.split.folds=2 predict.tta=none"
)
SPACE = (
    "optimizer.lr=1e-4..1e-2 loss=SquaredError,SmoothL1 optimizer=AdamW augment.preset=conservative "
    "optimizer.weight_decay=1e-4"
)


def tune_command(data: Path, out: Path, *, trials: int, more: tuple[str, ...] = ()) -> list[str]:
    return [
        sys.executable, "-m", "build", "tune", "--experiment", "demo", "--data", str(data), "--trials", str(trials),
        "--set", TINY, "--space", SPACE, "--inner-folds", "2", "--pruner", "none", "--out", str(out), "--json", *more,
    ]  # fmt: skip


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

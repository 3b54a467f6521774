"""Minutes for 800 photographs of each experiment: measured on a GPU, else computed from FLOPs, and said so.

On a GPU each experiment of the seed runs through the whole engine with random weights, in fp16, on one device and on
all of them; its minutes are the seconds of 320 photographs beyond those of 64, taken to 800, without the start.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

MEASURED = ("v1", "v4", "v5", "v7", "v8")
FEW, MANY, ALL = 64, 320, 800  # photographs
FOLDS = 2


def measure(quick: bool) -> dict[str, Any]:
    """Return `minutes`, by experiment."""
    from bench.pairs import amount
    from build.weights.describe import TIME_FORMULA, descriptions
    from kernel_src.recipes.experiments import EXPERIMENTS
    from kernel_src.runtime.device import check_device

    names = MEASURED[:1] if quick else MEASURED
    device = check_device()
    projected = {
        d.experiment: amount([d.t4_minutes], "min") for d in descriptions([EXPERIMENTS[n] for n in names], quiet=True)
    }
    found: dict[str, Any] = {"projected": projected, "formula": f"computed from FLOPs, not measured: {TIME_FORMULA}"}
    if device.kind == "cpu":
        return {"minutes": found}
    for devices in sorted({1, device.count}):
        found[f"measured_{devices}"] = {
            name: amount([_minutes(EXPERIMENTS[name], replace(device, count=devices))], "min") for name in names
        }
    return {"minutes": found | {"device": f"measured on {device.count} x {device.name}, fp16"}}


def _minutes(experiment: Any, device: Any) -> float:
    from bench.material import bundle, competition
    from bench.sides import Work, our_inference

    seconds = []
    for images in (FEW, MANY):
        with tempfile.TemporaryDirectory() as out:
            recipe = bundle(experiment, FOLDS)
            work = Work(competition=competition(images), recipes=[recipe], device=device, out=Path(out))
            start = time.perf_counter()
            our_inference(work)
            seconds.append(time.perf_counter() - start - work.loading_s[-1])
    each_s = (seconds[1] - seconds[0]) / (MANY - FEW)
    folds = len(experiment.train_folds) or experiment.folds
    return ALL * each_s * folds / FOLDS / 60

"""Every real architecture with random weights on this CPU: one training step, one prediction, seconds and peak memory.

Each runs in a process of its own, so that its peak is its own. `python bench/architectures.py [NAME …] [--write]`;
`--write` keeps the table as docs/architectures.md. The numbers say that the code runs and fits, not how fast a T4 is.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "architectures.md"


def measure(name: str) -> dict[str, Any]:
    """Train one step at batch size 2 and predict one image, through the code that training and inference use."""
    import numpy as np
    import torch

    from build.weights.random_weights import DEPTH_SMALL, random_depth
    from kernel_src.data.dataset import DecodedPhotographs
    from kernel_src.data.symmetries import UPRIGHT
    from kernel_src.data.training_photographs import FoldData
    from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE, load_depth
    from kernel_src.models.full_pass import predict_grams
    from kernel_src.models.model import load_fold
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.recipes.experiments import EXPERIMENTS
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.memory import keep_freed_memory
    from kernel_src.training.depth_maps import cached_depth_maps
    from kernel_src.training.training import train_fold

    keep_freed_memory()
    experiment = replace(
        EXPERIMENTS[name],
        starting_weights="",
        epochs=1,
        batch_size=2,
        accumulate_steps=1,
        inner_folds=0,
        patience_epochs=0,
    )
    random = np.random.default_rng(0)
    photographs = random.integers(0, 255, (2, *experiment.image_size_px, 3), np.uint8)
    grams = random.gamma(2, 10, (2, 5))
    device = check_device()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        estimator, maps = None, None
        if experiment.depth:
            depth = random_depth(folder / "depth", DEPTH_SMALL)
            estimator = load_depth(depth / DEPTH_WEIGHTS_FILE, depth / DEPTH_CONFIG_FILE)
            maps = cached_depth_maps(
                photographs,
                estimator,
                depth / DEPTH_WEIGHTS_FILE,
                experiment.depth_channels,
                folder,
                torch.device(device.kind),
            )
        data = FoldData(
            photographs=photographs,
            depth_maps=maps,
            grams=grams,
            train_rows=np.arange(2),
            inner_rows=np.zeros(0, int),
        )
        start = time.perf_counter()
        log = train_fold(experiment, 0, data, device=device, starting_weights=None, folder=folder)
        train_s = time.perf_counter() - start
        model = load_fold(experiment, folder / "fold0.safetensors")
        start = time.perf_counter()
        predicted = predict_grams(
            [model],
            DecodedPhotographs(photographs, np.arange(1)),
            preprocessing=preprocessing_of(experiment.backbone),
            symmetries=(UPRIGHT,),
            device=device,
            batch_size=1,
            estimator=estimator,
            depth_channels=experiment.depth_channels,
        )
        predict_s = time.perf_counter() - start
    return {
        "experiment": name,
        "backbone": experiment.backbone,
        "image_px": "x".join(map(str, experiment.image_size_px)),
        "train_loss": log[-1]["train_loss"],
        "finite": bool(np.isfinite(predicted).all()),
        "train_fold_s": round(train_s, 1),
        "predict_s": round(predict_s, 2),
        # Linux counts kibibytes.
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }


def measure_apart(name: str) -> dict[str, Any]:
    """Run `measure` in a process of its own."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the results out as Markdown."""
    lines = [
        "# Real architectures, random weights, on a CPU",
        "",
        "For anyone who wants to know what a network costs before training it.",
        "",
        f"`python bench/architectures.py --write` on {platform.machine()}, Python {platform.python_version()}, "
        f"torch {version('torch')}, timm {version('timm')}; n = 1 each. Training: one fold of one step of two",
        "photographs, with building, optimiser and saving; prediction: one photograph, one view. On a machine where",
        "other work runs the seconds are upper bounds; the memory is not affected.",
        "",
        "| experiment | backbone | px | train one step, s | predict one image, s | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['experiment']} | {row['backbone']} | {row['image_px']} | {row['train_fold_s']} | "
            f"{row['predict_s']} | {row['peak_rss_gb']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the named experiments, or all, and print the table."""
    from kernel_src.recipes.experiments import EXPERIMENTS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="experiments; all by default")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=f"keep the table as {TABLE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one)))
        return
    rows = []
    # Of frozen features nothing is trained; their network is that of another experiment.
    for name in chosen.names or [name for name, experiment in EXPERIMENTS.items() if not experiment.is_frozen]:
        rows.append(measure_apart(name))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    text = table(rows)
    print(text)
    if chosen.write:
        from kernel_src.runtime.files import write_text

        write_text(TABLE, text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()

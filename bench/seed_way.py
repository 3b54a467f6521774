"""Our inference against the seed's way: the same weights and photographs.

The seed's way (bench/sides.py): per fold, per view, each photograph decoded at full size, depth inside each fold, one
photograph at a time. Its weights are loaded before the clock starts; ours loads its own, which is taken off. In turn,
three rounds for each number of views.
"""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench.timing import in_turn, plan, ratio
from kernel_src.recipes.changes import changed

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
FOLDS = 2
IMAGES = {"v5": 1, "small": 16}
IMAGES_GPU = 32  # one would only measure how long CUDA takes to start
VIEWS = {"none": 1, "flips": 4, "trained": 8}  # predict.tta → number of views, of a moderate augmentation


def measure(quick: bool) -> dict[str, Any]:
    """Return `seed_way.<experiment>`: speedup at 8 views, by views, and peak memory."""
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    plan(len(VIEWS) + 1)  # and the peaks
    name = "small" if quick else "v5"
    by_views = {tta: of_views(name, tta) for tta in VIEWS}
    peak = {side: _peak_gb(name, side) for side in ("ours", "seed")}
    over = peak["seed"] / peak["ours"]
    found = {
        "speedup": by_views["trained"],
        "by_views": {str(VIEWS[tta]): by_views[tta] for tta in VIEWS},
        "peak_over_ours": {"value": over, "n": 1, "spread": [over, over]},
        "peaks": f"{peak['seed']:.2f} GB, ours {peak['ours']:.2f} GB",
        "how_many": f"{images_of(name, check_device())} photographs, {FOLDS} folds",
    }
    return {"seed_way": {name: found}}


def of_views(name: str, tta: str) -> dict[str, Any]:
    """Compare both at one number of views; how many times faster ours is."""
    from bench.sides import Apart, Timed, our_inference

    with tempfile.TemporaryDirectory() as out:
        work = _work(name, tta, Path(out))
        ours, seed = Timed(), Apart(lambda: _seed(work))
        in_turn({"ours": lambda: ours(lambda: our_inference(work)), "seed": seed}, ROUNDS)
        seed.end()
        ours_s = [all_s - loading_s for all_s, loading_s in zip(ours.wall_s, work.loading_s, strict=True)]
        return ratio(seed.wall_s, ours_s) | {"largest_difference_g": float(abs(seed.answer - work.grams).max())}


def _seed(work: Any) -> Any:
    """Load the weights and return what is to be timed."""
    from bench.sides import folds_apart, seeds_way

    return partial(seeds_way, work, [folds_apart(recipe, work.device) for recipe in work.recipes])


def _work(name: str, tta: str, out: Path) -> Any:
    from bench.material import SMALL, bundle, competition
    from bench.sides import Work
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.runtime.device import check_device

    experiment = changed(SMALL if name == "small" else EXPERIMENTS[name], {"predict.tta": tta})
    recipe, device = bundle(experiment, FOLDS), check_device()
    return Work(competition=competition(images_of(name, device)), recipes=[recipe], device=device, out=out)


def images_of(name: str, device: Any) -> int:
    """Say how many photographs are predicted."""
    return IMAGES[name] if device.kind == "cpu" else IMAGES_GPU


# %% Peak memory, each in a process of its own


def _peak_gb(name: str, side: str) -> float:
    command = [sys.executable, "-m", "bench.seed_way", name, side]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _run_side(name: str, side: str) -> float:
    """Run one side once in one view, and return the peak of this process and its worker, in GB."""
    from bench.memory import PeakMemory
    from bench.sides import our_inference

    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        work = _work(name, "none", Path(out))
        if side == "ours":
            our_inference(work)
        else:
            _seed(work)()
    return memory.peak_bytes / 1e9


if __name__ == "__main__":
    print(json.dumps(_run_side(*sys.argv[1:])))

"""Our inference against the seed's way and against what a user would write; the same weights and photographs.

The seed's way (bench/sides.py): per fold, per view, each photograph decoded at full size, depth inside each fold, one
photograph at a time. What a user would write: a DataLoader per fold, batches, depth cached. Both have their weights
loaded before the clock starts; ours loads its own, which is taken off. In turn, three rounds for each number of views.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
FOLDS = 2
IMAGES = {"v5": 1, "small": 16}
VIEWS = {"none": 1, "flips": 4, "all": 8}  # experiment.tta → number of views


def measure(quick: bool) -> dict[str, Any]:
    """Return `seed_way.<experiment>` and `user_way.<experiment>`: speedup at 8 views, by views, and peak memory."""
    from kernel_src.common.memory import keep_freed_memory

    keep_freed_memory()
    name = "small" if quick else "v5"
    by_views = {tta: of_views(name, tta) for tta in VIEWS}
    peak = {side: _peak_gb(name, side) for side in ("ours", "seed", "user")}
    return {
        f"{rival}_way": {
            name: {
                "speedup": by_views["all"][rival],
                "by_views": {str(VIEWS[tta]): by_views[tta][rival] for tta in VIEWS},
                "peak_over_ours": {
                    "value": peak[rival] / peak["ours"],
                    "n": 1,
                    "spread": [peak[rival] / peak["ours"]] * 2,
                },
                "peaks": f"{peak[rival]:.2f} GB, ours {peak['ours']:.2f} GB",
                "how_many": f"{IMAGES[name]} photographs, {FOLDS} folds",
            }
        }
        for rival in ("seed", "user")
    }


def of_views(name: str, tta: str) -> dict[str, dict[str, Any]]:
    """Compare all three at one number of views; how many times faster ours is than each."""
    from bench.pairs import ratio
    from bench.rounds import in_turn
    from bench.sides import Timed, folds_apart, in_a_thread, our_inference, seeds_way, users_way
    from kernel_src.common.bundles import load_recipe

    with tempfile.TemporaryDirectory() as out:
        work = _work(name, tta, Path(out))
        apart = [folds_apart(recipe, work.device) for recipe in work.recipes]
        together = [load_recipe(recipe) for recipe in work.recipes]
        for bundle in together:
            for model in bundle.models:
                model.to(work.device.kind)
            if bundle.depth is not None:
                bundle.depth.to(work.device.kind)
        timed = {side: Timed() for side in ("ours", "seed", "user")}
        in_turn(
            {
                "ours": lambda: timed["ours"](lambda: our_inference(work)),
                "seed": lambda: timed["seed"](lambda: in_a_thread(lambda: seeds_way(work, apart))),
                "user": lambda: timed["user"](lambda: in_a_thread(lambda: users_way(work, together))),
            },
            ROUNDS,
        )
        ours_s = [all_s - loading_s for all_s, loading_s in zip(timed["ours"].wall_s, work.loading_s, strict=True)]
        found = {}
        for rival in ("seed", "user"):
            found[rival] = ratio(timed[rival].wall_s, ours_s)
            found[rival]["largest_difference_g"] = float(abs(work.grams[rival] - work.grams["ours"]).max())
        return found


def _work(name: str, tta: str, out: Path) -> Any:
    from bench.material import SMALL, bundle, competition
    from bench.sides import Work
    from kernel_src.common.device import check_device
    from kernel_src.common.experiments import EXPERIMENTS

    experiment = replace(SMALL if name == "small" else EXPERIMENTS[name], tta=tta)
    recipe = bundle(experiment, FOLDS)
    return Work(competition=competition(IMAGES[name]), recipes=[recipe], device=check_device(), out=out)


# %% Peak memory, each in a process of its own


def _peak_gb(name: str, side: str) -> float:
    command = [sys.executable, "-m", "bench.seed_way", name, side]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _run_side(name: str, side: str) -> float:
    """Run one side once in one view, and return the peak of this process and its worker, in GB."""
    from bench.memory import PeakMemory
    from bench.sides import folds_apart, our_inference, seeds_way, users_way
    from kernel_src.common.bundles import load_recipe
    from kernel_src.common.memory import keep_freed_memory

    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        work = _work(name, "none", Path(out))
        if side == "ours":
            keep_freed_memory()
            our_inference(work)
        elif side == "seed":
            seeds_way(work, [folds_apart(recipe, work.device) for recipe in work.recipes])
        else:
            users_way(work, [load_recipe(recipe) for recipe in work.recipes])
    return memory.peak_bytes / 1e9


if __name__ == "__main__":
    print(json.dumps(_run_side(*sys.argv[1:])))

"""Two ratios on a net small enough for a test to guard: `python -m bench.guard --times 10` says how stable they are.

In seconds of the processor, this process and its worker together. No test guards them yet: repeated on quiet cores they
moved by a sixth (docs/performance.md), more than what a guard should notice.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.material import SMALL, bundle, competition
from bench.rounds import in_turn
from bench.sides import Apart, Floor, Timed, Work, folds_apart, our_inference, seeds_way
from kernel_src.common.bundles import load_recipe
from kernel_src.common.device import check_device
from kernel_src.common.memory import keep_freed_memory

IMAGES, ROUNDS = 16, 3
GUARDED = replace(SMALL, name="guarded", image_height_px=256, image_width_px=256, tta="all")


def ratios() -> dict[str, float]:
    """Return our inference over its floor, and the seed's way over our inference."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as out:
        recipe = bundle(GUARDED, 2)
        work = Work(competition=competition(IMAGES), recipes=[recipe], device=check_device(), out=Path(out))
        ours, load = Timed(), Timed()
        load(lambda: load_recipe(recipe))
        floor = Apart(lambda: Floor(work).ready())
        seed = Apart(lambda: partial(seeds_way, work, [folds_apart(recipe, work.device)]))
        in_turn({"floor": floor, "ours": lambda: ours(lambda: our_inference(work)), "seed": seed}, ROUNDS)
        floor.end()
        seed.end()
    floor_s, ours_s, seed_s = (sorted(side.cpu_s)[ROUNDS // 2] for side in (floor, ours, seed))
    ours_s -= load.cpu_s[0]
    return {"overhead": round(ours_s / floor_s, 3), "seed": round(seed_s / ours_s, 3)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1)
    for _ in range(parser.parse_args().times):
        print(json.dumps(ratios()), flush=True)

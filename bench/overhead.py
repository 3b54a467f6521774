"""Our whole inference over its floor: what is paid beside the arithmetic of the nets.

First file opened → submission.csv written, less the loading of the weights, over the same forward passes on ready
tensors; in turn, three rounds. The ratio is 1 if nothing is wasted. `overhead.<experiment>.cpu_ratio` says the same in
seconds of the processor, which other work on the machine cannot stretch.
"""

import tempfile
from pathlib import Path
from typing import Any

from bench.timing import amount, in_turn, ratio
from kernel_src.recipes.changes import changed

ROUNDS = 3
FOLDS = 2
SYMMETRIES = {"v5": "trained", "v7": "none", "v8": "none"}  # by experiment
IMAGES, IMAGES_GPU = 8, 160  # a GPU is through with eight before its worker has loaded CUDA's kernels


def measure(quick: bool, of: str) -> dict[str, Any]:
    """Return `overhead.<experiment>`: ratio, processor ratio, the seconds of both sides, loading apart."""
    import torch

    from bench.material import SMALL, bundle, competition, photograph_source
    from bench.sides import Apart, Floor, Timed, Work, our_inference
    from kernel_src.bundle.bundles import load_recipe
    from kernel_src.competitions.held_recipes import EXPERIMENTS
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    device = check_device()
    experiment = (
        changed(SMALL, {"predict.tta": "trained"})
        if quick
        else changed(EXPERIMENTS[of], {"predict.tta": SYMMETRIES[of]})
    )
    images = 64 if quick else IMAGES if device.kind == "cpu" else IMAGES_GPU
    recipe = bundle(experiment, FOLDS)
    with tempfile.TemporaryDirectory() as out:
        work = Work(competition=competition(images), recipes=[recipe], device=device, out=Path(out))
        ours, load = Timed(), Timed()
        load(lambda: load_recipe(recipe))
        # Forked last: the teams of OpenMP threads that this process has had decide how later ones wait.
        floor = Apart(lambda: Floor(work).ready())
        in_turn({"floor": floor, "ours": lambda: ours(lambda: our_inference(work))}, ROUNDS)
        floor.end()
    ours_s = [all_s - loading_s for all_s, loading_s in zip(ours.wall_s, work.loading_s, strict=True)]
    found = {
        "ratio": ratio(ours_s, floor.wall_s),
        "ours": amount(ours_s, "s"),
        "floor": amount(floor.wall_s, "s"),
        "loading_apart": amount(work.loading_s, "s"),
        "how": f"{FOLDS} folds, {images} photographs, {torch.get_num_threads()} threads",
        "photographs": photograph_source(),
    }
    if device.kind == "cpu":
        found["cpu_ratio"] = ratio([seconds - load.cpu_s[0] for seconds in ours.cpu_s], floor.cpu_s)
    return {"overhead": {f"small for {of}" if quick else of: found}}

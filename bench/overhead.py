"""Our whole inference over its floor: what is paid beside the arithmetic of the nets.

First file opened → submission.csv written, less the loading of the weights, over the same forward passes on ready
tensors; in turn, three rounds. The ratio is 1 if nothing is wasted. `overhead.<experiment>.cpu_ratio` says the same in
seconds of the processor, which other work on the machine cannot stretch.

A GPU is through with eight photographs before its worker has loaded CUDA's kernels. There it is measured on two numbers
of photographs, and `overhead.<experiment>.marginal` compares what one photograph more costs on both sides.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROUNDS = 3
FOLDS = 2
SYMMETRIES = {"v5": "all", "v7": "none", "v8": "none"}  # by experiment
IMAGES = 8
IMAGES_GPU = {"v5": (32, 160), "v7": (64, 320), "v8": (64, 320)}  # v5's eight views take eight times as long


def measure(quick: bool, of: str) -> dict[str, Any]:
    """Return `overhead.<experiment>`: ratio, processor ratio, the seconds of both sides, loading apart."""
    from bench.material import SMALL, photograph_source
    from kernel_src.recipes.experiments import EXPERIMENTS
    from kernel_src.runtime.device import check_device
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    device = check_device()
    if quick:
        found = of_one(replace(SMALL, tta="all"), 64, device)
    else:
        experiment = replace(EXPERIMENTS[of], tta=SYMMETRIES[of])
        found = of_one(experiment, IMAGES, device) if device.kind == "cpu" else on_gpu(experiment, device)
    return {"overhead": {f"small for {of}" if quick else of: found | {"photographs": photograph_source()}}}


def on_gpu(experiment: Any, device: Any) -> dict[str, Any]:
    """Compare at both numbers of photographs; the seconds of both sides, and what each photograph more costs."""
    from bench.pairs import ratio

    few, many = IMAGES_GPU[experiment.name]
    sides: dict[str, list[list[float]]] = {"ours": [], "floor": []}
    found = of_one(experiment, few, device, sides), of_one(experiment, many, device, sides)
    more = {
        side: [b - a for a, b in zip(few_s, many_s, strict=True)] for side, (few_s, many_s) in sides.items()
    }  # seconds, by round
    return found[1] | {"marginal": ratio(more["ours"], more["floor"]), f"at_{few}": found[0]}


def of_one(
    experiment: Any, images: int, device: Any, sides: dict[str, list[list[float]]] | None = None
) -> dict[str, Any]:
    """Compare one experiment's inference with its floor; the seconds of every round are added to `sides`."""
    import torch

    from bench.material import bundle, competition
    from bench.pairs import amount, ratio
    from bench.rounds import in_turn
    from bench.sides import Apart, Floor, Timed, Work, our_inference
    from kernel_src.bundle.bundles import load_recipe

    with tempfile.TemporaryDirectory() as out:
        recipe = bundle(experiment, FOLDS)
        work = Work(competition=competition(images), recipes=[recipe], device=device, out=Path(out))
        ours, load = Timed(), Timed()
        load(lambda: load_recipe(recipe))
        # Forked last: the teams of OpenMP threads that this process has had decide how later ones wait.
        floor = Apart(lambda: Floor(work).ready())
        in_turn({"floor": floor, "ours": lambda: ours(lambda: our_inference(work))}, ROUNDS)
        floor.end()
        ours_s = [all_s - loading_s for all_s, loading_s in zip(ours.wall_s, work.loading_s, strict=True)]
        if sides is not None:
            sides["ours"].append(ours_s)
            sides["floor"].append(floor.wall_s)
        found = {
            "ratio": ratio(ours_s, floor.wall_s),
            "ours": amount(ours_s, "s"),
            "floor": amount(floor.wall_s, "s"),
            "loading_apart": amount(work.loading_s, "s"),
            "how": f"{FOLDS} folds, {images} photographs, {torch.get_num_threads()} threads",
        }
        if device.kind == "cpu":
            ours_cpu_s = [seconds - load.cpu_s[0] for seconds in ours.cpu_s]
            found["cpu_ratio"] = ratio(ours_cpu_s, floor.cpu_s)
        return found

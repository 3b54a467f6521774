"""What half precision gains and costs: the same forward passes in fp32, fp16 and bf16, in turn.

Our inference computes in fp16, since Kaggle's T4s have no arithmetic for bf16; a newer card may prefer the other. On a
CPU only a small net is measured, so that the part itself has been run.
"""

from functools import partial
from typing import Any

ROUNDS = 5
BATCH = 16  # photographs
ON_A_GPU = ("v4", "v5")  # convolutions; a transformer with depth


def measure(quick: bool) -> dict[str, Any]:
    """Return `precision.<experiment>`: how many times faster than fp32, and the largest difference in grams."""
    from bench.budget import plan
    from bench.material import SMALL
    from kernel_src.recipes.experiments import EXPERIMENTS
    from kernel_src.runtime.device import check_device

    device = check_device()
    small = quick or device.kind == "cpu"
    experiments = [SMALL] if small else [EXPERIMENTS[name] for name in ON_A_GPU]
    plan(len(experiments))
    found = {experiment.name: of_one(experiment, device.kind) for experiment in experiments}
    return {"precision": found | {"device": f"measured on {device.name}, batches of {BATCH}, one fold"}}


def of_one(experiment: Any, kind: str) -> dict[str, Any]:
    """Compare the three on one net."""
    import time

    import torch

    from bench.material import bundle, smooth_batch
    from bench.pairs import ratio
    from bench.rounds import in_turn
    from kernel_src.bundle.bundles import load_recipe

    model = load_recipe(bundle(experiment)).models[0].to(kind).to(memory_format=torch.channels_last)
    pictures, depth = (None if part is None else part.to(kind) for part in smooth_batch(experiment, BATCH))
    answers: dict[str, torch.Tensor] = {}

    def timed(name: str, dtype: torch.dtype) -> float:
        start = time.perf_counter()
        with torch.inference_mode(), torch.autocast(kind, dtype, enabled=name != "fp32"):
            grams = model.scaling.to_grams(model(pictures, depth=depth))
        answers[name] = grams.float().cpu()  # which waits for the device
        return time.perf_counter() - start

    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    sides = {name: partial(timed, name, dtype) for name, dtype in types.items()}
    for warm_up in sides.values():
        warm_up()
    seconds = in_turn(sides, ROUNDS)
    return {
        f"{name}_speedup": ratio(seconds["fp32"], seconds[name])
        | {"largest_difference_g": float((answers[name] - answers["fp32"]).abs().max())}
        for name in ("fp16", "bf16")
    }

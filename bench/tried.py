"""What might make inference faster and is measured, not believed: folds stacked, batch norms folded, a compiled net.

`python -m bench.tried [small] [v5]`. Each way computes the same batch with two folds, in turn with the folds one after
the other, which is what the engine does. Kept out of `make bench`: docs/performance.md has the figures and what came
of them.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.material import SMALL, bundle, smooth_batch
from bench.pairs import amount, ratio
from bench.rounds import in_turn
from bench.sides import Apart
from kernel_src.bundle.bundles import load_recipe
from kernel_src.models.model import BiomassNet
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.runtime.memory import keep_freed_memory

BATCHES = {"small": 16, "v5": 2}
ROUNDS = 3
Way = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


def one_after_the_other(models: list[BiomassNet]) -> Way:
    """What the engine does."""
    return lambda pictures, depth: torch.stack([model(pictures, depth) for model in models])


def stacked(models: list[BiomassNet]) -> Way:
    """Let torch.func evaluate all folds as one, their weights stacked; convolutions become grouped ones."""
    parameters, buffers = torch.func.stack_module_state(models)  # type: ignore[arg-type]
    base = copy.deepcopy(models[0]).to("meta")

    def one(own: Any, its: Any, pictures: torch.Tensor, depth: torch.Tensor | None) -> torch.Tensor:
        return torch.func.functional_call(base, (own, its), (pictures, depth))

    return lambda pictures, depth: torch.vmap(one, (0, 0, None, None))(parameters, buffers, pictures, depth)


def compiled(models: list[BiomassNet]) -> Way:
    """Let torch.compile make one program of each fold."""
    programs = [torch.compile(model) for model in models]
    return lambda pictures, depth: torch.stack([program(pictures, depth) for program in programs])


def norms_folded(models: list[BiomassNet]) -> Way:
    """Multiply each batch norm into the convolution before it."""
    return one_after_the_other([_fold_norms(copy.deepcopy(model)) for model in models])


def _fold_norms(model: BiomassNet) -> BiomassNet:
    for module in list(model.modules()):
        children = list(module.named_children())
        for (_, conv), (name, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                fused = nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
                conv.weight, conv.bias = fused.weight, fused.bias
                after = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]  # timm's norms act
                setattr(module, name, nn.Sequential(*after))
    return model


def measure(name: str) -> dict[str, Any]:
    """Compare all ways on one net."""
    recipe = bundle(SMALL if name == "small" else EXPERIMENTS[name], 2)
    models = [model.to(memory_format=torch.channels_last) for model in load_recipe(recipe).models]  # type: ignore[call-overload]
    pictures, depth = smooth_batch(recipe.experiment, BATCHES[name])
    plain, found = one_after_the_other(models), {}
    ways = (norms_folded, stacked, *([compiled] if name == "small" else []))  # v5 would compile for half an hour
    for make in ways:
        start = time.perf_counter()
        with torch.no_grad():
            way = make(models)
            answer = way(pictures, depth)
        first_s = time.perf_counter() - start

        def run(one: Way) -> float:
            with torch.no_grad():
                return float((one(pictures, depth) - answer).abs().max())  # noqa: B023

        timed = {"plain": Apart(lambda: partial(run, plain)), "other": Apart(lambda: partial(run, way))}  # noqa: B023
        in_turn(timed, ROUNDS)
        found[make.__name__] = {
            "speedup": ratio(timed["plain"].wall_s, timed["other"].wall_s),
            "cpu_speedup": ratio(timed["plain"].cpu_s, timed["other"].cpu_s),
            "plain": amount(timed["plain"].wall_s, "s"),
            "first_call_s": round(first_s, 1),
            "largest_difference_z": timed["plain"].answer,
        }
        print(name, make.__name__, json.dumps(found[make.__name__]), flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["small", "v5"])
    keep_freed_memory()
    for asked in parser.parse_args().names:
        measure(asked)

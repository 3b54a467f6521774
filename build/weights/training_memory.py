"""How much memory of a GPU a training takes, measured on the network itself without a GPU.

One step, forward and backward, runs on fake tensors: every operation happens, every tensor has its real shape and
type, and no number is stored. Each storage is counted from the operation that makes it until nothing refers to it any
more, so the peak holds what autograd keeps, what a backward pass needs for a moment, and what gradient checkpointing
computes twice. Optimiser state and the average of the weights come on top. Not in it: the CUDA context and the
libraries' workspaces, some 0.5 to 1 GB, for which LIMIT_GB leaves room.
"""

import math
import weakref
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from typing import Any

from kernel_src.competition.choice import choose_competition, chosen_competition
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, SWA, RMSprop
from kernel_src.recipes.spec import default_of

DEVICES = {"NvidiaTeslaT4": 2}  # GPUs of a machine shape; one where it is not known
LIMIT_GB = 14.0  # of the 15 GB of a T4
# What neither changes the network nor the memory of its step.
OF_NO_MATTER = ("data", "augment", "schedule", "batch", "machine", "predict", "seed")


def devices_of(experiment: Experiment) -> int:
    """Return how many GPUs the experiment's machine has."""
    return DEVICES.get(experiment.machine.shape, 1)


def images_at_once(experiment: Experiment) -> int:
    """Return how many photographs a GPU of the experiment's machine computes at once."""
    from kernel_src.training.launch import fold_rounds

    devices = devices_of(experiment)
    folds = experiment.data.train_folds or tuple(range(experiment.data.folds_trained))
    spreads = {spread for spread, _ in fold_rounds(experiment, folds, devices)}
    return experiment.batch.size if "folds" in spreads else math.ceil(experiment.batch.size / devices)


def training_bytes(experiment: Experiment) -> int:
    """Return the bytes of one GPU that training takes at its peak; 0 where nothing is trained on one."""
    if experiment.is_frozen:
        return 0
    bare = replace(
        experiment,
        name="any",
        encoder=replace(experiment.encoder, weights=""),
        **{name: default_of(Experiment, name) for name in OF_NO_MATTER},
    )
    return _measured(bare, images_at_once(experiment), chosen_competition())


@cache
def _measuring() -> ProcessPoolExecutor:
    """Start a fresh process: the fork of one that has trained aborts, and after measuring no fork can train."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


@cache
def _measured(experiment: Experiment, images: int, competition: str) -> int:
    return _measuring().submit(_measure, experiment, images, competition).result()


def _measure(experiment: Experiment, images: int, competition: str) -> int:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map_only

    from kernel_src.competitions.held_facts import facts
    from kernel_src.models.model import BackboneNet

    choose_competition(competition)  # a fresh process has made no choice yet

    class Storages(TorchDispatchMode):
        """Counts the bytes of all storages that are alive."""

        def __init__(self) -> None:
            super().__init__()
            self.now, self.peak = 0, 0
            self.alive: dict[int, Any] = {}

        def see(self, tensor: torch.Tensor) -> None:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self.alive:
                return

            def gone(_: Any) -> None:
                self.now -= size
                del self.alive[key]

            self.alive[key] = weakref.ref(storage, gone)
            self.now += size
            self.peak = max(self.peak, self.now)

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            tree_map_only(torch.Tensor, self.see, result)
            return result

    with torch.device("meta"):
        model = BackboneNet(experiment).train()
    # On the CPU, not on CUDA: without a GPU there is no backward pass of fake CUDA tensors. The CPU's autocast keeps
    # what CUDA's keeps, as far as a T4's memory-efficient attention goes.
    with FakeTensorMode(allow_non_fake_inputs=True), Storages() as storages:
        model.to_empty(device="cpu")
        canvas_px = experiment.pictures.canvas_px
        pictures = torch.empty(images, 3, *canvas_px).to(memory_format=torch.channels_last)
        depth = torch.empty(images, channels, *canvas_px) if (channels := experiment.depth_channels) else None
        inputs = torch.empty(images, len(facts().inputs)) if experiment.inputs else None
        with torch.autocast("cpu", torch.float16, enabled=experiment.encoder.precision != "fp32"):
            z = model(pictures, depth, inputs)
        z.float().square().mean().backward()
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    state = trained * (1 if isinstance(experiment.optimizer, RMSprop) else 2)
    held = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return storages.peak + state + (held if isinstance(experiment.keep, EMA | SWA) else 0)

"""## Averages of the weights

Late weights jump about the bottom of the loss; their average lies nearer to it: the moving one over all steps, the
plain one over the ends of the last epochs, or that of the few best epochs. It costs one more copy of the model for each
set of weights that is kept, and no pass through it but for batch norms.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from kernel_src.models.model import load_strictly
from kernel_src.recipes.learning import EMA, SWA, InnerFold, Keep

Weights = dict[str, torch.Tensor]
Item = TypeVar("Item")
BatchNorm = nn.modules.batchnorm._BatchNorm


class WeightAverage:
    """An average of everything in a model that is a number with a fraction; which, a class below says.

    Buffers are averaged like the weights, because the statistics of a batch norm belong to the weights they were taken
    with; averaging a constant leaves it as it is. Whole numbers (counters) are copied.
    """

    epochs = 1  # that the mean is over; an average over steps lies within one

    def __init__(self, model: nn.Module) -> None:
        """Begin with the model's present weights."""
        self.tensors: Weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def after_step(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step `step`, counted from 1."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take in the weights at the end of epoch `epoch`, counted from 1."""

    @torch.no_grad()
    def _move(self, model: nn.Module, way: float) -> None:
        """Go so much of the way, 0 to 1, from the average to the model's present weights."""
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and way < 1:
                self.tensors[name].lerp_(tensor, way)
            else:
                self.tensors[name].copy_(tensor)

    def to(self, device: torch.device) -> None:
        """Move the average to where the model is."""
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a saved average, of the same names."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)

    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the average; a second call undoes the first."""
        trained = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        load_strictly(model, self.tensors, "the average of the weights")
        self.tensors = trained


class MovingAverage(WeightAverage):
    """The exponential moving average over the steps; `decay` is the share of the old average kept at each."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with the model's present weights."""
        super().__init__(model)
        self.decay = decay

    def after_step(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step `step`, counted from 1.

        The first steps are kept shorter than `decay` says, or the random weights of the beginning would fill the
        average for 1 / (1 - decay) steps: TensorFlow's rule, ExponentialMovingAverage(num_updates).
        """
        self._move(model, 1 - min(self.decay, (1 + step) / (10 + step)))


class EpochAverage(WeightAverage):
    """The plain mean over the ends of the epochs after the first `skipped`; before, the weights as they are.

    Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", algorithm 1.
    """

    def __init__(self, model: nn.Module, skipped: int) -> None:
        """Begin with the model's present weights."""
        super().__init__(model)
        self.skipped = skipped

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take in the weights at the end of epoch `epoch`, counted from 1."""
        self.epochs = max(1, epoch - self.skipped)
        self._move(model, 1 / self.epochs)


def average_of(keep: Keep, model: nn.Module, epochs: int) -> WeightAverage | None:
    """Return the average that a fold of so many epochs keeps or judges; None where it is the weights themselves."""
    if isinstance(keep, InnerFold):
        return average_of(keep.of, model, epochs)
    if isinstance(keep, EMA):
        return MovingAverage(model, keep.decay) if keep.decay else None
    if isinstance(keep, SWA):
        return EpochAverage(model, int(keep.start * epochs + 1e-9))  # 0.29 * 100 is a hair less than 29
    return None


# %%
class BestEpochs:
    """The weights of the epochs with the lowest inner losses, the best first; ties go to the earlier epoch."""

    def __init__(self, count: int) -> None:
        """Keep those of so many epochs."""
        self.count = count
        self.epochs: list[tuple[float, int]] = []  # loss and number from 1
        self.weights: dict[int, Weights] = {}  # by number, on the CPU

    @property
    def best_epoch(self) -> int | None:
        """The number of the best epoch; None before one was judged."""
        return self.epochs[0][1] if self.epochs else None

    def take(self, loss: float, epoch: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep a copy of the weights of an epoch if it is among the best so far; one that is not finite never is."""
        if not loss < float("inf"):
            return
        self.epochs = sorted([*self.epochs, (loss, epoch)])[: self.count]
        if any(number == epoch for _, number in self.epochs):
            self.weights[epoch] = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        self.weights = {number: self.weights[number] for _, number in self.epochs}

    def mean(self) -> Weights:
        """Return the mean of their weights, whole numbers as the best epoch has them; empty before one was judged."""
        kept = list(self.weights.values())
        if len(kept) < 2:
            return dict(kept[0]) if kept else {}
        return {
            name: torch.stack([one[name].double() for one in kept]).mean(0).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in kept[0].items()
        }


# %%
class ChosenWeights(NamedTuple):
    """Weights, and over how many epochs they are a mean: of several, batch norms need their statistics taken anew."""

    tensors: Mapping[str, torch.Tensor]
    epochs: int

    def with_own_statistics(
        self, model: nn.Module, batches: Iterable[Item], compute: Callable[[Item], object]
    ) -> Mapping[str, torch.Tensor]:
        """Return the weights, after `refresh_batch_norms` where that is needed; the model gets its own ones back."""
        if self.epochs == 1 or not _learning_norms(model):
            return self.tensors
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        load_strictly(model, dict(self.tensors), "the mean of the epochs")
        refresh_batch_norms(model, batches, compute)
        refreshed = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        load_strictly(model, own, "the weights of the last step")
        return refreshed


class KeptWeights:
    """Which weights a fold leaves: the last ones, their average, or those of the best epochs."""

    def __init__(self, keep: Keep, model: nn.Module, epochs: int) -> None:
        """Begin with a model that is to be trained for so many epochs."""
        self.average = average_of(keep, model, epochs)
        self.best = BestEpochs(keep.mean_of if isinstance(keep, InnerFold) else 1)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Let a model have the weights that are judged, for a while."""
        if self.average is not None:
            self.average.swap(model)
        try:
            yield
        finally:
            if self.average is not None:
                self.average.swap(model)

    def present(self, model: nn.Module) -> ChosenWeights:
        """Return the model's weights, or their average where there is one."""
        if self.average is None:
            return ChosenWeights(model.state_dict(), 1)
        return ChosenWeights(self.average.tensors, self.average.epochs)

    def final(self, model: nn.Module) -> ChosenWeights:
        """Return what a training leaves that ends now: the best epochs; where none was judged, the present weights."""
        best = self.best.mean()
        return ChosenWeights(best, len(self.best.weights)) if best else self.present(model)


# %%
def _learning_norms(model: nn.Module) -> list[BatchNorm]:
    """Return the batch norms whose statistics follow the training; frozen ones keep their pretrained statistics."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm) and module.track_running_stats]
    return [norm for norm in norms if not norm.affine or any(p.requires_grad for p in norm.parameters(recurse=False))]


@torch.no_grad()
def refresh_batch_norms(model: nn.Module, batches: Iterable[Item], compute: Callable[[Item], object]) -> None:
    """Take the statistics of batch norms anew, as the mean over batches that `compute` passes through the model.

    Everything else is as in evaluation: no dropout. The mean of weights is a network that no statistics were taken of
    (Izmailov et al. 2018, section 3.2).
    """
    norms = _learning_norms(model)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts the same
        norm.training = True
    try:
        for batch in batches:
            compute(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False

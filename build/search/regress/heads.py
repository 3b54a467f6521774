"""Perceptron heads on frozen features, trained by the code that trains networks.

Head, loss, auxiliary bins, optimiser, schedule, batch and the average of the weights are said in the words of an
experiment and done by kernel_src/training. Heads from several beginnings are trained side by side, each on its own
order of the rows, and their answers are averaged. Nothing is chosen while they train: a head ends with its schedule.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from build.search.regress.rows import TrainingRows
from kernel_src.models.gram_heads import RAW_OUTPUTS, GramAnswers
from kernel_src.models.model import TargetScaling
from kernel_src.models.regressor import CEILING, Basis, RegressorMember
from kernel_src.recipes.learning import (
    EMA,
    AdamW,
    Auxiliary,
    Batch,
    Bins,
    Keep,
    Loss,
    Optimizer,
    Schedule,
    SmoothL1,
    WarmupCosine,
)
from kernel_src.recipes.network import PooledHead
from kernel_src.training.auxiliary import AuxiliaryHeads
from kernel_src.training.averages import KeptWeights
from kernel_src.training.losses import loss_of
from kernel_src.training.optimization import build_optimizer, learning_rate_factor, set_learning_rates

NETS = 2  # side by side
LEAST_G = 1e-6  # the slope of a root has no end at 0


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """What an experiment would say of a head and its training; errors are counted in roots of grams.

    Beta 5 and bins at .3 are the competition's winner's; widths and rates were set on ResNet-18's features.
    """

    name: str
    head: PooledHead  # of one hidden layer
    loss: Loss = SmoothL1(5.0, weights="metric")
    auxiliary: tuple[Auxiliary, ...] = (Bins(7, 0.3),)
    optimizer: Optimizer = AdamW(lr=1e-2, weight_decay=0.1)
    schedule: Schedule = WarmupCosine(epochs=20, warmup=2)
    batch: Batch = Batch(size=64)
    keep: Keep = EMA(0.95)


HEADS = (
    HeadRecipe(name="five", head=PooledHead(hidden=(256,), dropout=0.4, targets="five")),
    HeadRecipe(name="shares", head=PooledHead(hidden=(256,), dropout=0.4, targets="shares")),
)


def fit_heads(rows: TrainingRows, grams: np.ndarray, seed: int) -> Iterator[RegressorMember]:
    """Yield a member for each of `HEADS`, trained on the rows' features and grams (n, 5)."""
    for recipe in HEADS:
        heads = train_heads(recipe, rows.standardised, grams, seed)
        yield heads.member(f"heads {recipe.name}", rows, CEILING * grams.max(0))


# %%
class SideBySide(nn.Module):
    """S perceptrons of one hidden layer on features (S, B, F): hidden units (S, B, H), then K raw outputs."""

    def __init__(self, recipe: HeadRecipe, features: int, grams: np.ndarray) -> None:
        """Begin at random; units and scales are those of the training rows' grams (n, 5)."""
        super().__init__()
        (hidden,), outputs = recipe.head.hidden, RAW_OUTPUTS[recipe.head.targets]
        self.encoder = nn.Identity()  # the optimiser gives an encoder a rate of its own
        self.recipe = recipe
        self.hidden = nn.Parameter(torch.randn(NETS, features, hidden) * math.sqrt(0.5 / features))
        self.last = nn.Parameter(torch.randn(NETS, hidden, outputs) * 0.1 / math.sqrt(hidden))
        # Of one dimension, as biases are: those are not decayed.
        self.hidden_bias, self.last_bias = (
            nn.Parameter(torch.zeros(NETS * hidden)),
            nn.Parameter(torch.zeros(NETS * outputs)),
        )
        self.answers, self.scaling = GramAnswers(recipe.head.targets), TargetScaling()
        self.answers.fit(grams)
        self.scaling.fit(np.sqrt(grams))

    def units(self, features: torch.Tensor) -> torch.Tensor:
        """Return the hidden units."""
        return torch.relu(torch.baddbmm(self.hidden_bias.view(NETS, 1, -1), features, self.hidden))

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """Return z-scores of roots of grams (S, B, 5)."""
        raw = torch.baddbmm(self.last_bias.view(NETS, 1, -1), units, self.last)
        return raw if self.recipe.head.targets == "five" else self.to_z(self.answers(raw))

    def to_z(self, grams: torch.Tensor) -> torch.Tensor:
        """Scale grams (…, 5)."""
        return self.scaling.to_z(grams.clamp_min(LEAST_G).sqrt())

    def member(self, name: str, rows: TrainingRows, ceiling_g: np.ndarray) -> RegressorMember:
        """Return the mean of the heads as arrays; of roots of grams where each target is answered by itself."""
        tensors = {key: tensor.detach().double() for key, tensor in self.state_dict().items()}
        arrays = rows.linear.arrays | {
            "hidden_weight": tensors["hidden"].permute(1, 0, 2).flatten(1).numpy(),  # (F, S·H)
            "hidden_bias": tensors["hidden_bias"].numpy(),
        }
        last, bias = tensors["last"].numpy(), tensors["last_bias"].view(NETS, -1).numpy()
        if self.recipe.head.targets == "five":
            std, mean = tensors["scaling.std"].numpy(), tensors["scaling.mean"].numpy()
            return RegressorMember(
                name=name,
                basis=Basis(kind="rectified", arrays=arrays),
                target_scale="sqrt",
                coefficients=last.reshape(-1, last.shape[2]) * std / NETS,
                intercept=bias.mean(0) * std + mean,
                ceiling_g=ceiling_g,
            )
        arrays |= {"last_weight": last, "last_bias": bias, "unit": tensors["answers.unit"].numpy()}
        return RegressorMember(
            name=name,
            basis=Basis(kind=self.recipe.head.targets, arrays=arrays),
            target_scale="raw",
            coefficients=np.eye(len(ceiling_g)),
            intercept=np.zeros(len(ceiling_g)),
            ceiling_g=ceiling_g,
        )


def train_heads(recipe: HeadRecipe, features: np.ndarray, grams: np.ndarray, seed: int) -> SideBySide:
    """Train heads on standardised features (n, F) and grams (n, 5)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _trained(recipe, torch.from_numpy(features).float(), grams)


def _trained(recipe: HeadRecipe, features: torch.Tensor, grams: np.ndarray) -> SideBySide:
    heads = SideBySide(recipe, features.shape[1], grams)
    rows, (hidden,) = np.arange(len(grams)), recipe.head.hidden
    heads.auxiliary = nn.ModuleList(  # each head has its own
        AuxiliaryHeads(recipe.auxiliary, hidden, grams=grams, rows=rows, columns={}) for _ in range(NETS)
    )
    truth, ones = torch.from_numpy(grams).float(), torch.ones(len(grams))
    optimizer = build_optimizer(heads, recipe.optimizer, "encoder")
    kept = KeptWeights(recipe.keep, heads, recipe.schedule.epochs)
    steps_per_epoch, step = max(1, round(len(grams) / recipe.batch.size)), 0
    for epoch in range(1, recipe.schedule.epochs + 1):
        for chosen in torch.rand(NETS, len(grams)).argsort(1).tensor_split(steps_per_epoch, 1):  # (S, B)
            set_learning_rates(optimizer, learning_rate_factor(recipe.schedule, step, steps_per_epoch))
            optimizer.zero_grad()
            units = functional.dropout(heads.units(features[chosen]), recipe.head.dropout)
            z, truth_z = heads(units).flatten(0, 1), heads.to_z(truth[chosen]).flatten(0, 1)
            loss = NETS * loss_of(z, truth_z, recipe.loss, scaling=heads.scaling)  # the sum over heads
            for task, one, own in zip(heads.auxiliary, units, chosen, strict=True):
                loss = loss + task(one, truth[own], own, ones[: len(own)])
            loss.backward()
            optimizer.step()
            step += 1
            if kept.average is not None:
                kept.average.after_step(heads, step)
        if kept.average is not None:
            kept.average.after_epoch(heads, epoch)
    heads.load_state_dict(dict(kept.final(heads).tensors))
    return heads

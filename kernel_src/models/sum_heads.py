"""## Heads whose answers add up

A softplus keeps amounts above 0. Of the components, or of their total and its shares, the other targets are sums: then
the identities hold exactly, whatever was learnt. Such a head answers in values and needs no scaling afterwards; so that
its raw outputs are near 0 and 1 all the same, they are in units that are fitted to the training rows.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from kernel_src.competitions.held_facts import facts

LEAST_UNIT = 1e-6  # of a target that the training rows do not have at all, the unit is 1


def component_count() -> int:
    """Return how many targets are no sum of others; they are the first."""
    return len(facts().targets) - len(facts().identities)


def raw_outputs(form: str) -> int:
    """Return how many numbers a head answers with in one of `TARGET_FORMS`; shares: the total, and the components'."""
    return {"five": len(facts().targets), "components": component_count(), "shares": 1 + component_count()}[form]


# %%
class SummedAnswers(nn.Module):
    """Raw outputs of a head → values of the targets."""

    unit: torch.Tensor  # (targets,) or (components,): a raw output of 0 stands for the training mean

    def __init__(self, targets: str) -> None:
        """Answer in one of `TARGET_FORMS`; `fit` sets the unit."""
        super().__init__()
        self.targets = targets
        self.register_buffer("unit", torch.ones(len(facts().targets) if targets == "five" else component_count()))

    def fit(self, values: np.ndarray) -> None:
        """Take the means of training rows (rows, targets), over softplus(0) = ln 2."""
        mean = values.mean(0)[: len(self.unit)] / math.log(2)
        self.unit.copy_(torch.from_numpy(np.where(mean > LEAST_UNIT, mean, 1.0)))

    def masses(self, raw: torch.Tensor) -> torch.Tensor:
        """Turn raw outputs (…, K) into values of the components, or of all targets, in fp32.

        What is not finite stays so: a softplus would make 0 of minus infinity.
        """
        raw = raw.float()
        raw = torch.where(torch.isfinite(raw), raw, torch.nan)
        if self.targets != "shares":
            return softplus(raw) * self.unit
        total = self.unit.sum()
        shares = torch.softmax(raw[..., 1:] + (self.unit / total).log(), -1)
        return softplus(raw[..., :1]) * total * shares

    def forward(self, raw: torch.Tensor, total: Callable[[torch.Tensor], torch.Tensor] | None = None) -> torch.Tensor:
        """Turn raw outputs (B, K) into values (B, targets); of (B, n, K), `total` first makes one amount of all n."""
        masses = self.masses(raw)
        if total is not None:
            masses = total(masses)
        return masses if self.targets == "five" else _with_sums(masses)


def _with_sums(components: torch.Tensor) -> torch.Tensor:
    """Put the sums of the competition beside the components, (B, components) to (B, targets)."""
    known = dict(zip(facts().targets, components.unbind(-1), strict=False))
    for total, (first, *others) in facts().identities.items():
        known[total] = sum((known[part] for part in others), known[first])
    return torch.stack([known[target] for target in facts().targets], -1)


# %%
class PatchTotal:
    """One mass of the patches of a photograph: (B, patches, K) to (B, K), in fp32.

    `mean`: each patch answers a density, per photograph, and any crop of a photograph has the photograph's.
    `sum`: each patch answers an amount, in units of a `patches`-th of the photograph's, and they add up.
    """

    def __init__(self, reduce: str, patches: int) -> None:
        """Reduce by `sum` or `mean`; a photograph has about so many patches at the size that training shows."""
        self.reduce, self.patches = reduce, patches

    def __call__(self, masses: torch.Tensor) -> torch.Tensor:
        """Reduce (B, patches, K) to (B, K)."""
        return masses.mean(1) if self.reduce == "mean" else masses.sum(1) / self.patches

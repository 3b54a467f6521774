"""## Numbers of the table

What the competition's tables say of a photograph in numbers, those of the test too, stands beside the features that the
heads read. The numbers are standardised by mean and spread of the training rows, which are buffers of the model: they
travel inside the weights and cannot be forgotten. A number that is missing counts as the mean.

A dozen numbers beside a thousand features would hardly be heard: a step of the optimiser moves every weight by about as
much. So they are multiplied by the root of how many features there are to each, and weigh as much as these together.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from kernel_src.competitions.held_facts import facts
from kernel_src.recipes.network import Inputs
from kernel_src.runtime.parts import OptionalPart

CONSTANT_BELOW = 1e-9  # of the deviation, as a share of the largest number: equal numbers have not exactly zero
FURTHEST = 10.0  # deviations from the mean; a number beyond is a mistake, and counts as so far away


class TableInputs(nn.Module):
    """Standardised columns beside the features."""

    mean: torch.Tensor
    scale: torch.Tensor  # 1 over the deviation; 0 of a column that is constant in training, which can teach nothing

    def __init__(self, spec: Inputs, features: int) -> None:
        """Read the columns that a recipe names, or all, beside so many features; `fit` sets the numbers.

        Raises:
            ValueError: the competition has no such column.
        """
        super().__init__()
        self.columns = spec.columns or facts().inputs
        if unknown := [name for name in self.columns if name not in facts().inputs]:
            raise ValueError(f"inputs: {', '.join(unknown)} is none of {', '.join(facts().inputs) or 'no columns'}")
        self.loudness = math.sqrt(max(1.0, features / max(1, len(self.columns))))
        self.places = [facts().inputs.index(name) for name in self.columns]
        self.register_buffer("mean", torch.zeros(len(self.columns)))
        self.register_buffer("scale", torch.zeros(len(self.columns)))

    def fit(self, values: np.ndarray) -> None:
        """Take mean and spread of the training rows (rows, columns of the competition); NaN is left out."""
        own = values[:, self.places]
        known = np.isfinite(own)
        count = np.maximum(1, known.sum(0))
        kept = np.where(known, own, 0.0)
        mean = kept.sum(0) / count
        std = np.sqrt((np.where(known, own - mean, 0.0) ** 2).sum(0) / count)
        varies = std > CONSTANT_BELOW * np.maximum(1.0, np.abs(kept).max(0, initial=0.0))
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(np.where(varies, 1 / np.where(varies, std, 1.0), 0.0)))

    def beside(self, features: torch.Tensor, inputs: torch.Tensor | None) -> torch.Tensor:
        """Put inputs (B, columns of the competition) beside features (B, F), or beside each of (B, n, F).

        Raises:
            ValueError: there are no inputs.
        """
        if inputs is None:
            names = ", ".join(self.columns)
            raise ValueError(f"the network reads {names} beside each photograph, and was given none of them")
        z = torch.nan_to_num((inputs[:, self.places].float() - self.mean) * self.scale)
        z = (self.loudness * z.clamp(-FURTHEST, FURTHEST)).to(features.dtype)
        if features.ndim == 3:
            z = z[:, None].expand(-1, features.shape[1], -1)
        return torch.cat([features, z], -1)


def filled_inputs(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Put the mean of some rows in place of what is missing (images, columns); 0 where none of them has a number."""
    known = np.isfinite(values)
    kept = np.where(known, values, 0.0)
    mean = kept[rows].sum(0) / np.maximum(1, known[rows].sum(0))
    return np.where(known, values, mean)


class TableInputParts(OptionalPart):
    """What a network asks for that sees numbers of the table."""

    part = "inputs"
    TableInputs: Any = TableInputs
    filled_inputs: Any = staticmethod(filled_inputs)

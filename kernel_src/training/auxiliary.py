"""## Auxiliary targets

What else training predicts from the features that the targets are predicted from, by one linear layer each. It shapes
the features and is thrown away: a bundle holds nothing of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from kernel_src.competitions.held_facts import facts
from kernel_src.recipes.learning import Auxiliary, Bins, Classify, Regress
from kernel_src.runtime.parts import OptionalPart

UNKNOWN_CLASS = -100  # of a photograph that has none; cross entropy leaves it out


def auxiliary_columns(specs: Sequence[Auxiliary], table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what the auxiliary targets read of a training table, (rows,) for each column they name.

    Numbers are float and NaN where there is none, words are text and empty where there is none.

    Raises:
        ValueError: a column is not there, or is to be regressed and holds words; names the columns that there are.
    """
    return {spec.column: _column(spec, table) for spec in specs if isinstance(spec, Regress | Classify)}


def _column(spec: Regress | Classify, table: pd.DataFrame) -> np.ndarray:
    kind = type(spec).__name__
    if spec.column not in table:
        there = ", ".join(str(name) for name in table if name not in facts().targets)
        raise ValueError(f"auxiliary: {kind}({spec.column!r}) needs a column that is not in train.csv; it has {there}")
    values = table[spec.column]
    if isinstance(spec, Classify):
        words: np.ndarray = values.astype(object).where(values.notna(), "").astype(str).str.strip().to_numpy(object)
        return words
    try:
        numbers = pd.to_numeric(values).to_numpy(float)
    except (TypeError, ValueError):
        raise ValueError(f"auxiliary: column {spec.column} holds words: Classify({spec.column!r}) instead") from None
    return np.where(np.isfinite(numbers), numbers, np.nan)


# %%
class BinsTask(nn.Module):
    """Cross entropy of the interval that each target lies in, averaged over the targets."""

    edges: torch.Tensor  # (5, count - 1)

    def __init__(self, spec: Bins, width: int, values: np.ndarray) -> None:
        """Cut at the quantiles of the training rows (rows, targets); of equal ones all but one go.

        An interval that ends where it begins is empty.
        """
        super().__init__()
        quantiles = np.quantile(values, np.arange(1, spec.count) / spec.count, axis=0)  # (count - 1, targets)
        self.register_buffer("edges", torch.from_numpy(np.ascontiguousarray(quantiles.T)).float())
        self.logits = nn.Linear(width, len(facts().targets) * spec.count)

    def intervals(self, values: torch.Tensor) -> torch.Tensor:
        """Return the interval of each one, (B, targets) to (B, targets); an edge belongs to the one above it."""
        return torch.stack(
            [torch.bucketize(g.contiguous(), e, right=True) for g, e in zip(values.unbind(1), self.edges, strict=True)],
            1,
        )

    def forward(self, features: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the loss of each photograph, (B,)."""
        logits = self.logits(features).view(len(features), len(facts().targets), -1)
        lost = functional.cross_entropy(logits.flatten(0, 1), self.intervals(values).flatten(), reduction="none")
        return lost.view(-1, len(facts().targets)).mean(1)


class RegressTask(nn.Module):
    """Squared error of a number, in its standard deviations over the training rows; 0 where there is no number."""

    truth: torch.Tensor  # (all rows,), NaN where it is unknown

    def __init__(self, spec: Regress, width: int, values: np.ndarray, rows: np.ndarray) -> None:
        """Scale the values (all rows,) by those of the training rows.

        Raises:
            ValueError: no training row has a value.
        """
        super().__init__()
        known = values[rows][~np.isnan(values[rows])]
        if not len(known):
            raise ValueError(f"auxiliary: column {spec.column} is empty in all rows that train")
        deviation = known.std()
        scaled = (values - known.mean()) / (deviation if deviation > 1e-9 else 1.0)
        self.register_buffer("truth", torch.from_numpy(scaled).float(), persistent=False)
        self.answer = nn.Linear(width, 1)

    def forward(self, features: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the loss of each photograph, (B,)."""
        truth = self.truth[rows]
        lost = (self.answer(features)[:, 0] - truth.nan_to_num()).square()
        return lost * ~torch.isnan(truth)


class ClassifyTask(nn.Module):
    """Cross entropy of a word among those of the training rows; 0 where there is none, or none of them."""

    truth: torch.Tensor  # (all rows,), the number of the class

    def __init__(self, spec: Classify, width: int, words: np.ndarray, rows: np.ndarray) -> None:
        """Number the words of the training rows in alphabetical order.

        Raises:
            ValueError: no training row has a word.
        """
        super().__init__()
        self.classes = sorted({str(word) for word in words[rows]} - {""})
        if not self.classes:
            raise ValueError(f"auxiliary: column {spec.column} is empty in all rows that train")
        numbers = [self.classes.index(word) if word in self.classes else UNKNOWN_CLASS for word in words]
        self.register_buffer("truth", torch.tensor(numbers), persistent=False)
        self.logits = nn.Linear(width, len(self.classes))

    def forward(self, features: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the loss of each photograph, (B,)."""
        return functional.cross_entropy(
            self.logits(features), self.truth[rows], ignore_index=UNKNOWN_CLASS, reduction="none"
        )


# %%
class AuxiliaryHeads(nn.Module):
    """All auxiliary targets of a training, each with its weight."""

    def __init__(
        self,
        specs: Sequence[Auxiliary],
        width: int,
        *,
        values: np.ndarray,
        rows: np.ndarray,
        columns: Mapping[str, np.ndarray],
    ) -> None:
        """Build for features of so many numbers; edges, scales and classes are those of the training rows alone.

        `values` (all rows, targets), `rows` the indices of the training rows, `columns` as `auxiliary_columns` returns
        them.
        """
        super().__init__()
        self.weights = [spec.weight for spec in specs]  # type: ignore[attr-defined]  # every alternative has one
        self.tasks = nn.ModuleList(_task(spec, width, values, rows, columns) for spec in specs)

    def forward(
        self, features: torch.Tensor, values: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted sum of all losses, a scalar; each is divided by B, also where photographs are left out.

        Features (B, F), values (B, targets), the photographs' rows (B,) in the table and their weights (B,). Of a mixed
        photograph the values are the mixed ones and the row is that of the larger share: an interval follows the
        mixture, while height, state or species are those of the photograph that fills most of the picture.
        """
        total = features.new_zeros(())
        for weight, task in zip(self.weights, self.tasks, strict=True):
            total = total + weight * (task(features, values, rows) * weights).mean()
        return total


def _task(
    spec: Auxiliary, width: int, values: np.ndarray, rows: np.ndarray, columns: Mapping[str, np.ndarray]
) -> nn.Module:
    match spec:
        case Bins():
            return BinsTask(spec, width, values[rows])
        case Regress():
            return RegressTask(spec, width, columns[spec.column], rows)
        case Classify():
            return ClassifyTask(spec, width, columns[spec.column], rows)
    raise TypeError(f"{spec} is not an auxiliary target that can be built")


class AuxiliaryParts(OptionalPart):
    """What training asks for where there are auxiliary targets."""

    part = "auxiliary"
    auxiliary_columns: Any = staticmethod(auxiliary_columns)
    AuxiliaryHeads: Any = AuxiliaryHeads

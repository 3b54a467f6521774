"""The rows that candidates are fitted to, and what several of them need of these, computed once.

Ridge and principal components share one decomposition; kernel ridge, Gaussian process and SVR share kernels; both
scales of the targets share everything. The same `Basis` object then stands for the same functions, so that its values
on other rows are computed once as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kernel_src.models.regressor import KERNEL_DISTANCES, Basis

PCA_COMPONENTS = 64


@dataclass(frozen=True)
class Kernel:
    """A kernel between the rows: its basis and its values (n, n)."""

    basis: Basis
    values: np.ndarray

    @cached_property
    def _decomposition(self) -> tuple[np.ndarray, np.ndarray]:
        size, axes = np.linalg.eigh(self.values)
        return size, axes

    @property
    def size(self) -> np.ndarray:
        """Eigenvalues (n,)."""
        return self._decomposition[0]

    @property
    def axes(self) -> np.ndarray:
        """Eigenvectors (n, n)."""
        return self._decomposition[1]


class TrainingRows:
    """Features (n, F) and what follows from them alone."""

    def __init__(self, features: np.ndarray) -> None:
        """Compute nothing yet."""
        self.features = features
        self._known: dict[Any, Any] = {}

    @cached_property
    def linear(self) -> Basis:
        """The features, standardised; a constant one keeps a deviation of 1."""
        std = self.features.std(0)
        return Basis(kind="linear", arrays={"mean": self.features.mean(0), "scale": np.where(std > 1e-9, std, 1.0)})

    @cached_property
    def standardised(self) -> np.ndarray:
        """The standardised features (n, F)."""
        return self.linear(self.features)

    @cached_property
    def decomposition(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The singular value decomposition of the standardised features."""
        left, size, axes = np.linalg.svd(self.standardised, full_matrices=False)
        return left, size, axes

    def components(self, whitening: float) -> Basis:
        """Return the first principal components of the standardised features.

        `whitening` 0 leaves them their size, 1 makes all equally large, 0.5 is half-way.
        """

        def rotated() -> Basis:
            _, size, axes = self.decomposition
            kept = min(PCA_COMPONENTS, int((size > 1e-9 * size[0]).sum()))
            size, axes = size[:kept], axes[:kept]
            return Basis(
                kind="linear", arrays=self.linear.arrays | {"rotation": axes.T * (size[0] / size) ** whitening}
            )

        return self._once(("components", whitening), rotated)

    def kernel(self, kind: str, width: float, whitening: float | None = None) -> Kernel:
        """Return a kernel of the standardised features, or of their components; γ is width over the median distance."""

        def distances() -> tuple[Basis, np.ndarray, np.ndarray, float]:
            scaled = self.linear if whitening is None else self.components(whitening)
            support = scaled(self.features)
            found = KERNEL_DISTANCES[kind](support, support)
            return scaled, support, found, float(np.median(found[np.triu_indices(len(support), 1)]))

        def kernel() -> Kernel:
            scaled, support, between, median = self._once(("distances", kind, whitening), distances)
            gamma = np.array(width / median)
            basis = Basis(kind=kind, arrays=scaled.arrays | {"support": support, "gamma": gamma})
            return Kernel(basis, np.exp(-gamma * between))

        return self._once(("kernel", kind, width, whitening), kernel)

    def _once(self, key: Any, compute: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


class ValuesElsewhere:
    """The values of bases on other rows, each computed once."""

    def __init__(self, features: np.ndarray) -> None:
        """Remember the features (m, F) of the other rows."""
        self._features = features
        self._known: dict[int, tuple[Basis, np.ndarray]] = {}  # with the basis, so that its identity stays its own

    def of(self, basis: Basis) -> np.ndarray:
        """Return the values of a basis, (m, B)."""
        if id(basis) not in self._known:
            self._known[id(basis)] = basis, basis(self._features)
        return self._known[id(basis)][1]

"""## The regressor

Targets from frozen features. Every member, be it a ridge, a kernel machine, a forest or a small network, is written as
*functions of the features times coefficients*; so all are the same few arrays, which need neither scikit-learn nor a
pickle where they are used.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays

from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.files import write_atomically
from kernel_src.runtime.untrusted import checked_count, checked_text, parsed_json, quoted
from kernel_src.runtime.weight_files import open_weights

# How targets are scaled for a fit, and back; roots and logarithms tame the few large ones.
TARGET_SCALES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "raw": (np.asarray, np.asarray),
    "sqrt": (np.sqrt, np.square),
    "log1p": (np.log1p, np.expm1),
}
CEILING = 1.5  # times the largest training value: no exponential may answer with millions


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return |a − b|² of all pairs, (n, F) and (m, F) → (n, m)."""
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return np.clip(squares, 0, None)


def absolute_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return Σ |a − b| of all pairs, (n, F) and (m, F) → (n, m)."""
    return torch.cdist(torch.from_numpy(left), torch.from_numpy(right), p=1).numpy()


KERNEL_DISTANCES = {"rbf": squared_distances, "laplacian": absolute_distances}


# %%
@dataclass(frozen=True, kw_only=True)
class Basis:
    """Functions of the features: linear, or a kernel against the training photographs, or leaves, or hidden units."""

    kind: str  # one of BASES
    arrays: dict[str, np.ndarray]  # mean (F,), scale (F,), perhaps rotation (F, P), then what the kind needs

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Map features (n, F) to the values of the functions, (n, B)."""
        scaled = (np.asarray(features, float) - self.arrays["mean"]) / self.arrays["scale"]
        if "rotation" in self.arrays:
            scaled = scaled @ self.arrays["rotation"]
        return BASES[self.kind](scaled, self.arrays)


def linear_values(scaled: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the features as they are."""
    return scaled


def rbf_values(scaled: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return exp(−γ |x − s|²) for every support vector s, (n, S)."""
    return np.exp(-arrays["gamma"] * KERNEL_DISTANCES["rbf"](scaled, arrays["support"]))


def laplacian_values(scaled: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return exp(−γ Σ|x − s|) for every support vector s, (n, S)."""
    return np.exp(-arrays["gamma"] * KERNEL_DISTANCES["laplacian"](scaled, arrays["support"]))


def leaf_values(scaled: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Say at which node of each tree a row ends, (n, T·N) of 0 and 1; such a node is its own left child."""
    feature, threshold = arrays["feature"], arrays["threshold"]  # (T, N)
    trees, nodes = feature.shape
    tree = np.arange(trees)[None]
    at = np.zeros((len(scaled), trees), int)
    for _ in range(int(arrays["depth"])):
        # scikit-learn compares in float32; so do we, or a value on the threshold would go the other way.
        below = np.take_along_axis(scaled, feature[tree, at], 1).astype(np.float32) <= threshold[tree, at]
        at = np.where(below, arrays["left"][tree, at], arrays["right"][tree, at])
    values = np.zeros((len(scaled), trees * nodes))
    np.put_along_axis(values, at + tree * nodes, 1.0, 1)
    return values


def hidden_values(scaled: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the hidden units of small networks side by side, tanh(x W + b), (n, H)."""
    return np.tanh(scaled @ arrays["hidden_weight"] + arrays["hidden_bias"])


BASES: dict[str, Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray]] = {
    "linear": linear_values,
    "rbf": rbf_values,
    "laplacian": laplacian_values,
    "leaves": leaf_values,
    "hidden": hidden_values,
}


# %%
@dataclass(frozen=True, kw_only=True)
class RegressorMember:
    """One fitted model: coefficients of a basis, in the scale its targets were fitted in."""

    name: str
    basis: Basis
    target_scale: str  # one of TARGET_SCALES
    coefficients: np.ndarray  # (B, targets)
    intercept: np.ndarray  # (targets,)
    ceiling_g: np.ndarray  # (targets,), no prediction is larger

    def values(self, of_basis: np.ndarray) -> np.ndarray:
        """Map the basis (n, B) to values (n, targets), neither below what a target can be nor above the ceiling."""
        forward, back = TARGET_SCALES[self.target_scale]
        scaled = of_basis @ self.coefficients + self.intercept
        # Roots and logarithms are of numbers from 0 on.
        lowest = facts().lowest if self.target_scale == "raw" else max(0.0, facts().lowest)
        return back(np.clip(scaled, forward(np.asarray(lowest)), forward(self.ceiling_g)))


@dataclass(frozen=True, kw_only=True)
class Regressor:
    """A blend of members, each with a weight per target."""

    members: tuple[RegressorMember, ...]
    weights: np.ndarray  # (members, targets), not negative, each column adds up to 1

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Map features (n, F) to values (n, targets).

        Raises:
            ValueError: there are not as many features as the regressor was fitted on, or one is not finite.
        """
        wanted = len(self.members[0].basis.arrays["mean"])
        if features.ndim != 2 or features.shape[1] != wanted:
            raise ValueError(f"features are {features.shape}, the regressor was fitted on {wanted} of each photograph")
        if not np.isfinite(features).all():
            raise ValueError("a feature is NaN or infinite: half precision overflows in some backbones, use fp32")
        of_basis: dict[int, np.ndarray] = {}  # members share bases
        values = np.zeros((len(features), len(facts().targets)))
        for member, weight in zip(self.members, self.weights, strict=True):
            if id(member.basis) not in of_basis:
                of_basis[id(member.basis)] = member.basis(features)
            values += weight * member.values(of_basis[id(member.basis)])
        return values


# %%
HEADING = "i2b-regressor"  # the one entry of the file's metadata
ARRAY_KINDS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # of safetensors


def save_regressor(regressor: Regressor, path: Path) -> None:
    """Write a regressor as safetensors: arrays shared by members once, what they are as JSON in the header."""
    arrays: dict[str, np.ndarray] = {"weights": regressor.weights}
    bases: list[Basis] = []
    members = []
    for number, member in enumerate(regressor.members):
        if not any(member.basis is known for known in bases):
            for name, array in member.basis.arrays.items():
                arrays[f"basis.{len(bases)}.{name}"] = array
            bases.append(member.basis)
        basis = next(i for i, known in enumerate(bases) if known is member.basis)
        members.append({"name": member.name, "target_scale": member.target_scale, "basis": basis})
        for name in ("coefficients", "intercept", "ceiling_g"):
            arrays[f"member.{number}.{name}"] = getattr(member, name)
    about = {"targets": facts().targets, "bases": [basis.kind for basis in bases], "members": members}
    tensors = {name: np.array(array, order="C") for name, array in arrays.items()}
    write_atomically(path, lambda draft: save_arrays(tensors, draft, {HEADING: json.dumps(about)}))


def load_regressor(path: Path) -> Regressor:
    """Read what `save_regressor` wrote.

    Raises:
        WeightsError: the file is not a safetensors file, or damaged.
        ValueError: it holds something else, other targets, or arrays that do not fit one another.
    """
    with open_weights(path, "np") as handle:
        header = (handle.metadata() or {}).get(HEADING, "null")
        foreign = [name for name in handle.keys() if handle.get_slice(name).get_dtype() not in ARRAY_KINDS]  # noqa: SIM118
        arrays = {} if foreign else {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  # no mapping
    try:
        about = parsed_json(header.encode())
        targets = tuple(about["targets"])
        if targets != facts().targets:
            raise ValueError(f"its targets are {quoted(targets)}")
        if foreign or not all(_is_sound(name, array) for name, array in arrays.items()):
            raise ValueError("it holds numbers that are not finite, or no numbers")
        regressor = _assembled(about, arrays)
        _check_fit(regressor)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a regressor for {', '.join(facts().targets)} ({error}): "
            "make it by `python -m build regress`"
        ) from None
    return regressor


def _assembled(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Regressor:
    """Put the arrays together as the header says."""

    def below(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    bases = [Basis(kind=kind, arrays=below(f"basis.{i}.")) for i, kind in enumerate(about["bases"])]
    members = tuple(
        RegressorMember(
            name=checked_text(member["name"]),
            basis=bases[checked_count(member["basis"])],
            target_scale=member["target_scale"],
            **below(f"member.{i}."),
        )
        for i, member in enumerate(about["members"])
    )
    return Regressor(members=members, weights=arrays["weights"])


def _is_sound(name: str, array: np.ndarray) -> bool:
    """Tell whether all is finite; the threshold of a last node is infinite, since nothing goes on from there."""
    return not np.isnan(array).any() if name.endswith(".threshold") else bool(np.isfinite(array).all())


# %%
def _check_fit(regressor: Regressor) -> None:
    """Refuse arrays that do not fit one another: shapes, indices, divisors, weights.

    Raises:
        ValueError, LookupError, TypeError: something does not fit.
    """
    if not regressor.members or regressor.weights.shape != (len(regressor.members), len(facts().targets)):
        raise ValueError("not one weight per member and target")
    if (regressor.weights < 0).any() or not np.allclose(regressor.weights.sum(0), 1, atol=1e-3):
        raise ValueError("the members' weights do not add up to 1")
    for member in regressor.members:
        arrays = member.basis.arrays
        if member.target_scale not in TARGET_SCALES or member.basis.kind not in BASES:
            raise ValueError(f"unknown are {quoted(member.target_scale)} or {quoted(member.basis.kind)}")
        if arrays["mean"].ndim != 1 or arrays["scale"].shape != arrays["mean"].shape or (arrays["scale"] == 0).any():
            raise ValueError("mean and scale of the features do not fit, or a scale is 0")
        one_each = (len(facts().targets),)
        if (member.ceiling_g < 0).any() or member.ceiling_g.shape != one_each or member.intercept.shape != one_each:
            raise ValueError("ceiling_g is not one number per target")
        if member.basis.kind == "leaves":
            _check_trees(arrays)
    width = len(regressor.members[0].basis.arrays["mean"])
    if regressor.predict(np.zeros((1, width))).shape != (1, len(facts().targets)):
        raise ValueError("it does not answer in one number per target")


def _check_trees(arrays: dict[str, np.ndarray]) -> None:
    nodes = arrays["threshold"].shape[1]
    width = arrays["rotation"].shape[1] if "rotation" in arrays else len(arrays["mean"])
    for name, end in (("feature", width), ("left", nodes), ("right", nodes)):
        array = arrays[name]
        if array.shape != arrays["threshold"].shape or array.dtype.kind not in "iu" or not array.size:
            raise ValueError(f"the trees' {name} is not a table of whole numbers")
        if array.min() < 0 or array.max() >= end:
            raise ValueError(f"the trees' {name} leads out of them")
    if not 0 <= int(arrays["depth"]) <= nodes:
        raise ValueError("the trees are deeper than they have nodes")

"""## Stacking

Instead of shares, a linear model per target over the predictions of the bundles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.parts import OptionalPart


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A linear model per target, over the predictions of the bundles."""

    weights: np.ndarray  # (5, bundles), in the order of facts().targets and of the bundles
    intercept_g: np.ndarray  # (targets,)

    def blended(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Blend the predictions (images, targets) of the bundles to one (images, targets), unconstrained."""
        return np.einsum("bnt,tb->nt", np.stack(values), self.weights) + self.intercept_g


def stack_from_json(value: Mapping[str, Any], bundle_count: int) -> Stack:
    """Read `{"weights": by target a number per bundle, "intercept_g": a number per target}`.

    Raises:
        ValueError: an entry is missing, unknown, of another shape, or not finite.
    """
    if set(value) != {"weights", "intercept_g"}:
        raise ValueError(f"a stack has weights and intercept_g, this one has {', '.join(sorted(value)) or 'nothing'}")
    arrays = {}
    for name, shape in (("weights", (len(facts().targets), bundle_count)), ("intercept_g", (len(facts().targets),))):
        try:
            arrays[name] = np.array(value[name], float)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} of the stack is not a table of numbers: {error}") from None
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} of the stack has shape {arrays[name].shape}, not {shape}: "
                f"one row per target ({', '.join(facts().targets)}), one column per bundle"
            )
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} of the stack is not finite: fit it again")
    return Stack(**arrays)


class StackParts(OptionalPart):
    """What an inference with a stack asks for."""

    part = "stack"
    stack_from_json = staticmethod(stack_from_json)

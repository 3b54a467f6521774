"""A stack of several bundles, against numbers computed by hand."""

import json
from typing import Any

import numpy as np
import pytest

from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.inference.stacking import stack_from_json

# Two bundles, two images, five targets.
FIRST = np.array([[10.0, 2, 4, 14, 16], [0, 1, 0, 0, 1]])
SECOND = np.array([[20.0, 4, 0, 20, 24], [5, 1, 5, 10, 11]])


def test_a_stack_has_weights_and_an_intercept_of_its_own_for_each_target() -> None:
    value = {"weights": [[1, 0], [0, 1], [0.5, 0.5], [2, -1], [0, 0]], "intercept_g": [0, 1, 0, 0, 9]}
    stack = stack_from_json(json.loads(json.dumps(value)), 2)
    by_hand = [[10.0, 5, 2, 8, 9], [0, 2, 2.5, -10, 9]]
    assert stack.blended([FIRST, SECOND]) == pytest.approx(np.array(by_hand))


def test_a_stack_of_the_shares_is_the_blend_by_shares() -> None:
    stack = stack_from_json({"weights": [[0.4, 0.6]] * 5, "intercept_g": [0.0] * 5}, 2)
    assert stack.blended([FIRST, SECOND]) == pytest.approx(0.4 * FIRST + 0.6 * SECOND)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": [[1, 0]] * 4}, r"weights of the stack has shape \(4, 2\), not \(5, 2\): one row per target"),
        ({"weights": [[1]] * 5}, r"shape \(5, 1\), not \(5, 2\).*one column per bundle"),
        ({"weights": [[1, 0]] * 4 + [[1]]}, "weights of the stack is not a table of numbers"),
        ({"weights": "much"}, "weights of the stack is not a table of numbers"),
        ({"intercept_g": [0] * 4}, r"intercept_g of the stack has shape \(4,\), not \(5,\)"),
        ({"intercept_g": [0, 0, 0, 0, float("nan")]}, "intercept_g of the stack is not finite"),
        ({"ridge": 1.0}, "has intercept_g, ridge, weights"),
    ],
)
def test_a_stack_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stack_from_json({"weights": [[1, 0]] * len(TARGETS), "intercept_g": [0] * 5} | changes, 2)

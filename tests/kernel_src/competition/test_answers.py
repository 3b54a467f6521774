"""What becomes of a prediction: within its range, probabilities that add up to 1, a caption."""

import numpy as np
import pytest

from kernel_src.competition.answers import Answers
from kernel_src.competitions.leaf.facts import LeafFacts
from kernel_src.competitions.paws.facts import PawsFacts


# Below a competition's own facts, since all that is directly below Facts is a competition.
class Counted(PawsFacts):
    """Two numbers from 1 to 100."""

    targets = ("apples", "pears")
    lowest, highest = 1.0, 100.0


class Sorted(LeafFacts):
    """Three classes with words."""

    targets = ("class_a", "class_b", "class_c")
    labels = ("apple", "pear", "plum")


def test_numbers_are_kept_within_their_range_and_nan_is_refused() -> None:
    finished = Answers(Counted()).finished(np.array([[-3.0, 50.0], [120.0, 1.0]]))
    assert finished.tolist() == [[1.0, 50.0], [100.0, 1.0]]
    with pytest.raises(ValueError, match="1 predictions are NaN or infinite"):
        Answers(Counted()).finished(np.array([[np.nan, 2.0]]))


def test_probabilities_add_up_to_one_whatever_a_blend_has_made_of_them() -> None:
    finished = Answers(Sorted()).finished(np.array([[0.2, 0.3, 0.5], [0.6, 0.6, -0.1], [-1.0, -2.0, -0.5]]))
    assert finished == pytest.approx(np.array([[0.2, 0.3, 0.5], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    shares = 0.25 * finished[:2] + 0.75 * np.array([[1.0, 0, 0], [0, 0, 1.0]])
    assert Answers(Sorted()).finished(shares) == pytest.approx(shares), "a mean of probabilities is one already"


def test_a_caption_has_the_truth_in_brackets_where_it_is_known() -> None:
    assert Answers(Counted()).caption(np.array([3.25, 40.0])) == "apples 3.25  pears 40"
    assert Answers(Counted()).caption(np.array([3.25, 40.0]), np.array([3.0, 38.0])) == "apples 3.25 (3)  pears 40 (38)"
    assert Answers(Sorted()).caption(np.array([0.1, 0.7, 0.2]), np.array([0, 0, 1])) == "pear 70% (plum)"

"""Painted date stamps and spots of light: where they are, what they look like, and how often they come."""

import numpy as np
import pytest

from kernel_src.data.augmentation import augmentation, reseed
from kernel_src.data.camera_marks import DateStamp, stamp_mask
from kernel_src.recipes.training_data import Augment

GREY = np.full((200, 400, 3), 90, np.uint8)


def marked(augment: Augment, seed: int, picture: np.ndarray = GREY) -> np.ndarray:
    steps = augmentation(augment)
    reseed(steps, seed)
    result: np.ndarray = steps(image=picture.copy())["image"]
    return result


STAMPED, LIT = Augment("none", stamps_p=1.0), Augment("none", spots_p=1.0)


def test_digits_are_those_of_a_display_with_seven_bars() -> None:
    """One column and three rows of each cell, read at the middle of the bars, tell all ten digits apart."""
    lit = {}
    for digit in "0123456789":
        mask = stamp_mask(digit) > 0
        left, middle, right = 1, mask.shape[1] // 2, mask.shape[1] - 2
        bars = [(1, middle), (10, middle), (19, middle), (5, left), (5, right), (15, left), (15, right)]
        lit[digit] = "".join("#" if mask[place] else "." for place in bars)
    #              top, middle, bottom, then left and right of the upper and of the lower half
    assert lit == {
        "0": "#.#####",
        "1": "....#.#",
        "2": "###.##.",
        "3": "###.#.#",
        "4": ".#.##.#",
        "5": "####..#",
        "6": "####.##",
        "7": "#...#.#",
        "8": "#######",
        "9": "#####.#",
    }
    assert not stamp_mask(" ").any() and stamp_mask("/").any() and stamp_mask("'").any()


def test_a_stamp_is_orange_and_stands_in_a_lower_corner() -> None:
    sides = []
    for seed in range(60):
        changed = np.argwhere((marked(STAMPED, seed) != GREY).any(2))
        (top, left), (bottom, right) = changed.min(0), changed.max(0)
        assert top > 160 and bottom < 199 and bottom - top < 14, "low, and not at the very edge"
        assert right < 399 and left > 0 and 15 < right - left < 125
        sides.append(left > 200)
        assert sides[-1] or right < 200, "in one half"
        ink = marked(STAMPED, seed)[changed[:, 0], changed[:, 1]].max(0)
        assert ink[0] > 180 and ink[1] < 175 and ink[2] <= 90, "red above green, and blue never more than before"
    assert 0.6 < np.mean(sides) < 0.97, "mostly on the right"


def test_a_squeezed_picture_has_a_squeezed_stamp() -> None:
    """The photograph is 2:1: on a square canvas everything is half as wide, and so is the print."""
    square = np.full((400, 400, 3), 90, np.uint8)
    for seed in range(5):
        wide = np.ptp(np.argwhere((marked(STAMPED, seed) != GREY).any(2)), axis=0)
        narrow = np.ptp(np.argwhere((marked(STAMPED, seed, square) != square).any(2)), axis=0)
        assert narrow[0] == pytest.approx(2 * wide[0], abs=4) and narrow[1] == pytest.approx(wide[1], abs=4)


def test_dates_differ_and_are_dates() -> None:
    step, texts = DateStamp(p=1.0), set()
    for seed in range(40):
        step.set_random_seed(seed)
        texts.add(step.get_params_dependent_on_data({"shape": GREY.shape}, {})["text"])
    assert len(texts) > 35
    assert {len(text) for text in texts} == {9, 10} and all(set(text) <= set("0123456789/' ") for text in texts)


def test_spots_only_brighten_are_soft_and_leave_most_of_the_picture_alone() -> None:
    shares = []
    for seed in range(30):
        lit = marked(LIT, seed)
        assert (lit >= GREY).all() and np.abs(np.diff(lit[..., 0].astype(int), axis=1)).max() < 60
        shares.append(float((lit[..., 0] > 110).mean()))
    assert max(shares) < 0.4 and np.mean(shares) > 0.005


@pytest.mark.parametrize("augment", [Augment("none", stamps_p=0.3), Augment("none", spots_p=0.3)])
def test_marks_come_as_often_as_the_recipe_says_and_the_same_seed_makes_the_same(augment: Augment) -> None:
    made = [marked(augment, seed) for seed in range(200)]
    assert 0.2 < np.mean([not np.array_equal(one, GREY) for one in made]) < 0.4
    assert all(np.array_equal(one, marked(augment, seed)) for seed, one in enumerate(made[:20]))

"""Photographs that are nearly the same are found, others are not; the time is bounded, plain ones are left alone."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from build.new.lookalikes import find_alike
from kernel_src.competition.rules import joined_groups
from kernel_src.competitions.leaf.rules import LeafRules


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (240, 160), interpolation=cv2.INTER_CUBIC)


def write(folder: Path, pictures: dict[str, np.ndarray], quality: int = 95) -> dict[str, str]:
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return {name: f"{name}.jpg" for name in pictures}


def test_a_photograph_saved_again_smaller_or_a_little_brighter_is_found(tmp_path: Path) -> None:
    paths = write(tmp_path, {f"other{n}": scene(n) for n in range(60)})
    paths |= write(tmp_path, {"one": scene(100), "two": scene(101)})
    paths |= write(tmp_path, {"one_again": scene(100)}, quality=40)
    paths |= write(tmp_path, {"one_small": cv2.resize(scene(100), (120, 80), interpolation=cv2.INTER_AREA)})
    paths |= write(tmp_path, {"two_brighter": np.clip(scene(101).astype(int) + 4, 0, 255).astype(np.uint8)})
    found = find_alike(tmp_path, paths, limit_s=60)
    assert found.groups == (("one", "one_again", "one_small"), ("two", "two_brighter"))
    assert found.looked_at == found.wanted == 65


def test_when_the_time_is_up_it_says_how_far_it_came(tmp_path: Path) -> None:
    paths = write(tmp_path, {f"n{n}": scene(n) for n in range(3)})
    found = find_alike(tmp_path, paths, limit_s=-1)
    assert (found.looked_at, found.wanted, found.groups) == (0, 3, ())


def test_photographs_too_plain_to_tell_apart_make_no_groups(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    paths = write(
        tmp_path, {f"n{n}": (scene(0) // 2 + noise.integers(0, 9, (160, 240, 3))).astype(np.uint8) for n in range(30)}
    )
    found = find_alike(tmp_path, paths, limit_s=60)
    assert found.is_too_plain and found.groups == ()


def test_what_is_alike_joins_the_groups_of_a_column() -> None:
    names = np.array(["ann", "ann", "bob", "cid", "dan"])
    joined = joined_groups(names, ["1", "2", "3", "4", "5"], [("2", "3"), ("3", "4"), ("unknown", "5")])
    assert joined.tolist() == ["ann", "ann", "ann", "ann", "dan"]


def test_rules_keep_look_alikes_in_one_group() -> None:
    train = pd.DataFrame({"image_id": ["a", "b", "c"]})
    assert LeafRules().group_labels(train).tolist() == ["a", "b", "c"]
    alike = type("Alike", (LeafRules,), {"alike": (("a", "c"),)})
    assert alike().group_labels(train).tolist() == ["a", "b", "a"]

"""The store of builds is bounded, and never forgets a build that an edit may still start from."""

import json
import os
import time
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.notebooks.base import BUILDS, LIMIT_S, YOUNG_S, find, needed_builds, prune
from tests.build.sync.conftest import MAIN, Toy


def builds(toy: Toy, count: int) -> list[str]:
    """Build several states of the sources, each a minute younger than the one before; return their hashes."""
    hashes = []
    for number in range(count):
        toy.write("tool", toy.text("tool").replace("def rounded", f"# state {number}\ndef rounded"))
        hashes.append(toy.build()["metadata"]["stitch"]["source_sha256"])
        age(toy, hashes[-1], YOUNG_S + 60 * (count - number))
    return hashes


def age(toy: Toy, sha256: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(toy.root / BUILDS / f"{sha256}.json", (then, then))


def lay(toy: Toy, place: str, sha256: str) -> Path:
    """A notebook of a build, somewhere."""
    path = toy.root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"nbformat": 4, "cells": [], "metadata": {"stitch": {"source_sha256": sha256, "main": MAIN}}}
    path.write_text(json.dumps(notebook))
    return path


def kept(toy: Toy) -> set[str]:
    return {path.stem for path in (toy.root / BUILDS).glob("*.json")}


def test_a_small_young_store_is_left_alone(toy: Toy) -> None:
    builds(toy, 3)
    before = kept(toy)
    assert prune(toy.root) == [] and kept(toy) == before


def test_old_builds_are_forgotten_with_the_texts_that_only_they_had(toy: Toy) -> None:
    first, second = builds(toy, 2)
    age(toy, first, LIMIT_S + 1)
    texts = {path.name for path in (toy.root / BUILDS / "sources").iterdir()}
    assert prune(toy.root) == [first]
    assert len(texts) - len(list((toy.root / BUILDS / "sources").iterdir())) == 1  # tool.py as it was then
    assert find(toy.root, second).texts["kernel_src/data/tool.py"] == toy.text("tool")
    with pytest.raises(CheckFailed, match="nor in git's history"):
        find(toy.root, first)


def test_of_too_much_the_oldest_goes_first_and_the_young_stay(toy: Toy) -> None:
    first, second, third = builds(toy, 3)
    total = sum(path.stat().st_size for path in (toy.root / BUILDS).rglob("*") if path.is_file())
    assert prune(toy.root, limit_bytes=total - 1) == [first]
    age(toy, third, 0)
    assert prune(toy.root, limit_bytes=0) == [second]
    assert find(toy.root, third)


@pytest.mark.parametrize(
    "place",
    [
        "notebooks/i2b-toy-infer/i2b-toy-infer.ipynb",
        "out/sync/kept/0123-i2b-toy-infer.ipynb",
        "out/sync/pulled/i2b-toy-infer.ipynb",
        "out/overwritten/i2b-toy-infer/0123-i2b-toy-infer.ipynb",
        "out/push/pushed/i2b-toy-infer/4567.ipynb",
    ],
)
def test_what_a_notebook_here_or_the_last_push_was_built_from_is_never_forgotten(toy: Toy, place: str) -> None:
    needed, other = builds(toy, 2)
    lay(toy, place, needed)
    for sha256 in (needed, other):
        age(toy, sha256, 10 * LIMIT_S)
    prune(toy.root, limit_bytes=0)
    assert needed in kept(toy) and other not in kept(toy)
    assert find(toy.root, needed).sha256 == needed


def test_of_many_pushes_the_last_three_are_needed(toy: Toy) -> None:
    hashes = builds(toy, 5)
    for number, sha256 in enumerate(hashes):
        path = lay(toy, f"out/push/pushed/i2b-toy-infer/{number}.ipynb", sha256)
        os.utime(path, (1e9 + number, 1e9 + number))
    assert needed_builds(toy.root) == set(hashes[2:])


def test_texts_without_a_build_and_damaged_builds_go_and_are_no_error(toy: Toy) -> None:
    (sha256,) = builds(toy, 1)
    stray = toy.root / BUILDS / "sources" / "stray"
    stray.write_text("left by a kill")
    entry = toy.root / BUILDS / f"{sha256}.json"
    entry.write_text("{")
    with pytest.raises(CheckFailed, match="nor in git's history"):
        find(toy.root, sha256)
    age(toy, sha256, LIMIT_S + 1)
    prune(toy.root)
    assert not stray.exists() and not entry.exists()


def test_a_build_made_again_is_young_again(toy: Toy) -> None:
    (sha256,) = builds(toy, 1)
    age(toy, sha256, LIMIT_S + 1)
    toy.build()
    assert prune(toy.root) == [] and sha256 in kept(toy)

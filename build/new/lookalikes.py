"""Photographs that are nearly the same: one file saved twice, frames of one second. They must stay in one fold.

1. Each photograph is shrunk to 32x32 greys; the signs of 63 low frequencies of its cosine transform, against their
   median, are its hash (as pHash has it).
2. Two whose hashes differ in few bits are compared as 16x16 greys: nearly the same in the mean, and alike in what is
   left when the mean brightness is taken away.
3. Pairs make groups. Where a group would hold a large share of all, the photographs are too plain for this, and
   nothing is said rather than something wrong.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIDE_PX, LOW, THUMB_PX = 32, 8, 16
MOST_BITS = 6  # of 63 that differ
MOST_APART = 5.0  # of 255, in the mean over the thumbnail
LEAST_CORRELATION = 0.99
LARGEST_SHARE = 0.1  # of the photographs, in one group; beside this a group of 20 is possible in any case
LARGEST_ANYWAY = 20
BLOCK = 1024  # rows compared at once


@dataclass(frozen=True)
class Alike:
    """What came of looking."""

    groups: tuple[tuple[str, ...], ...]  # ids, those of a group in the table's order
    looked_at: int
    wanted: int
    is_too_plain: bool = False  # the photographs cannot be told apart this way
    unreadable: tuple[str, ...] = ()  # ids


def find_alike(
    data: Path,
    paths: Mapping[str, str],
    limit_s: float,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Alike:
    """Look for groups among photographs, id → path below `data`; stops reading after `limit_s`, and says so."""
    start = time.monotonic()
    names: list[str] = []
    hashes: list[int] = []
    thumbs: list[np.ndarray] = []
    unreadable: list[str] = []
    for number, (name, path) in enumerate(paths.items()):
        if time.monotonic() - start > limit_s:
            break
        if (seen := _seen(data / path)) is None:
            unreadable.append(name)
        else:
            names.append(name)
            hashes.append(seen[0])
            thumbs.append(seen[1])
        advance(number + 1, len(paths))
    pairs = _pairs(np.array(hashes, np.uint64), np.array(thumbs))
    groups = _joined(names, pairs)
    largest = max(map(len, groups), default=0)
    if largest > max(LARGEST_ANYWAY, LARGEST_SHARE * len(names)):
        return Alike((), len(names), len(paths), is_too_plain=True, unreadable=tuple(unreadable))
    return Alike(groups, len(names), len(paths), unreadable=tuple(unreadable))


def _seen(path: Path) -> tuple[int, np.ndarray] | None:
    """Return hash and thumbnail of a photograph; None if it cannot be read."""
    import cv2

    # A JPEG is decoded at an eighth of its size, which is enough and quick; small ones are read whole.
    picture = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if picture is not None and min(picture.shape) < SIDE_PX:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        return None
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:LOW, :LOW].ravel()[1:]
    bits = low > float(np.median(low.astype(np.float64)))
    value = int.from_bytes(np.packbits(np.r_[False, bits]).tobytes(), "big")
    return value, cv2.resize(small, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA).ravel()


def _pairs(hashes: np.ndarray, thumbs: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of photographs that are nearly the same, by their numbers."""
    if len(hashes) < 2:
        return []
    centred = thumbs - thumbs.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    found = []
    for start in range(0, len(hashes), BLOCK):
        block = hashes[start : start + BLOCK, None]
        bits = np.bitwise_count(block ^ hashes[None, start:])
        for one, other in np.argwhere(bits <= MOST_BITS):
            i, j = start + int(one), start + int(other)
            if i >= j or np.abs(thumbs[i] - thumbs[j]).mean() > MOST_APART:
                continue
            if centred[i] @ centred[j] >= LEAST_CORRELATION * max(length[i] * length[j], 1e-9):
                found.append((i, j))
    return found


def _joined(names: list[str], pairs: list[tuple[int, int]]) -> tuple[tuple[str, ...], ...]:
    """Make groups of pairs: what is alike to one of a group is in it."""
    above = list(range(len(names)))

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for one, other in pairs:
        above[max(top(one), top(other))] = min(top(one), top(other))
    tops = [top(number) for number in range(len(names))]
    shared = {number for number, count in Counter(tops).items() if count > 1}
    groups: dict[int, list[str]] = {}
    for name, number in zip(names, tops, strict=True):
        if number in shared:
            groups.setdefault(number, []).append(name)
    return tuple(tuple(group) for group in groups.values())

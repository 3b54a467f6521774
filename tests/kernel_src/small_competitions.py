"""Two tiny competitions in the exact layout of leaf and paws, with ids that have dots."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernel_src.competitions.paws.facts import DESCRIPTION

SIDE_PX = 32
# Half of the ten classes occur; the last of them once, so that the fold that judges it has never seen it.
LEAF_LABELS = [*("0", "3", "3", "7") * 5, "3", "3", "3", "9"]
PAWS_IMAGES = 24


def write_photograph(path: Path, colour: Sequence[float], seed: int) -> None:
    """Write a noisy picture of one colour, red, green and blue."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 8, (SIDE_PX, SIDE_PX, 3))
    cv2.imwrite(str(path), np.clip(np.array(colour)[::-1] + noise, 0, 255).astype(np.uint8))


def write_rows(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV, its heading first."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_small_leaf(folder: Path, test_images: int = 5) -> Path:
    """Write train.csv, train_images/, test_images/ and sample_submission.csv; a class has a colour."""
    rows = [(f"leaf.{1000 + number}.jpg", label) for number, label in enumerate(LEAF_LABELS)]
    for number, (name, label) in enumerate(rows):
        write_photograph(folder / "train_images" / name, (25 * int(label), 120, 250 - 25 * int(label)), number)
    names = [f"leaf.{9000 + number}.jpg" for number in range(test_images)]
    for number, name in enumerate(names):
        write_photograph(folder / "test_images" / name, (75, 120, 175), 500 + number)
    write_rows(folder / "train.csv", [("image_id", "label"), *rows])
    write_rows(folder / "sample_submission.csv", [("image_id", "label"), *((name, "4") for name in names)])
    return folder


def write_small_paws(folder: Path, test_images: int = 4) -> Path:
    """Write train.csv, test.csv, both folders and sample_submission.csv; `Face` adds 30 points, `Blur` is always 0."""
    random, tables = np.random.default_rng(2), {}
    for kind, count in (("train", PAWS_IMAGES), ("test", test_images)):
        rows = []
        for number in range(count):
            name, about = f"{kind}.{number:03d}", (random.random(len(DESCRIPTION)) < 0.5).astype(int)
            about[DESCRIPTION.index("Blur")] = 0
            warmth = random.uniform(0, 200)
            write_photograph(folder / kind / f"{name}.jpg", (warmth, 100, 100), number)
            points = 10 + warmth / 5 + 30 * about[DESCRIPTION.index("Face")]
            rows.append((name, *about, round(points)))
        tables[kind] = rows
    write_rows(folder / "train.csv", [("Id", *DESCRIPTION, "Pawpularity"), *tables["train"]])
    write_rows(folder / "test.csv", [("Id", *DESCRIPTION), *(row[:-1] for row in tables["test"])])
    write_rows(folder / "sample_submission.csv", [("Id", "Pawpularity"), *((row[0], 38.0) for row in tables["test"])])
    return folder

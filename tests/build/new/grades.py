"""A third competition, unlike leaf and paws: an order from 0 to 4, PNGs, ids with dots, a patient in train.csv alone.

A photograph is a mottled disc on black, as of an eye; the grade is how many light spots lie on it, and each patient's
eyes have a brightness of their own. `competition/` is what Kaggle gives, `hidden/` what its rerun has in place of the
test, with the answers in labels.csv.
"""

from pathlib import Path

import cv2
import numpy as np

from tests.build.new.layouts import write_table

SIDE_PX = 64
SPOTS = (0, 2, 5, 9, 14)  # by grade
SLUG = "retina-grades"


def eye(grade: int, random: np.random.Generator, ground: int) -> np.ndarray:
    """Paint an eye with the spots of its grade."""
    picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    middle = SIDE_PX // 2
    cv2.circle(picture, (middle, middle), middle - 3, (ground // 3, ground // 2, ground), -1, cv2.LINE_AA)
    mottled = cv2.resize(random.normal(1, 0.25, (5, 5)), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(picture * mottled[:, :, None], 0, 255).astype(np.uint8)
    for _ in range(SPOTS[grade] + random.integers(0, 2)):
        angle, radius = random.uniform(0, 2 * np.pi), random.uniform(4, middle - 10)
        place = (int(middle + radius * np.cos(angle)), int(middle + radius * np.sin(angle)))
        cv2.circle(picture, place, 3, (120, 240, 250), -1, cv2.LINE_AA)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def write_grades(out: Path, patients: int = 40, hidden: int = 24, seed: int = 3) -> Path:
    """Write the competition below `out`, and return it."""
    random = np.random.default_rng(seed)
    competition, behind = out / "competition", out / "hidden"
    for folder in ("train_images", "test_images"):
        (competition / folder).mkdir(parents=True)
    (behind / "test_images").mkdir(parents=True)

    def paint(folder: Path, name: str, grade: int, ground: int) -> None:
        assert cv2.imwrite(str(folder / f"{name}.png"), eye(grade, random, ground))

    rows = []
    for patient in range(patients):
        ground = int(random.integers(90, 200))
        for side in ("left", "right"):
            name, grade = f"{random.integers(1e6):06d}.{side}.v{patient % 3}", int(random.choice(5, p=SHARES))
            rows.append((name, f"P{patient:03d}", grade))
            paint(competition / "train_images", name, grade, ground)
    write_table(competition / "train.csv", "id_code,patient,diagnosis", rows)
    for folder, count in ((competition, 3), (behind, hidden)):
        names = [f"t{random.integers(1e6):06d}.left.v{number}" for number in range(count)]
        grades = [int(random.choice(5, p=SHARES)) for _ in names]
        for name, grade in zip(names, grades, strict=True):
            paint(folder / "test_images", name, grade, int(random.integers(90, 200)))
        write_table(folder / "test.csv", "id_code", [(name,) for name in names])
        write_table(folder / "sample_submission.csv", "id_code,diagnosis", [(name, 0) for name in names])
        if folder is behind:
            write_table(folder / "labels.csv", "id_code,diagnosis", zip(names, grades, strict=True))
    return competition


SHARES = (0.35, 0.2, 0.2, 0.15, 0.1)  # of the grades

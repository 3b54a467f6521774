"""Painted pets in the layout of PetFinder.my's Pawpularity Contest: pictures, and twelve columns of 0 and 1.

How popular a picture is depends on what it shows (how warm the coat is, how large the head) and as much on columns that
nothing in the picture gives away. So a network that sees the picture alone is beaten by one that is given both. The
public test is eight pictures of noise, as there.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from build.demo.stamp import LABELS_CSV, code_sha256, make_once, write_table
from kernel_src.competitions.paws.facts import DESCRIPTION, PawsFacts

SIDE_PX = 96
JPEG_QUALITY = 90
PUBLIC_IMAGES = 8
# How often each column is 1, about as in the original; and what it adds to the popularity.
SHARES = (0.05, 0.77, 0.90, 0.86, 0.03, 0.07, 0.13, 0.05, 0.17, 0.17, 0.06, 0.07)
SHARES_HERE = tuple(min(max(share, 0.2), 0.8) for share in SHARES)  # so that few pictures have enough of each
EFFECTS = dict(zip(DESCRIPTION, (9, 0, 0, 6, -8, 10, -9, 0, 5, -4, -7, -5), strict=True))
MEAN, WARMTH, SIZE, NOISE = 40.0, 14.0, 8.0, 3.0  # points: of all, per unit of each


@dataclass(frozen=True)
class Pet:
    """One picture and what is known of it."""

    name: str
    described: tuple[int, ...]  # by column of DESCRIPTION
    warmth: float  # of the coat, -1 to 1
    size: float  # of the head, -1 to 1
    popularity: int

    @property
    def row(self) -> tuple[str, ...]:
        """Its row in the table of the test."""
        return (self.name, *map(str, self.described))


def draw_pets(count: int, seed: int) -> list[Pet]:
    """Draw pets, each by a number of its own, so that how many there are changes none of them."""
    pets = []
    for number in range(count):
        random = np.random.default_rng([seed, number])
        described = tuple(int(random.random() < share) for share in SHARES_HERE)
        warmth, size = (float(value) for value in random.uniform(-1, 1, 2))
        points = MEAN + WARMTH * warmth + SIZE * size + NOISE * random.normal()
        columns = zip(EFFECTS.values(), described, SHARES_HERE, strict=True)
        points += sum(effect * (bit - share) for effect, bit, share in columns)
        popularity = int(min(max(round(points), 1), 100))
        pets.append(Pet(random.bytes(16).hex(), described, warmth, size, popularity))
    return pets


def write_paws(out: Path, *, train_images: int = 360, hidden_images: int = 120, seed: int = 0) -> None:
    """Write `competition/` and `hidden/` under `out`, unless the very same ones are there.

    Raises:
        UsageError: `out` holds a folder of that name which was not made here.
    """
    facts = PawsFacts()
    pets = draw_pets(train_images + hidden_images + PUBLIC_IMAGES, seed)
    parts = {
        f"competition/{facts.train_folder}": pets[:train_images],
        f"competition/{facts.test_folder}": pets[train_images + hidden_images :],
        f"hidden/{facts.test_folder}": pets[train_images : train_images + hidden_images],
    }
    files = [f"{folder}/{pet.name}.jpg" for folder, own in parts.items() for pet in own]
    tables = [f"{part}/{name}" for part in ("competition", "hidden") for name in (facts.test_csv, facts.sample_csv)]
    tables += [f"competition/{facts.train_csv}", f"hidden/{LABELS_CSV}"]
    columns, sample = (facts.id_column, *DESCRIPTION), facts.submission_columns

    def make(draft: Path) -> None:
        for folder, own in parts.items():
            (draft / folder).mkdir(parents=True)
            for pet in own:
                _write_picture(draft / folder / f"{pet.name}.jpg", pet, seed, noise=own is public)
        for part, own in (("competition", public), ("hidden", hidden)):
            write_table(draft / part / facts.test_csv, columns, [pet.row for pet in own])
            write_table(draft / part / facts.sample_csv, sample, [(pet.name, "38.0") for pet in own])
        for path, own in ((f"competition/{facts.train_csv}", train), (f"hidden/{LABELS_CSV}", hidden)):
            write_table(draft / path, (*columns, *facts.targets), [(*pet.row, pet.popularity) for pet in own])

    train, public, hidden = parts.values()
    spec = {
        "train_images": train_images,
        "hidden_images": hidden_images,
        "seed": seed,
        "code_sha256": code_sha256("paws", "stamp"),
        "libraries": {name: version(name) for name in ("numpy", "opencv-python-headless")},
    }
    make_once(out, spec, [*tables, *files], make)


def _write_picture(path: Path, pet: Pet, seed: int, *, noise: bool) -> None:
    """Paint a head with two ears and two eyes, or noise alone, into a JPEG."""
    import cv2

    random = np.random.default_rng([seed, int(pet.name[:8], 16)])
    if noise:
        image = random.integers(0, 256, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    else:
        image = _painted(pet, random)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"could not write {path}: is the disk full?")


def _painted(pet: Pet, random: np.random.Generator) -> np.ndarray:
    """Paint a pet, (96, 96, 3) of uint8 in the order blue, green, red."""
    import cv2

    image = np.full((SIDE_PX, SIDE_PX, 3), random.integers(60, 200, 3), np.float32)
    coat = (115 - 75 * pet.warmth, 120, 140 + 85 * pet.warmth)
    radius = round(22 + 10 * pet.size)
    x, y = (int(value) for value in random.integers(SIDE_PX // 2 - 6, SIDE_PX // 2 + 7, 2))
    for side in (-1, 1):
        ear = [(x + side * radius, y - round(1.5 * radius)), (x, y - radius // 2), (x + side * radius, y)]
        cv2.fillPoly(image, [np.array(ear, np.int32)], coat)
    cv2.circle(image, (x, y), radius, coat, -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(image, (x + side * radius // 2, y - radius // 5), max(2, radius // 6), (30, 30, 30), -1, cv2.LINE_AA)
    cv2.circle(image, (x, y + radius // 3), max(2, radius // 8), (90, 80, 160), -1, cv2.LINE_AA)
    return np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)

"""Real pictures in the layout of Cassava Leaf Disease Classification: the handwritten digits that scikit-learn ships.

1,797 pictures of 8 by 8 pixels, each of the digit 0 to 9 (Alpaydin and Kaynak 1998), enlarged to the size at which they
are trained. There is no test.csv: the sample submission names the photographs, by the name of their file. The public
test is a single picture, as there.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from build.demo.stamp import LABELS_CSV, code_sha256, make_once, write_table
from kernel_src.competitions.leaf.facts import LeafFacts

SIDE_PX = 64
JPEG_QUALITY = 90
FIRST_ID = 1_000_000_007  # ids look like those of the original, and say nothing of the class
COLUMNS = ("image_id", "label")


def write_leaf(out: Path, *, train_images: int = 480, hidden_images: int = 160, seed: int = 0) -> None:
    """Write `competition/` and `hidden/` under `out`, unless the very same ones are there.

    Raises:
        UsageError: `out` holds a folder of that name which was not made here.
        ValueError: there are not so many pictures.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    wanted = train_images + 1 + hidden_images
    if wanted > len(digits.images):
        raise ValueError(f"there are {len(digits.images)} pictures, not {wanted}")
    order = np.random.default_rng(seed).permutation(len(digits.images))[:wanted]
    ids = [f"{FIRST_ID + 7919 * int(number)}.jpg" for number in order]
    labels = [str(digits.target[number]) for number in order]
    facts = LeafFacts()
    parts = {
        f"competition/{facts.train_folder}": slice(0, train_images),
        f"competition/{facts.test_folder}": slice(train_images, train_images + 1),
        f"hidden/{facts.test_folder}": slice(train_images + 1, wanted),
    }
    tables = [f"competition/{facts.train_csv}", *(f"{part}/{facts.sample_csv}" for part in ("competition", "hidden"))]
    files = [f"{folder}/{name}" for folder, own in parts.items() for name in ids[own]]

    def make(draft: Path) -> None:
        for folder, own in parts.items():
            (draft / folder).mkdir(parents=True)
            for name, number in zip(ids[own], order[own], strict=True):
                _write_picture(draft / folder / name, digits.images[number])
        train, public, hidden = ([*zip(ids[own], labels[own], strict=True)] for own in parts.values())
        write_table(draft / "competition" / facts.train_csv, COLUMNS, train)
        write_table(draft / "competition" / facts.sample_csv, COLUMNS, [(name, "0") for name, _ in public])
        write_table(draft / "hidden" / facts.sample_csv, COLUMNS, [(name, "0") for name, _ in hidden])
        write_table(draft / "hidden" / LABELS_CSV, COLUMNS, hidden)

    spec = {
        "train_images": train_images,
        "hidden_images": hidden_images,
        "seed": seed,
        "code_sha256": code_sha256("leaf", "stamp"),
        "libraries": {name: version(name) for name in ("scikit-learn", "opencv-python-headless")},
    }
    make_once(out, spec, [*tables, f"hidden/{LABELS_CSV}", *files], make)


def _write_picture(path: Path, grey: np.ndarray) -> None:
    """Write a digit, 8 by 8 with values 0 to 16, as a JPEG."""
    import cv2

    large = cv2.resize(grey / 16 * 255, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    image = cv2.cvtColor(np.clip(large, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"could not write {path}: is the disk full?")

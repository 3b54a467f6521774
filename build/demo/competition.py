"""The painted competition on disk, in Kaggle's exact layout, with a hidden test whose labels are kept aside.

`out/competition/` is what an attached competition looks like (train.csv, test.csv with its single public image,
sample_submission.csv, train/, test/); `out/hidden/` is what the rerun puts in place of the test files, plus labels.csv
in the columns of train.csv. Every photograph depends on the seed and its own labels only, so the number of workers
changes nothing.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from build.demo.labels import Quadrat, draw_quadrats
from build.demo.stamp import LABELS_CSV, code_sha256, make_once, write_table
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import (
    DATE_COLUMN,
    ID_COLUMN,
    NAME_COLUMN,
    SAMPLE_CSV,
    STATE_COLUMN,
    TARGET_COLUMN,
    TEST_CSV,
    TEST_FOLDER,
    TRAIN_CSV,
    TRAIN_FOLDER,
    sample_id,
)

JPEG_QUALITY = 90
TRAIN_COLUMNS = (
    *(ID_COLUMN, IMAGE_COLUMN, DATE_COLUMN, STATE_COLUMN),
    *("Species", "Pre_GSHH_NDVI", "Height_Ave_cm", NAME_COLUMN, TARGET_COLUMN),
)
PAINTING_SOURCES = (
    *("labels", "shapes", "plants", "ground", "conditions", "light", "camera", "painter", "competition", "stamp"),
)


def paint_competition(
    out: Path,
    *,
    train_images: int = 240,
    hidden_images: int = 40,
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Paint the whole competition under `out`, unless the very same one is already there.

    `progress` is called with (photographs done, of how many).

    Raises:
        UsageError: `out` holds a folder of that name which this function did not make.
        ValueError: too few photographs.
    """
    quadrats = draw_quadrats(train_images, hidden_images, seed)
    spec = {
        "train_images": train_images,
        "hidden_images": hidden_images,
        "seed": seed,
        "code_sha256": code_sha256(*PAINTING_SOURCES),
        "libraries": {name: version(name) for name in ("numpy", "opencv-python-headless")},
    }

    def make(draft: Path) -> None:
        for folder in (f"competition/{TRAIN_FOLDER}", f"competition/{TEST_FOLDER}", f"hidden/{TEST_FOLDER}"):
            (draft / folder).mkdir(parents=True)
        _write_tables(draft, quadrats)
        jobs = [(quadrat, seed, draft / _image_file(quadrat)) for quadrat in quadrats]
        # Fresh interpreters, not forks: the caller may have started threads (torch, OpenCV).
        with ProcessPoolExecutor(max(1, workers), mp_context=get_context("spawn")) as pool:
            for done, _ in enumerate(pool.map(_paint_file, jobs, chunksize=2), 1):
                if progress:
                    progress(done, len(jobs))

    make_once(out, spec, _files(quadrats), make)


def _files(quadrats: Sequence[Quadrat]) -> list[str]:
    """Name every file that is there once all is painted, relative to `out`."""
    tables = [f"competition/{name}" for name in (TRAIN_CSV, TEST_CSV, SAMPLE_CSV)]
    tables += [f"hidden/{name}" for name in (TEST_CSV, SAMPLE_CSV, LABELS_CSV)]
    return [*tables, *map(_image_file, quadrats)]


def _paint_file(job: tuple[Quadrat, int, Path]) -> None:
    """Paint one photograph into its JPEG; runs in a worker."""
    import cv2

    from build.demo.painter import paint

    quadrat, seed, path = job
    cv2.setNumThreads(1)  # the workers are the parallelism
    image = cv2.cvtColor(paint(quadrat, seed), cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"could not write {path}: is the disk full?")


# --- tables ---


def _image_file(quadrat: Quadrat) -> str:
    """Return where the photograph lies, relative to `out`."""
    part = "hidden" if quadrat.part == "hidden" else "competition"
    return f"{part}/{_image_path(quadrat)}"


def _image_path(quadrat: Quadrat) -> str:
    """Return the `image_path` of the tables: `train/ID….jpg`."""
    return f"{TRAIN_FOLDER if quadrat.part == 'train' else TEST_FOLDER}/{quadrat.image_id}.jpg"


def _label_rows(quadrats: Sequence[Quadrat]) -> list[tuple[Any, ...]]:
    """Return the rows of train.csv: images sorted by id, targets by name, numbers as Python prints them."""
    return [
        (
            *(sample_id(quadrat.image_id, name), _image_path(quadrat), quadrat.date, quadrat.state, quadrat.species),
            *(quadrat.ndvi, quadrat.height_cm, name, grams),
        )
        for quadrat in quadrats
        for name, grams in quadrat.grams.items()
    ]


def _write_tables(draft: Path, quadrats: Sequence[Quadrat]) -> None:
    """Write all CSV files of both folders."""
    train = [quadrat for quadrat in quadrats if quadrat.part == "train"]
    write_table(draft / "competition" / TRAIN_CSV, TRAIN_COLUMNS, _label_rows(train))
    for folder, part in (("competition", "public"), ("hidden", "hidden")):
        rows = _label_rows([quadrat for quadrat in quadrats if quadrat.part == part])
        tests = [(row[0], row[1], row[7]) for row in rows]
        write_table(draft / folder / TEST_CSV, (ID_COLUMN, IMAGE_COLUMN, NAME_COLUMN), tests)
        write_table(draft / folder / SAMPLE_CSV, (ID_COLUMN, TARGET_COLUMN), [(r[0], 0.0) for r in rows])
        if part == "hidden":
            write_table(draft / folder / LABELS_CSV, TRAIN_COLUMNS, rows)

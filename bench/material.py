"""What is measured on: full-size photographs in Kaggle's layout, and bundles of real nets with random weights.

Everything lies below out/bench/ and is made once.
"""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

from kernel_src.bundle.bundles import BundleRecipe, read_recipe
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.network import Encoder, PooledHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.training_data import Data, GroupSplit
from kernel_src.runtime.files import BUNDLE_FORMAT
from kernel_src.runtime.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]
MATERIAL = ROOT / "out" / "bench" / "material"
PAINTED_AT = ROOT / "out" / "bench" / "painted"
PAINTED = 4  # 2000 x 1000 px, quality 90; 0.75 to 1.1 MB each, against 0.49 MB of the real one
REAL = ROOT.parent / "shared" / "data" / "photos" / "ID1088965591.jpg"  # as Kaggle serves them; never committed

SMALL = Experiment(
    name="small",
    encoder=Encoder("test_efficientnet"),
    pictures=Pictures(96, 96),
    head=PooledHead((8,)),
    data=Data(split=GroupSplit(2)),
)
_PAINT = """
import sys
from pathlib import Path
from PIL import Image
from build.demo.labels import draw_quadrats
from build.demo.painter import paint
folder, count = Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for number, quadrat in enumerate(draw_quadrats(20, 10, 0)[:count]):
    Image.fromarray(paint(quadrat, 0)).save(folder / f"{number}.jpg", quality=90)
"""


def painted_photographs() -> list[Path]:
    """Return the painted photographs, made once, in a process of their own: painting leaves OpenCV's seed changed."""
    paths = [PAINTED_AT / f"{number}.jpg" for number in range(PAINTED)]
    if not all(path.is_file() for path in paths):
        subprocess.run([sys.executable, "-c", _PAINT, str(PAINTED_AT), str(PAINTED)], cwd=ROOT, check=True)
    return paths


def real_photographs() -> list[Path]:
    """Return the real photograph, or nothing where it is not at hand."""
    return [REAL] if REAL.is_file() else []


def photograph_source() -> str:
    """Say which photographs are measured."""
    if real := real_photographs():
        return f"copies of {real[0].name}"
    return f"{PAINTED} painted ones and copies"


def competition(images: int) -> Path:
    """Return a competition's folder whose test has so many full-size photographs, and whose training is empty."""
    from kernel_src.competitions.biomass.constants import (
        SAMPLE_CSV,
        TARGETS,
        TEST_CSV,
        TEST_FOLDER,
        TRAIN_CSV,
        TRAIN_FOLDER,
        sample_id,
    )

    folder = MATERIAL / f"competition-{images}-{'real' if real_photographs() else 'painted'}"
    if (folder / TEST_CSV).is_file():
        return folder
    (folder / TEST_FOLDER).mkdir(parents=True, exist_ok=True)
    originals, rows = real_photographs() or painted_photographs(), []
    for number in range(images):
        image_id = f"ID{10_000 + number}"
        shutil.copyfile(originals[number % len(originals)], folder / TEST_FOLDER / f"{image_id}.jpg")
        rows += [(sample_id(image_id, target), f"{TEST_FOLDER}/{image_id}.jpg", target) for target in TARGETS]
    (folder / TRAIN_FOLDER).mkdir(exist_ok=True)
    tables: dict[str, list[tuple[object, ...]]] = {
        TRAIN_CSV: [("sample_id", "image_path", "target_name", "target")],
        SAMPLE_CSV: [("sample_id", "target"), *((row[0], 0.0) for row in rows)],
        TEST_CSV: [("sample_id", "image_path", "target_name"), *rows],  # the last: it marks the folder as complete
    }
    for name, table in tables.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows(table)
    return folder


def bundle(experiment: Experiment, folds: int = 2) -> BundleRecipe:
    """Return the recipe of a bundle with random weights; v5 and v8 get the depth model of their own size."""
    from build.weights.bundle import make_bundle
    from build.weights.random_weights import DEPTH_SMALL, random_depth, random_run

    experiment = changed(experiment, {"data.split.folds": max(2, folds), "data.train_folds": tuple(range(folds))})
    out = MATERIAL / f"bundle{BUNDLE_FORMAT}-{experiment.name}-{folds}-{experiment.predict.tta}"
    if not out.is_dir():
        run = MATERIAL / f"run-{experiment.name}"
        depth = random_depth(MATERIAL / "depth", DEPTH_SMALL) if experiment.depth else None
        random_run(run, experiment, depth, settled=True)
        make_bundle(run, out, slug=f"i2b-{experiment.name}-weights")
        shutil.rmtree(run)
    return read_recipe(out, read_manifest(out))

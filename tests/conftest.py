"""One small competition in Kaggle's exact layout, for every test that needs photographs and tables."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from kernel_src.competition.choice import DEFAULT_COMPETITION, choose_competition
from kernel_src.competitions.biomass.constants import TARGETS

# How long an example takes depends on what else runs on the machine; speed is measured in bench/.
# Where SAME_EXAMPLES is set, as in .ci/run, the examples are the same each time; elsewhere new ones are drawn.
settings.register_profile("kit", deadline=None, derandomize=bool(os.environ.get("SAME_EXAMPLES")))
settings.load_profile("kit")

# Tests that fork have trained before, and torch refuses autograd in such a child where it sees a GPU. What is measured
# on a GPU is measured by `make bench`.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# State, Sampling_Date and number of photographs of each visit; as in the real table, no two states share a date.
VISITS = (
    ("Tas", "2015/5/4", 4),
    ("Tas", "2015/9/1", 3),
    ("Vic", "2015/7/2", 4),
    ("Vic", "2015/11/9", 2),
    ("NSW", "2015/4/8", 3),
    ("NSW", "2015/10/6", 2),
    ("WA", "2015/8/21", 2),
)
WIDTH_PX, HEIGHT_PX = 200, 100  # a tenth of the real photographs, of the same shape
TRAIN_HEADING = (
    "sample_id",
    "image_path",
    "Sampling_Date",
    "State",
    "Species",
    "Pre_GSHH_NDVI",
    "Height_Ave_cm",
    "target_name",
    "target",
)


def write_competition(folder: Path, visits: tuple[tuple[str, str, int], ...] = VISITS, test_images: int = 3) -> Path:
    """Write train.csv, test.csv, sample_submission.csv and their JPEGs, whose colours follow the weights."""
    import cv2
    import numpy as np

    random = np.random.default_rng(7)
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()

    def photograph(path: Path, green: float, dead: float, clover: float) -> None:
        noise = random.normal(0, 6, (HEIGHT_PX, WIDTH_PX, 3))
        colour = np.array([40 + 2 * clover, 60 + 2 * green, 50 + 3 * dead])  # B, G, R
        cv2.imwrite(str(path), np.clip(colour + noise, 0, 255).astype(np.uint8))

    def weights(state: str) -> dict[str, float]:
        green, dead, clover = (round(float(g), 4) for g in random.gamma(2.0, (12.0, 6.0, 4.0)))
        dead = 0.0 if state == "WA" else dead
        values = (green, dead, clover, green + clover, green + clover + dead)
        return {target: round(value, 4) for target, value in zip(TARGETS, values, strict=True)}

    train, number = [], 0
    for state, date, images in visits:
        for _ in range(images):
            name, grams = f"ID{1000 + 37 * number}", weights(state)
            number += 1
            photograph(folder / "train" / f"{name}.jpg", *(grams[target] for target in TARGETS[:3]))
            about = (f"train/{name}.jpg", date, state, "Ryegrass", 0.5, 4.0)
            train += [(f"{name}__{target}", *about, target, grams[target]) for target in sorted(TARGETS)]
    names = [f"ID{9000 + 11 * i}" for i in range(test_images)]
    for name in names:
        photograph(folder / "test" / f"{name}.jpg", *(weights("Vic")[target] for target in TARGETS[:3]))
    rows = [(f"{name}__{target}", f"test/{name}.jpg", target) for name in names for target in sorted(TARGETS)]
    _write_csv(folder / "train.csv", TRAIN_HEADING, train)
    _write_csv(folder / "test.csv", ("sample_id", "image_path", "target_name"), rows)
    _write_csv(folder / "sample_submission.csv", ("sample_id", "target"), [(row[0], 0.0) for row in rows])
    return folder


def _write_csv(path: Path, heading: tuple[str, ...], rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([heading, *rows])


@pytest.fixture(scope="session")
def tiny_competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a competition of 20 photographs in 7 visits and 3 test photographs; read it, never write it."""
    return write_competition(tmp_path_factory.mktemp("competition") / "csiro-biomass")


@pytest.fixture(scope="session")
def trained_run(tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run/ folder of two folds of `test_efficientnet` on the tiny competition; read it, never write it."""
    import torch

    from kernel_src.competitions.biomass.tables import read_train
    from kernel_src.runtime.provenance import note_sources
    from kernel_src.training.runs import finish_run, predict_out_of_fold, train_run
    from tests.kernel_src.tiny import CPU, TINY

    torch.set_num_threads(1)
    folder, cache = tmp_path_factory.mktemp("working") / "run", tmp_path_factory.mktemp("cache")
    train = read_train(tiny_competition / "train.csv")
    note_sources(folder, "ab" * 32)
    train_run(TINY, train, tiny_competition, device=CPU, starting_weights=None, folder=folder, cache=cache)
    oof = predict_out_of_fold(TINY, train, tiny_competition, folder, cache, CPU)
    finish_run(TINY, train, oof, folder)
    return folder


@pytest.fixture(scope="session")
def whole_bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that run; read it, never write it."""
    from build.weights.bundle import make_bundle

    out = tmp_path_factory.mktemp("bundles") / "tiny"
    make_bundle(trained_run, out, slug="i2b-tiny-weights")
    return out


@pytest.fixture(autouse=True)
def default_competition() -> Iterator[None]:
    """Leave no choice of a competition to the next test."""
    yield
    choose_competition(DEFAULT_COMPETITION)

"""The same path on the 22 real photographs at hand: train → bundle → infer → valid submission."""

import csv
from pathlib import Path

import cv2
import pytest

from build.core.submission_file import read_column, submission_problems
from build.weights.bundle import make_bundle
from kernel_src.competitions.biomass.constants import TARGETS
from tests.kernel_src.kernels.running import ROOT, TINY, lay_out_kaggle, run_notebook

PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "photos"


@pytest.fixture(scope="module")
def real_competition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Put the real photographs into the competition's layout: 22 to train, the first 3 of them as test."""
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"the real photographs are not at {PHOTOGRAPHS}: they are never committed")
    folder = tmp_path_factory.mktemp("real")
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    with (PHOTOGRAPHS / "labels.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    train = ["sample_id,image_path,Sampling_Date,State,Species,Pre_GSHH_NDVI,Height_Ave_cm,target_name,target"]
    test, sample = ["sample_id,image_path,target_name"], ["sample_id,target"]
    for number, row in enumerate(rows):
        image, name = cv2.imread(str(PHOTOGRAPHS / row["file"])), row["image_id"]
        cv2.imwrite(str(folder / "train" / f"{name}.jpg"), image)
        visit = f"{row['Sampling_Date']},{row['State']},{row['Species']},0.5,5"
        train += [f"{name}__{t},train/{name}.jpg,{visit},{t},{row[t]}" for t in TARGETS]
        if number < 3:
            cv2.imwrite(str(folder / "test" / f"{name}.jpg"), image)
            test += [f"{name}__{t},test/{name}.jpg,{t}" for t in TARGETS]
            sample += [f"{name}__{t},0.0" for t in TARGETS]
    for file, lines in (("train.csv", train), ("test.csv", test), ("sample_submission.csv", sample)):
        (folder / file).write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.full
def test_real_photographs_go_from_training_to_a_valid_submission(real_competition: Path, tmp_path: Path) -> None:
    training = lay_out_kaggle(tmp_path / "train", real_competition, {})
    printed = run_notebook("train", {"EXPERIMENT": "demo", "CHANGES": TINY}, training, tmp_path / "scratch")
    assert "22 photographs" in printed
    assert "means nothing" in printed, "at n = 22 the output must say that the score means nothing"
    run = training / "kaggle/working/run"
    make_bundle(run, tmp_path / "bundle", slug="i2b-demo-weights", data=real_competition)
    inference = lay_out_kaggle(tmp_path / "infer", real_competition, {"i2b-demo-weights": tmp_path / "bundle"})
    run_notebook("infer", {"BUNDLES": {"i2b-demo-weights": 1.0}}, inference, tmp_path / "scratch")
    ids = read_column(real_competition / "sample_submission.csv", "sample_id")
    assert submission_problems(inference / "kaggle/working/submission.csv", ids) == []

"""From a bundle to the pseudo-labels of the next training: fold by fold, by inference's own prediction, or not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from build.core.errors import CheckFailed, UsageError
from build.notebooks.builder import ROOT
from build.weights.bundle import make_bundle
from build.weights.pseudo_label import label
from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.tables import read_train
from kernel_src.data.images import Framing, read_rgb, resize_rgb
from kernel_src.data.pseudo_labels import read_pseudo_labels
from kernel_src.recipes.changes import changed
from kernel_src.recipes.training_data import PseudoLabels
from kernel_src.training import runs
from tests.kernel_src.tiny import CPU, TINY

AGAIN = changed(TINY, {"name": "again", "data.pseudo": PseudoLabels("i2b-tiny-labels", weight=0.5)})


@pytest.fixture(scope="module")
def bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    make_bundle(trained_run, folder, slug="i2b-tiny-weights")
    return folder


@pytest.fixture(scope="module")
def labelled(bundle: Path, tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The competition's test photographs, labelled; read it, never write it."""
    out = tmp_path_factory.mktemp("pseudo") / "i2b-tiny-labels"
    label(AGAIN, tiny_competition, [bundle], [], out)
    return out


@pytest.fixture
def meadow(tiny_competition: Path, tmp_path: Path) -> Path:
    """A folder of photographs that belong to no competition."""
    folder = tmp_path / "meadow"
    folder.mkdir()
    for number, path in enumerate(sorted((tiny_competition / "test").iterdir())):
        shutil.copyfile(path, folder / f"meadow-{number}.jpg")
    return folder


def told(bundle: Path, out: Path, answers: dict[int, float], trained_run: Path) -> Path:
    """Make a bundle whose fold k answers `answers[k]` to every photograph and target."""
    run = Path(shutil.copytree(trained_run, out / "run"))
    for fold, grams in answers.items():
        tensors = load_file(run / f"fold{fold}.safetensors")
        tensors["scaling.mean"].fill_(grams)
        tensors["scaling.std"].fill_(1e-9)  # of the deviation nothing is left; 0 is refused
        save_file(tensors, run / f"fold{fold}.safetensors")
    config = json.loads((run / "config.json").read_text())
    config["experiment"]["predict"]["constraint"] = "none"
    (run / "config.json").write_text(json.dumps(config))
    make_bundle(run, out / "told", slug="i2b-tiny-weights")
    return out / "told"


def trained_on(folder: Path, competition: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """What each fold of the second training is given, through the run itself."""
    given: dict[int, Any] = {}

    def record(experiment: Any, fold: int, data: Any, **_: object) -> list[dict[str, Any]]:
        given[fold] = data
        return []

    monkeypatch.setattr(runs, "train_fold", record)
    runs.train_run(
        AGAIN,
        read_train(competition / "train.csv"),
        competition,
        device=CPU,
        starting_weights=None,
        folder=out / "second",
        cache=out / "cache",
        pseudo_labels=read_pseudo_labels(folder / "pseudo_labels.csv", share=1.0),
    )
    return given


def test_the_table_holds_what_inference_predicts_with_each_fold_apart(
    labelled: Path, bundle: Path, tiny_competition: Path
) -> None:
    table = pd.read_csv(labelled / "pseudo_labels.csv")
    loaded = load_bundle(bundle)
    paths = [tiny_competition / path for path in table["image_path"].unique()]
    (grams,) = predict_bundles([loaded], paths, device=CPU, batch_size=16)
    assert len(paths) == 3 and sorted(set(table["fold"])) == [0, 1]
    for fold in (0, 1):
        written = table[table["fold"] == fold][list(TARGETS)].to_numpy()
        np.testing.assert_allclose(written, constrain(grams[fold], TINY.predict.constraint), atol=1e-5)
    assert {path.name for path in labelled.iterdir()} == {
        "pseudo_labels.csv",
        "dataset-metadata.json",
        "provenance.json",
    }, "the competition's own photographs are not copied"
    provenance = json.loads((labelled / "provenance.json").read_text())
    assert provenance["bundles"][0]["source_sha256"] == "ab" * 32
    assert json.loads((labelled / "dataset-metadata.json").read_text())["id"] == "OWNER/i2b-tiny-labels"


def test_a_planted_giveaway_of_another_fold_never_reaches_a_folds_training(
    bundle: Path, trained_run: Path, tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fold 1's model has trained on what fold 0 validates on: let it say 1001 g to all, and fold 0's 1000 g."""
    spy = told(bundle, tmp_path, {0: 1000.0, 1: 1001.0}, trained_run)
    label(AGAIN, tiny_competition, [spy], [], tmp_path / "i2b-tiny-labels")
    given = trained_on(tmp_path / "i2b-tiny-labels", tiny_competition, tmp_path, monkeypatch)
    for fold in (0, 1):
        extra = given[fold].pseudo
        assert extra.sum() == 3 and set(np.flatnonzero(extra)) <= set(given[fold].train_rows)
        assert given[fold].values[extra].round(3).tolist() == [[1000.0 + fold] * 5] * 3


def test_several_bundles_are_averaged_fold_by_fold(
    bundle: Path, trained_run: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    spies = []
    for number in (0, 1):
        (tmp_path / f"b{number}").mkdir()
        answers = {0: 100.0 + 10 * number, 1: 200.0 + 10 * number}
        spies.append(told(bundle, tmp_path / f"b{number}", answers, trained_run))
    label(AGAIN, tiny_competition, spies, [], tmp_path / "i2b-tiny-labels")
    table = pd.read_csv(tmp_path / "i2b-tiny-labels/pseudo_labels.csv")
    assert table.groupby("fold")["Dry_Total_g"].unique().map(list).to_dict() == {0: [105.0], 1: [205.0]}


def test_photographs_of_ones_own_travel_with_the_table_and_are_trained_on(
    bundle: Path, tiny_competition: Path, meadow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = label(AGAIN, tiny_competition, [bundle], [meadow], tmp_path / "i2b-tiny-labels")
    assert report.copied == report.photographs == 3 and report.dataset == "i2b-tiny-labels"
    moved = (tmp_path / "i2b-tiny-labels").rename(tmp_path / "mounted-elsewhere")
    given = trained_on(moved, tiny_competition, tmp_path, monkeypatch)
    picture = resize_rgb(read_rgb(meadow / "meadow-0.jpg", TINY.pictures.canvas_px), Framing(*TINY.pictures.canvas_px))
    assert np.array_equal(given[0].photographs[20], picture)


def test_the_most_uncertain_photographs_can_be_dropped_with_their_files(
    bundle: Path, tiny_competition: Path, meadow: Path, tmp_path: Path
) -> None:
    every = label(AGAIN, tiny_competition, [bundle], [meadow], tmp_path / "i2b-all-labels")
    limit = every.spread_g[2] + 1e-4  # rounded to four decimals
    some = label(AGAIN, tiny_competition, [bundle], [meadow], tmp_path / "i2b-sure-labels", max_spread_g=limit)
    assert (some.photographs, some.dropped, some.copied) == (2, 1, 2)
    assert len(list((tmp_path / "i2b-sure-labels").glob("*.jpg"))) == 2
    with pytest.raises(CheckFailed, match="the folds disagree by .* allowed are 0"):
        label(AGAIN, tiny_competition, [bundle], [meadow], tmp_path / "i2b-no-labels", max_spread_g=0.0)
    assert not (tmp_path / "i2b-no-labels").exists()


def test_more_photographs_than_kaggle_takes_at_the_top_go_into_a_folder(
    bundle: Path, tiny_competition: Path, meadow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("build.weights.pseudo_label.FLAT_FILES", 2)
    report = label(AGAIN, tiny_competition, [bundle], [meadow], tmp_path / "i2b-tiny-labels")
    assert "--dir-mode zip" in report.notes[0]
    table = read_pseudo_labels(tmp_path / "i2b-tiny-labels/pseudo_labels.csv", share=1.0)
    assert table["image_path"][0] == str(tmp_path / "i2b-tiny-labels/photographs/meadow-0.jpg")


# Borders


def test_a_bundle_of_another_split_is_refused_before_anything_is_predicted(
    bundle: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    other = changed(AGAIN, {"data.split.seed": 1})
    with pytest.raises(CheckFailed, match="another division into folds, so its fold k has seen"):
        label(other, tiny_competition, [bundle], [], tmp_path / "i2b-tiny-labels")
    assert not any(tmp_path.iterdir())


def test_a_labelled_photograph_is_refused(bundle: Path, tiny_competition: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="20 images have weights already"):
        label(AGAIN, tiny_competition, [bundle], [tiny_competition / "train"], tmp_path / "i2b-tiny-labels")


def test_a_bundle_without_a_fold_that_shall_train_is_refused(
    trained_run: Path, tiny_competition: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"folds": ["fold1.safetensors"]}))
    make_bundle(run, tmp_path / "half", slug="i2b-tiny-weights")
    out = tmp_path / "i2b-tiny-labels"
    with pytest.raises(CheckFailed, match="fold 0 has predicted nothing"):
        label(AGAIN, tiny_competition, [tmp_path / "half"], [], out)
    report = label(changed(AGAIN, {"data.train_folds": (1,)}), tiny_competition, [tmp_path / "half"], [], out)
    assert report.folds == [1] and "one fold alone cannot disagree" in report.notes[0]


def test_a_damaged_bundle_or_photograph_leaves_nothing(
    bundle: Path, tiny_competition: Path, meadow: Path, tmp_path: Path
) -> None:
    out = tmp_path / "i2b-tiny-labels"
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    (damaged / "fold0.safetensors").write_bytes(b"short")
    with pytest.raises(CheckFailed, match=r"fold0.safetensors has 5 bytes"):
        label(AGAIN, tiny_competition, [damaged], [meadow], out)
    (meadow / "meadow-1.jpg").write_bytes(b"no picture")
    with pytest.raises(CheckFailed, match=r"meadow-1.jpg .* cannot be decoded"):
        label(AGAIN, tiny_competition, [bundle], [meadow], out)
    assert not [path for path in tmp_path.iterdir() if "labels" in path.name]


def test_what_cannot_be_meant_is_named_with_its_cure(
    bundle: Path, tiny_competition: Path, meadow: Path, tmp_path: Path
) -> None:
    def fails(message: str, *, data: Path = tiny_competition, out: str = "i2b-tiny-labels", **given: Any) -> None:
        with pytest.raises(UsageError, match=message):
            label(AGAIN, data, given.get("bundles", [bundle]), given.get("images", [meadow]), tmp_path / out)

    fails("no train.csv", data=meadow)
    fails("no --bundle", bundles=[])
    fails("config.json is missing", bundles=[meadow])
    fails("nowhere does not exist", images=[tmp_path / "nowhere"])
    fails(r"holds no photograph .*there are .*test/.*name one of those", images=[tiny_competition])
    (tmp_path / "twins").mkdir()
    shutil.copyfile(meadow / "meadow-0.jpg", tmp_path / "twins/meadow-0.jpg")
    fails("have one name: rename one", images=[meadow, tmp_path / "twins"])
    fails("the folder's name becomes the dataset's", out="x")
    fails("holds no pseudo-labels, so it is not replaced", out="meadow")


@pytest.mark.full
def test_train_label_and_train_again_by_the_commands(tiny_competition: Path, tmp_path: Path) -> None:
    values = "encoder.timm=test_efficientnet encoder.weights= pictures.height_px=32 pictures.width_px=64 head.hidden=8 "
    values += "schedule.epochs=1 batch.size=4 data.split.folds=2 predict.tta=none schedule.warmup=0"

    def build(*words: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "build", *words, "--json"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return dict(json.loads(done.stdout))

    common = ("--experiment", "demo", "--data", str(tiny_competition))
    runs_folder, out = str(tmp_path / "runs"), tmp_path / "i2b-demo-labels"
    first = build("train", *common, "--set", values, "--out", runs_folder)
    report = build("pseudo-label", *common, "--set", values, "--bundle", first["bundle"], "--out", str(out))
    assert report["photographs"] == 3 and report["folds"] == [0, 1]
    more = f"{values} data.pseudo.weight=0.5"
    second = build("train", *common, "--set", more, "--pseudo-labels", str(out), "--out", runs_folder)
    assert second["changes"]["data.pseudo"]["dataset"] == "i2b-demo-labels" and second["hash"] != first["hash"]
    log = (Path(second["folder"]) / "kernel.log").read_text()
    assert "pseudo-labels: 2 photographs at 0.5 of the weight" in log
    # The bundle of each names its own sources, known to the run and not to whoever makes the bundle.
    manifests = [json.loads((Path(run["bundle"]) / "manifest.json").read_text()) for run in (first, second)]
    assert all(len(manifest["source_sha256"]) == 64 for manifest in manifests)

"""The features kernel: from the built notebook, network cut, to the grams that fitting on this machine gives."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from build.kaggle.outputs import verify_features
from build.notebooks.builder import build_notebook
from build.run.rehearse import rehearse
from build.search.regress.command import regress
from build.search.regress.extraction import make_features, photographs_of
from build.weights.bundle import make_bundle
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card, kernels_of
from kernel_src.recipes.changes import changed
from tests.kernel_src.kernels.frozen import WEIGHTS_SLUG, quick_families, write_weights
from tests.kernel_src.kernels.running import RUNNERS, lay_out_kaggle

NAME = "gold_frozen"
SHRUNK: dict[str, object] = {
    "encoder.timm": "test_vit",
    "encoder.weights": WEIGHTS_SLUG,
    "encoder.layers": (2, 1),
    "pictures.height_px": 32,
    "pictures.width_px": 32,
}


class Desk(NamedTuple):
    competition: Path
    weights: Path
    local: Path  # features that were made on this machine
    home: Path
    patch: pytest.MonkeyPatch


@pytest.fixture(scope="module")
def desk(tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    import torch

    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXPERIMENTS, NAME, changed(EXPERIMENTS[NAME], SHRUNK))
        weights = write_weights(home / WEIGHTS_SLUG)
        train = photographs_of(tiny_competition / "train.csv", None)
        file, local = weights / "model.safetensors", home / "local.npz"
        make_features(EXPERIMENTS[NAME], train, file, local, batch_size=8, quiet=True)
        yield Desk(tiny_competition, weights, local, home, patch)


def told(desk: Desk) -> dict[str, object]:
    """The parameters of its notebook; the sources hold the recipe at its full size, so the changes go along."""
    return {**kernel_card(NAME, "features").parameters, "CHANGES": SHRUNK}


def contents(path: Path) -> tuple[list[str], np.ndarray, dict]:
    with np.load(path, allow_pickle=False) as archive:
        return archive["image_id"].tolist(), archive["features"], json.loads(str(archive["provenance"]))


def same_but_for_sources(one: Path, other: Path) -> bool:
    """Ids, every bit of the features, and what made them but for the hash of the sources."""
    (ids, features, made_by), (other_ids, other_features, other_made_by) = map(contents, (one, other))
    made_by, other_made_by = made_by | {"source_sha256": ""}, other_made_by | {"source_sha256": ""}
    return ids == other_ids and np.array_equal(features, other_features) and made_by == other_made_by


def test_an_experiment_of_frozen_features_has_this_notebook_and_the_inference() -> None:
    assert kernels_of(NAME) == kernels_of("frozen_dinov2") == ("features", "infer")


@pytest.mark.parametrize("way", ["package", pytest.param("notebook", marks=pytest.mark.full)])
def test_it_makes_the_features_that_the_command_makes(desk: Desk, tmp_path: Path, way: str) -> None:
    kaggle = lay_out_kaggle(tmp_path / "root", desk.competition, {WEIGHTS_SLUG: desk.weights})
    printed = RUNNERS[way]("features", told(desk), kaggle, tmp_path / "scratch")
    run = kaggle / "kaggle/working/run"
    assert same_but_for_sources(run / "features.npz", desk.local)
    assert "left 32x32 layer 2 mean\nleft 32x32 layer 2 max" in printed and "right 64x64 layer 1 signed_gem" in printed
    assert not list(run.glob("chunk*")) and (run / "features_log.csv").is_file()


@pytest.mark.full
def test_a_run_without_time_ends_well_and_the_next_one_finishes_it(desk: Desk, tmp_path: Path) -> None:
    first = lay_out_kaggle(tmp_path / "first", desk.competition, {WEIGHTS_SLUG: desk.weights})
    # The twenty photographs are one chunk, and no session of a microsecond has time for it.
    hurried = told(desk) | {"CHANGES": SHRUNK | {"machine.limit_s": 1e-6}}
    printed = RUNNERS["package"]("features", hurried, first, tmp_path / "scratch")
    run = first / "kaggle/working/run"
    assert "NOT FINISHED: 1 of 1 chunks are left. Save this version" in printed and not (run / "features.npz").exists()
    second = lay_out_kaggle(tmp_path / "second", desk.competition, {WEIGHTS_SLUG: desk.weights})
    (second / "kaggle/input/notebooks/kim").mkdir(parents=True)
    shutil.copytree(run, second / "kaggle/input/notebooks/kim/i2b-gold-frozen-features/run")
    printed = RUNNERS["package"]("features", told(desk), second, tmp_path / "scratch2")
    assert "going on with" in printed and "1 of 1 chunks are left" in printed
    assert same_but_for_sources(second / "kaggle/working/run/features.npz", desk.local)


@pytest.mark.full
def test_features_kernel_regress_bundle_and_inference_give_the_grams_of_fitting_on_this_machine(
    desk: Desk, tmp_path: Path
) -> None:
    card = kernel_card(NAME, "features")
    notebook = written(replace(card, parameters=told(desk)), tmp_path)
    report = rehearse(notebook, data=desk.competition, weights=[desk.weights], out=tmp_path / "rehearsal")
    assert report.ok, report.as_lines()
    run = verify_features(tmp_path / "rehearsal/working", NAME)
    made_by = contents(run / "features.npz")[2]
    assert made_by["source_sha256"] == json.loads(notebook.read_bytes())["metadata"]["stitch"]["source_sha256"]
    quick_families(desk.patch)
    submitted = []
    for where, features in (("kaggle", run / "features.npz"), ("here", desk.local)):
        home = tmp_path / where
        desk.patch.setattr("build.search.regress.command.REGRESSORS", home / "regressors")
        regress([features], desk.competition / "train.csv", home / "regress.json", NAME, jobs=1, quiet=True)
        bundle = home / bundle_slug(NAME)
        make_bundle(home / "regressors" / NAME, bundle, slug=bundle_slug(NAME))
        inference = written(kernel_card(NAME, "infer"), home)
        rehearsed = rehearse(
            inference, data=desk.competition, weights=[bundle, desk.weights], rerun=True, out=home / "rehearsal"
        )
        assert rehearsed.ok, rehearsed.as_lines()
        submitted.append((home / "rehearsal/working/submission.csv").read_bytes())
    assert submitted[0] == submitted[1]


def written(card: object, folder: Path) -> Path:
    """Build a notebook into a folder of its own; return its path."""
    files = build_notebook(card).files(folder)  # type: ignore[arg-type]
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return next(iter(files))

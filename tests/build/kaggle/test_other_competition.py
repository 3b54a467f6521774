"""A push goes to the competition of its experiment: no option says it, the site and the ledger show it."""

import json
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry
from build.notebooks.builder import build_notebook, card_of
from build.notebooks.metadata import kernel_slug
from kernel_src.competitions.leaf.facts import CLASSES
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.kernel_cards import bundle_slug
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of
from tests.build.kaggle.desk import Desk, lay_desk

SLUG, COMPETITION = kernel_slug("leaf", "infer"), "leaf-classification"
SUBMISSION = "image_id,label\n1000000007.jpg,3\n1000007926.jpg,0\n"


def write_leaf_bundle(folder: Path) -> None:
    """A bundle of Leaf whose weights nobody loads."""
    folder.mkdir(parents=True)
    config = {
        "format": BUNDLE_FORMAT,
        "competition": "leaf",
        "experiment": EXPERIMENTS["leaf"].as_json(),
        "folds": ["fold0.safetensors"],
        "oof": {"score": 0.9, "metric": "accuracy", "images": 1, "formula": "the competition's metric"},
        "target_mean": dict.fromkeys(CLASSES, 0.1),
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "fold0.safetensors").write_bytes(b"some weights")
    (folder / "oof.csv").write_text(f"image_id,fold,{','.join(CLASSES)}\n1.jpg,0,{','.join(['0.1'] * 10)}\n")
    slug = bundle_slug("leaf")
    files = {name: file_entry(folder / name) for name in ("config.json", "fold0.safetensors", "oof.csv")}
    manifest = {"format": 1, "dataset": slug, "experiment": "leaf", "source_sha256": "aa", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"versions": {}}))
    metadata = {"id": f"OWNER/{slug}", "title": slug, "licenses": [{"name": "other"}], "isPrivate": True}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))


@pytest.fixture
def desk(mother, server, site, tmp_path: Path) -> Desk:
    """A desk with a bundle of Leaf, and the report of its rehearsal where the demo leaves it."""
    desk = lay_desk(tmp_path / "kit")
    desk.mother = mother
    demo = desk.folder / "out/demo/leaf"
    write_leaf_bundle(demo / "bundle")
    card = card_of(SLUG)
    assert card is not None
    report = {"ok": True, "rerun": True, "source_sha256": build_notebook(card).source_sha256}
    report["manifests"] = {bundle_slug("leaf"): sha256_of(demo / "bundle/manifest.json")}
    (demo / "rehearsal").mkdir()
    (demo / "rehearsal/report.json").write_text(json.dumps(report))
    site.competitions[COMPETITION] = {}
    site.outputs = {SLUG: {"submission.csv": SUBMISSION.encode()}}
    return desk


def test_an_inference_of_leaf_ends_scored_in_its_own_competition(desk: Desk, site) -> None:
    done = desk.shell(experiment="leaf")
    assert done.returncode == 0, done.stderr
    (made,) = site.submissions
    assert made["kernel"] == [f"kim/{SLUG}", 1]
    assert f"https://www.kaggle.com/competitions/{COMPETITION}/submissions" in done.stdout
    assert "a valid submission of 2 images" in done.stdout and "csiro" not in done.stdout
    (row,) = desk.scores()
    assert (row["experiment"], row["public"], row["status"]) == ("leaf", "0.710000", "complete")
    body = site.kernels[f"kim/{SLUG}"].versions[0]
    assert body["competitionDataSources"] == [COMPETITION]


def test_outputs_with_a_label_that_does_not_exist_are_not_submitted(desk: Desk, site) -> None:
    site.outputs = {SLUG: {"submission.csv": SUBMISSION.replace(",3", ",12").encode()}}
    done = desk.shell(experiment="leaf")
    assert done.returncode == 1 and "1000000007.jpg is '12', none of 0, 1, 2" in done.stderr
    assert not site.submissions


def test_a_push_that_names_another_competition_than_its_experiment_is_refused(desk: Desk, site) -> None:
    done = desk.shell("--competition", "biomass", experiment="leaf")
    assert done.returncode == 2 and "one command works on one competition" in done.stderr
    assert not site.summary()["kernels"]

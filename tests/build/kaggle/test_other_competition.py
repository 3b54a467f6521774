"""A push goes to the competition of its experiment: no option says it, the site and the ledger show it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry
from build.notebooks.builder import build_notebook, card_of
from build.notebooks.metadata import kernel_slug
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug
from kernel_src.runtime.files import BUNDLE_FORMAT, sha256_of
from tests.build.kaggle.desk import Desk, lay_desk


@dataclass(frozen=True)
class Other:
    """A competition, and what a run of its inference leaves."""

    name: str  # its own and its experiment's
    slug: str  # on Kaggle
    oof_heading: str  # of the bundle's out-of-fold predictions
    submission: str
    bad_submission: str
    complaint: str  # of the bad one

    @property
    def kernel(self) -> str:
        """The slug of its inference notebook."""
        return kernel_slug(self.name, "infer")


OTHERS = [
    Other(
        "leaf",
        "leaf-classification",
        "image_id,fold,0,1,2,3,4,5,6,7,8,9",
        "image_id,label\n1000000007.jpg,3\n1000007926.jpg,0\n",
        "image_id,label\n1000000007.jpg,12\n1000007926.jpg,0\n",
        "1000000007.jpg is '12', none of 0, 1, 2",
    ),
    Other(
        "paws",
        "petfinder-pawpularity-score",
        "image_id,fold,Pawpularity",
        "Id,Pawpularity\n6478958a50a95d2e,38.25\n3f3747e9962b285d,71.5\n",
        "Id,Pawpularity\n6478958a50a95d2e,138.25\n3f3747e9962b285d,71.5\n",
        "1 rows above 100, the highest possible: 6478958a50a95d2e",
    ),
]


def write_bundle(other: Other, folder: Path) -> None:
    """A bundle whose weights nobody loads."""
    folder.mkdir(parents=True)
    targets = facts(other.name).targets
    config = {
        "format": BUNDLE_FORMAT,
        "competition": other.name,
        "experiment": EXPERIMENTS[other.name].as_json(),
        "folds": ["fold0.safetensors"],
        "oof": {"score": 0.9, "metric": "its metric", "images": 1, "formula": "the competition's metric"},
        "target_mean": dict.fromkeys(targets, 0.1),
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "fold0.safetensors").write_bytes(b"some weights")
    (folder / "oof.csv").write_text(f"{other.oof_heading}\n1.jpg,0,{','.join('1' for _ in targets)}\n")
    slug = bundle_slug(other.name)
    files = {name: file_entry(folder / name) for name in ("config.json", "fold0.safetensors", "oof.csv")}
    manifest = {"format": 1, "dataset": slug, "experiment": other.name, "source_sha256": "aa", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"versions": {}}))
    metadata = {"id": f"OWNER/{slug}", "title": slug, "licenses": [{"name": "other"}], "isPrivate": True}
    (folder / "dataset-metadata.json").write_text(json.dumps(metadata))


@pytest.fixture(params=OTHERS, ids=lambda other: other.name)
def other(request: pytest.FixtureRequest) -> Other:
    return request.param


@pytest.fixture
def desk(other: Other, mother, server, site, tmp_path: Path) -> Desk:
    """A desk with a bundle, and the report of its rehearsal where the demo leaves it."""
    desk = lay_desk(tmp_path / "kit")
    desk.mother = mother
    demo = desk.folder / "out/demo" / other.name
    write_bundle(other, demo / "bundle")
    card = card_of(other.kernel)
    assert card is not None
    report = {"ok": True, "rerun": True, "source_sha256": build_notebook(card).source_sha256}
    report["manifests"] = {bundle_slug(other.name): sha256_of(demo / "bundle/manifest.json")}
    (demo / "rehearsal").mkdir()
    (demo / "rehearsal/report.json").write_text(json.dumps(report))
    site.competitions[other.slug] = {}
    site.outputs = {other.kernel: {"submission.csv": other.submission.encode()}}
    return desk


def test_an_inference_ends_scored_in_its_own_competition(other: Other, desk: Desk, site) -> None:
    done = desk.shell(experiment=other.name)
    assert done.returncode == 0, done.stderr
    (made,) = site.submissions
    assert made["kernel"] == [f"kim/{other.kernel}", 1]
    assert f"https://www.kaggle.com/competitions/{other.slug}/submissions" in done.stdout
    assert "a valid submission of 2 images" in done.stdout and "csiro" not in done.stdout
    (row,) = desk.scores()
    assert (row["experiment"], row["public"], row["status"]) == (other.name, "0.710000", "complete")
    body = site.kernels[f"kim/{other.kernel}"].versions[0]
    assert body["competitionDataSources"] == [other.slug]


def test_outputs_that_the_competition_would_refuse_are_not_submitted(other: Other, desk: Desk, site) -> None:
    site.outputs = {other.kernel: {"submission.csv": other.bad_submission.encode()}}
    done = desk.shell(experiment=other.name)
    assert done.returncode == 1 and other.complaint in done.stderr
    assert not site.submissions


def test_a_push_that_names_another_competition_than_its_experiment_is_refused(other: Other, desk: Desk, site) -> None:
    done = desk.shell("--competition", "biomass", experiment=other.name)
    assert done.returncode == 2 and "one command works on one competition" in done.stderr
    assert not site.summary()["kernels"]

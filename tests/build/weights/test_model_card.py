"""The card of a weight dataset: what a stranger learns of it, what never stands in it, and that it travels along."""

import getpass
import json
import re
import shutil
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry, verify_manifest
from build.core.errors import CheckFailed
from build.kaggle.dataset_folders import stage_dataset
from build.scores.cross_validation import CrossValidation, cross_validation, is_competitions_own
from build.weights.bundle import make_bundle
from build.weights.model_card import licence_of, model_card
from kernel_src.bundle.bundle_prediction import load_bundle
from kernel_src.competitions.biomass.constants import TRAINING_MEANS_G
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.runtime.files import sha256_of
from kernel_src.runtime.manifest import BundleError

SLUG = "i2b-tiny-weights"


@pytest.fixture(scope="module")
def bundle(trained_run: Path, tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle made with the data at hand; read it, never write it."""
    folder = tmp_path_factory.mktemp("card") / "bundle"
    make_bundle(trained_run, folder, slug=SLUG, data=tiny_competition)
    return folder


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_the_card_says_what_it_is_of_and_what_it_scores(bundle: Path, tiny_competition: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert card.startswith(f"# {SLUG}\n")
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == [
        "What",
        "Trained on",
        "Folds",
        "Scores",
        "Intended use and limits",
        "Licence",
        "Files",
    ]
    cv = cross_validation(bundle, [tiny_competition / "train.csv"])
    assert f"**{cv.score:.4f}**" in card and f"95 % interval {cv.low:.3f} to {cv.high:.3f}" in card
    for name, value in cv.floors.items():
        assert f"| {name} | {value:.3f} | needs no photograph; on the same images |" in card
    config = json.loads((bundle / "config.json").read_text())
    assert f"| the same in half precision | {config['oof']['fp16']['score']:.4f} |" in card
    assert "2 networks" in card and "`test_efficientnet`" in card and "32 x 64 px" in card
    assert f"`{'ab' * 32}`" in card, "the sources that trained it"
    assert (
        "2 of 2 folds by GroupSplit, seed 0, 20 images" in card
        and "20 photographs of 7 State+Sampling_Date groups" in card
    )


def test_every_other_file_stands_in_it_with_its_hash_and_the_manifest_lists_the_card(bundle: Path) -> None:
    card, manifest = (bundle / "README.md").read_text(), json.loads((bundle / "manifest.json").read_text())
    assert manifest["files"]["README.md"] == file_entry(bundle / "README.md")
    for name in set(manifest["files"]) - {"README.md"}:
        assert f"| `{name}` | {(bundle / name).stat().st_size:,} | `{sha256_of(bundle / name)}` |" in card


def test_no_account_no_path_and_no_date_stand_in_it(bundle: Path, trained_run: Path) -> None:
    card = (bundle / "README.md").read_text()
    for secret in (getpass.getuser() + "/", str(Path.home()), str(trained_run), "/tmp", "OWNER", "KAGGLE", "token"):
        assert secret not in card, secret
    assert not re.search(r"\b20\d\d-\d\d-\d\d", card)


def test_without_a_training_table_it_says_that_the_interval_is_not_known(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # neither `make data` nor `make demo` was run here
    make_bundle(trained_run, tmp_path / "bundle", slug=SLUG)
    card = (tmp_path / "bundle/README.md").read_text()
    assert "interval not computed: no train.csv" in card
    for floor in ("0.240", "0.213", "0.611"):
        assert f"| {floor} | needs no photograph; on the 357 real training images |" in card


def test_photographs_that_are_not_the_competitions_are_not_passed_off_as_such(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert "but not its own: the targets' means differ" in card and "CC BY-SA" not in card
    means = {target: value + 0.004 for target, value in TRAINING_MEANS_G.items()}
    assert is_competitions_own(means) and not is_competitions_own({})
    config = {
        "experiment": EXPERIMENTS["v8"].as_json(),
        "folds": ["fold0.safetensors"],
        "target_mean": means,
        "oof": {"score": 0.5},
        "depth": {"weights": "depth.safetensors"},
    }
    cv = CrossValidation(score=0.5, formula="official", folds="1 of 5 group folds", images=70)
    card = model_card(config, {}, cv, slug="i2b-v8-weights", licence="other")
    assert "CC BY-SA 4.0" in card and "`i2b-vit-base-patch14-dinov2` (" in card and "apache-2.0" in card
    assert "frozen depth model (`i2b-depth-anything-v2-small`), stored once" in card


def test_the_licence_is_the_one_that_a_person_chose(tmp_path: Path) -> None:
    place = tmp_path / "datasets_meta" / SLUG
    assert licence_of(SLUG, tmp_path) == "other"
    place.mkdir(parents=True)
    (place / "dataset-metadata.json").write_text(json.dumps({"licenses": [{"name": "cc-by-sa-4.0"}]}))
    assert licence_of(SLUG, tmp_path) == "cc-by-sa-4.0"


# It travels along.


def test_the_push_uploads_the_card(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    staged = stage_dataset(SLUG, copy, "kim", root=tmp_path)
    assert staged.sizes["README.md"] == (copy / "README.md").stat().st_size and staged.manifest == "manifest.json"


def test_a_card_that_was_edited_is_named_before_anything_is_uploaded(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "README.md").write_text("# mine\n")
    with pytest.raises(CheckFailed, match="README.md has"):
        stage_dataset(SLUG, copy, "kim", root=tmp_path)
    with pytest.raises(BundleError, match="README.md has"):
        verify_manifest(copy)


def test_a_bundle_of_an_older_kit_has_no_card_and_works(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (copy / "README.md").unlink()
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]["README.md"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert load_bundle(copy).experiment.name == "tiny"
    assert "README.md" not in stage_dataset(SLUG, copy, "kim", root=tmp_path).sizes

"""A package is written whole, formatted and found; or everything is as it was."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build.core.errors import UsageError
from build.new.command import new_verb
from build.new.guess import Guess
from build.new.naming import package_name, prefix_of
from tests.build.kaggle.desk import copy_kit
from tests.build.new import layouts

LISTS = ("kernel_src/competitions/held_facts.py", "kernel_src/competitions/held_rules.py")
RECIPES = "kernel_src/competitions/held_recipes.py"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kit, and the files of two competitions beside it."""
    kit = copy_kit(tmp_path_factory.mktemp("new") / "kit")
    layouts.aptos(kit / "data/aptos-grades")
    layouts.by_patient(kit / "data/in-folders")
    return kit


def run(kit: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build", "new", *words]
    return subprocess.run(command, cwd=kit, capture_output=True, text=True, timeout=120, check=False)


def sources(kit: Path) -> dict[str, bytes]:
    """What a command may have changed."""
    return {str(path.relative_to(kit)): path.read_bytes() for path in sorted((kit / "kernel_src").rglob("*.py"))}


def test_a_package_is_written_formatted_listed_and_taken_out_again(kit: Path) -> None:
    before = sources(kit)
    dry = run(kit, "--slug", "aptos-grades", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert sources(kit) == before and json.loads(dry.stdout)["written"] is False
    done = run(kit, "--slug", "aptos-grades", "--metric", "quadratic_kappa")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "make train EXPERIMENT=aptos_grades DATA=data/aptos-grades" in done.stdout
    package = kit / "kernel_src/competitions/aptos_grades"
    assert {path.name: path.read_text() for path in package.glob("*.py")}.keys() == json.loads(dry.stdout)[
        "files"
    ].keys()
    for words in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, str(kit / "kernel_src")], check=True)
    for place in (*LISTS, RECIPES):
        lines = [line for line in (kit / place).read_text().splitlines() if "# part: " in line]
        assert lines == sorted(lines) and sum("aptos_grades" in line for line in lines) == 1
    removed = run(kit, "--slug", "aptos-grades", "--remove")
    assert removed.returncode == 0, removed.stderr
    assert sources(kit) == before


@pytest.mark.full
def test_a_package_that_is_there_is_not_written_over_unasked_and_is_kept(kit: Path) -> None:
    assert run(kit, "--slug", "aptos-grades").returncode == 0
    again = run(kit, "--slug", "aptos-grades")
    assert again.returncode == 2 and "OVERWRITE=1 writes it anew" in again.stderr
    facts = kit / "kernel_src/competitions/aptos_grades/facts.py"
    facts.write_text(facts.read_text() + "# by hand\n")
    over = run(kit, "--slug", "aptos-grades", "--overwrite", "--json")
    assert over.returncode == 0, over.stderr
    assert (kit / json.loads(over.stdout)["kept"] / "facts.py").read_text().endswith("# by hand\n")
    assert run(kit, "--slug", "aptos-grades", "--remove").returncode == 0


def test_every_guess_is_a_line_with_its_reason_and_what_to_write_otherwise(kit: Path) -> None:
    shown = json.loads(run(kit, "--slug", "in-folders", "--dry-run", "--json").stdout)
    facts = shown["files"]["facts.py"]
    assert "super().photograph(competition, f\"{folder}/{row['patient']}\", image_id, row)" in facts
    texts = " ".join(" ".join(shown["files"].values()).replace("\n", " ").replace("#", " ").split())
    for guess in shown["guesses"]:
        if guess["name"] != "lowest, highest":
            assert " ".join(guess["why"].split()) in texts, guess
            assert guess["otherwise"] in texts, guess


def test_a_package_that_cannot_be_imported_leaves_everything_as_it_was(kit: Path) -> None:
    before, writer = sources(kit), kit / "build/new/source.py"
    text = writer.read_text()
    writer.write_text(text.replace("epochs=10", "epochs=0"))  # which a recipe refuses
    try:
        failed = run(kit, "--slug", "in-folders")
    finally:
        writer.write_text(text)
    assert failed.returncode == 1 and "everything is as it was" in failed.stderr
    assert sources(kit) == before and not (kit / "out/new/in_folders.json").exists()


@pytest.mark.full
def test_a_package_that_its_files_contradict_stands_to_be_corrected_and_says_so(kit: Path) -> None:
    shutil.copytree(kit / "data/in-folders", kit / "data/with-gaps")
    next((kit / "data/with-gaps/train_images/pat1").iterdir()).unlink()
    failed = run(kit, "--slug", "with-gaps")
    assert failed.returncode == 1 and "1 of 24 training photographs are not there" in failed.stderr
    assert (kit / "kernel_src/competitions/with_gaps/facts.py").is_file()
    removed = run(kit, "--slug", "with-gaps", "--remove")
    assert removed.returncode == 0, removed.stderr


def test_a_guess_without_an_end_is_a_word_in_json() -> None:
    guess = Guess(name="lowest, highest", value=(0.0, float("inf")), why="never negative")
    assert guess.as_json()["value"] == [0.0, "inf"]


def test_names_that_are_taken_or_impossible_are_refused(kit: Path) -> None:
    data = kit / "data/in-folders"
    for words, said in (
        ({"slug": "In Folders"}, "is no slug of Kaggle's"),
        ({"name": "class"}, "no word of Python's"),
        ({"name": "demo"}, "the experiment demo is biomass's"),
        ({"slug": "leaf-classification"}, "has a package already: leaf"),
        ({"metric": "guess"}, "--metric guess is none of accuracy"),
        ({"metric": "accuracy", "kind": "number"}, "does not judge number"),
        ({"data": kit / "nowhere"}, "does not exist"),
    ):
        with pytest.raises(UsageError) as refused:
            new_verb(**{"slug": "in-folders", "data": data, "dry_run": True, "as_json": True} | words)
        assert said in str(refused.value)


def test_a_package_is_called_by_as_many_words_of_the_slug_as_fit() -> None:
    assert package_name("aptos2019-blindness-detection") == "aptos2019_blindness"
    assert package_name("3d-class") == "the_3d_class" and package_name("class") == "the_class"
    assert prefix_of("aptos2019_blindness") == "aptos2019"
    longest = "a" * 30
    assert len(package_name(longest)) == 20 and len(prefix_of(package_name(longest))) == 12

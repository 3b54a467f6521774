"""What Kaggle's image holds, and whether the local pins are the same."""

import json
import re
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.core.image import IMAGE as IMAGE_FILE
from build.core.image import (
    IMPORTS,
    LISTED,
    LOCAL_EXCEPTIONS,
    MACHINE_SHAPES,
    RETIRED_SHAPES,
    ImagePackage,
    assumed_versions,
    compare_pins,
    read_image,
    read_pins,
)
from build.notebooks import stamp

ROOT = Path(__file__).resolve().parents[3]
IMAGE = {
    "numpy": ImagePackage(package="numpy", version="2.1.3"),
    "sklearn": ImagePackage(package="scikit-learn", version="1.6.1"),
    "tqdm": ImagePackage(package="tqdm"),
    "torch": ImagePackage(package="torch", version="2.11.0"),
}
EXCEPTIONS = {"torch": ("2.14.1", "installs from the registry")}


def report(dependencies: list[str], imported: list[str]):
    text = f"[project]\ndependencies = {dependencies!r}\n"
    return compare_pins(text, imported, image=IMAGE, exceptions=EXCEPTIONS)


def test_pins_are_read_whatever_the_spelling_of_the_name() -> None:
    text = '[project]\ndependencies = ["Scikit_Learn == 1.6.1", "kaggle[x]==2.2.4 ; python_version > \'3\'", "six>=1"]'
    assert read_pins(text) == {"scikit-learn": "1.6.1", "kaggle": "2.2.4", "six": ""}


def test_a_pin_that_equals_the_images_version_is_fine() -> None:
    found = report(["numpy==2.1.3", "scikit-learn==1.6.1"], ["numpy", "sklearn"])
    assert (found.problems, found.unknown, found.exceptions) == ([], [], [])


def test_a_pin_that_differs_from_the_image_is_refused() -> None:
    (problem,) = report(["numpy==2.2.0"], ["numpy"]).problems
    assert "numpy==2.2.0, but Kaggle's image has 2.1.3" in str(problem)


@pytest.mark.parametrize("dependencies", [[], ["numpy"], ["numpy>=2.1.3"]])
def test_what_kernels_import_must_be_pinned(dependencies: list[str]) -> None:
    (problem,) = report(dependencies, ["numpy"]).problems
    assert "add numpy==2.1.3" in problem.cure


def test_what_kernels_do_not_import_may_have_any_version() -> None:
    assert report(["numpy==1.0"], []).problems == []


def test_an_unknown_version_is_reported_and_no_fault() -> None:
    found = report(["tqdm==4.67.1"], ["tqdm"])
    assert found.problems == [] and found.unknown[0].startswith("tqdm==4.67.1: ")


def test_a_declared_exception_is_reported_with_its_reason() -> None:
    found = report(["torch==2.14.1"], ["torch"])
    assert found.problems == [] and found.exceptions == ["torch==2.14.1, on Kaggle 2.11.0: installs from the registry"]


def test_an_exception_holds_for_its_own_pin_only() -> None:
    assert "the exception in build/core/image.py says 2.14.1" in str(report(["torch==2.15.0"], ["torch"]).problems[0])


def test_our_own_pins_follow_the_image_for_everything_that_could_be_imported() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    # PIL, scipy and IPython come with others; they need a pin only once a kernel imports them (make check says so).
    found = compare_pins(text, set(IMPORTS) - {"PIL", "scipy", "IPython"})
    assert found.problems == []
    assert len(found.exceptions) == len(LOCAL_EXCEPTIONS)


def test_the_published_lists_are_read_from_the_committed_file() -> None:
    assert LISTED.versions["timm"] == "1.0.28" and LISTED.python == "3.13"
    assert assumed_versions()["timm"] == IMPORTS["timm"].version and "cv2" in assumed_versions()


GOOD = {"time": "2026-08", "source": "a list", "python": "3.13", "layout": "", "gpus": [], "versions": {"timm": "1.0"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"lists": {}}', "cannot be read"),
        (
            json.dumps({"lists": GOOD | {"versions": {"timm": "new"}}, "preflight": None}),
            "the version of timm is 'new'",
        ),
        (json.dumps({"lists": GOOD, "preflight": GOOD | {"gpus": ["T4"]}}), "a GPU is 'T4'"),
        (json.dumps({"lists": GOOD | {"layout": "odd"}, "preflight": None}), "layout is 'odd'"),
        (json.dumps({"lists": GOOD | {"source": "\u001b[2J"}, "preflight": None}), "source is"),
    ],
)
def test_a_damaged_file_of_observations_is_refused_and_says_how_to_find_the_damage(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "image.json"
    path.write_text(content)
    with pytest.raises(CheckFailed, match=re.escape(said)) as failed:
        read_image(path)
    assert all("git diff" in problem.cure for problem in failed.value.problems)


def test_an_accepted_preflight_makes_the_notebooks_stale() -> None:
    assert IMAGE_FILE in stamp._kit_files()


def test_no_machine_shape_is_both_known_and_retired() -> None:
    assert not set(MACHINE_SHAPES) & set(RETIRED_SHAPES)

"""Imports: what Kaggle's image holds, and nothing else. Mounts: what the metadata lists, and nothing else."""

from pathlib import Path

import pytest

from build.core.image import ImagePackage
from build.notebooks.check.dependencies import find_imports, import_problems, mount_problems

IMAGE = {name: ImagePackage(package=name) for name in ("numpy", "torch", "albumentations")}
METADATA = {"dataset_sources": ["OWNER/w-one", "OWNER/w-two"], "competition_sources": ["the-cup"]}


def problems_of(cells, root: Path) -> list[str]:
    return [str(problem) for problem in import_problems(cells, root, IMAGE)]


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np",
        "from torch.nn import functional as F",
        "import os.path",
        "from __future__ import annotations",
    ],
)
def test_the_image_and_the_standard_library_may_be_imported(cells_of, tmp_path: Path, code: str) -> None:
    assert problems_of(cells_of(code), tmp_path) == []


@pytest.mark.parametrize(
    "code",
    [
        "import lightgbm",
        "def f():\n    from lightgbm import train",
        "try:\n    import lightgbm\nexcept ImportError:\n    pass",
    ],
)
def test_a_package_that_the_image_is_not_known_to_have_is_found_wherever_it_stands(
    cells_of, tmp_path: Path, code: str
) -> None:
    (found,) = problems_of(cells_of(code), tmp_path)
    assert "lightgbm is not known to be in Kaggle's image" in found and "kernel_src/data/thing.py:1" in found


def test_text_about_a_package_is_no_import(cells_of, tmp_path: Path) -> None:
    assert problems_of(cells_of('"""import lightgbm"""\nname = "import lightgbm"  # import lightgbm'), tmp_path) == []


@pytest.mark.parametrize("code", ["import telnetlib", "from distutils.util import strtobool", "import imghdr"])
def test_what_the_images_newer_python_dropped_is_found(cells_of, tmp_path: Path, code: str) -> None:
    assert "is gone from the standard library" in problems_of(cells_of(code), tmp_path)[0]


@pytest.mark.parametrize("code", ["from ours.thing import x", "import ours", "from .thing import x", "from . import x"])
def test_our_own_package_must_have_been_inlined(cells_of, tmp_path: Path, code: str) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "__init__.py").touch()
    assert "never reaches Kaggle" in problems_of(cells_of(code), tmp_path)[0]


def test_a_package_that_asks_the_internet_on_import_must_be_silenced_before(cells_of, tmp_path: Path) -> None:
    quiet = 'import os\nos.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"'
    assert "asks the internet" in problems_of(cells_of("import albumentations as A"), tmp_path)[0]
    assert "asks the internet" in problems_of(cells_of("import albumentations as A", quiet), tmp_path)[0]
    assert (
        "asks the internet"
        in problems_of(cells_of('"NO_ALBUMENTATIONS_UPDATE"', "from albumentations import Flip"), tmp_path)[0]
    )
    assert problems_of(cells_of(quiet, "import albumentations as A"), tmp_path) == []
    assert problems_of(cells_of(f"{quiet}\nimport albumentations as A"), tmp_path) == []


def test_each_import_is_found_with_its_first_place(cells_of) -> None:
    assert find_imports(cells_of("import numpy", "import numpy.linalg\nfrom torch import nn")) == {
        "numpy": "notebooks/n/n.ipynb cell 1 (kernel_src/data/thing.py:11)",
        "torch": "notebooks/n/n.ipynb cell 2 (kernel_src/data/thing.py:12)",
    }


def mount_problems_of(cells_of, *texts: str) -> list[str]:
    return [str(problem) for problem in mount_problems(cells_of(*texts), METADATA)]


@pytest.mark.parametrize(
    "text",
    [
        "find_dataset('w-one', '')\nfind_dataset(slug='w-two', sentinel='')\nfind_competition('the-cup', 'train.csv')",
        "a = '/kaggle/input/datasets/OWNER/w-one/x.csv'\nb = '/kaggle/input/competitions/the-cup'",
        "a = '/kaggle/input/w-one'\nb = '/kaggle/input/the-cup/train.csv'",
        '"""/kaggle/input/other/ is looked into."""\nprint("see /kaggle/input/other")',
        "find_dataset(slug, 's')\nfind_dataset(recipe.depth, 's')\nfind_dataset()\nfind_dataset('', 's')",
    ],
)
def test_what_is_listed_or_only_known_when_the_notebook_runs_is_fine(cells_of, text: str) -> None:
    assert mount_problems_of(cells_of, text) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("find_dataset('w-three', '')", "w-three is not listed in dataset_sources"),
        ("kit.find_dataset(slug='w-three', sentinel='')", "w-three is not listed in dataset_sources"),
        ("find_competition('w-one', '')", "w-one is not listed in competition_sources"),
        ("x = '/kaggle/input/other/train.csv'", "other is not listed in dataset_sources or competition_sources"),
        ("x = '/kaggle/input/datasets/me/w-one'", "me/w-one is not listed in dataset_sources"),
        ("x = '/kaggle/input/competitions/cup/x'", "cup is not listed in competition_sources"),
    ],
)
def test_a_mount_that_is_not_listed_is_found_with_its_line(cells_of, text: str, what: str) -> None:
    (found,) = mount_problems_of(cells_of, "x = 1", text)
    assert found.startswith(f"notebooks/n/n.ipynb cell 2 (kernel_src/data/thing.py:11): {what}, so it is not there")

"""Every mount that code names is listed in the metadata."""

import pytest

from build.notebooks.check.mounts import mount_problems

METADATA = {"dataset_sources": ["OWNER/w-one", "OWNER/w-two"], "competition_sources": ["the-cup"]}


def problems(cells_of, *texts: str) -> list[str]:
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
    assert problems(cells_of, text) == []


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
    (found,) = problems(cells_of, "x = 1", text)
    assert found.startswith(f"notebooks/n/n.ipynb cell 2 (kernel_src/data/thing.py:11): {what}, so it is not there")

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


<<<<<<< HEAD
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
    assert found.startswith(f"notebooks/n/n.ipynb cell 2 (kernel_src/common/thing.py:11): {what}, so it is not there")
=======
def test_listed_and_used_is_fine(cells_of) -> None:
    assert problems(cells_of, "find_dataset('w-one', '')\nfind_dataset('w-two', '')") == []


def test_a_mount_that_is_not_listed_is_found_with_its_line(cells_of) -> None:
    (found,) = problems(cells_of, "find_dataset('w-one', '')\nfind_dataset('w-two', '')\nfind_dataset('w-three', '')")
    assert found.startswith("notebooks/n/n.ipynb cell 2 (kernel_src/data/thing.py:13): w-three is not listed")


def test_a_listed_source_that_no_code_asks_for_is_found(cells_of) -> None:
    (found,) = problems(cells_of, "find_dataset('w-one', '')")
    assert "dataset_sources lists OWNER/w-two, but no code asks for it" in found


def test_a_competition_that_is_not_listed_is_found(cells_of) -> None:
    both = "find_dataset('w-one', '')\nfind_dataset('w-two', '')"
    found = problems(cells_of, both, metadata=METADATA | {"competition_sources": []})
    assert any("the-cup is not listed in competition_sources" in text for text in found)


def test_metadata_that_differs_from_the_card_is_found(cells_of) -> None:
    text = "find_dataset('w-one', '')"
    (found,) = problems(cells_of, text, metadata=METADATA | {"dataset_sources": ["OWNER/w-one"]})
    assert "the kernel card OWNER/w-one, OWNER/w-two" in found and "make build" in found


def test_the_card_vouches_for_a_slug_that_cannot_be_followed(cells_of) -> None:
    assert problems(cells_of, "find_dataset(experiment.starting_weights, '')") == []


def test_without_a_card_a_slug_that_cannot_be_followed_is_a_fault(cells_of) -> None:
    assert "cannot be followed" in problems(cells_of, "find_dataset(x.y, '')", card=None)[0]


def test_a_literal_mount_path_must_be_listed_and_a_mention_need_not(cells_of) -> None:
    both = "find_dataset('w-one', '')\nfind_dataset('w-two', '')"
    assert (
        problems(cells_of, both, '"""/kaggle/input/other/ is looked into."""\nprint("see /kaggle/input/other")') == []
    )
    assert problems(cells_of, both, "x = '/kaggle/input/the-cup/train.csv'\ny = '/kaggle/input/w-one'") == []
    (found,) = problems(cells_of, both, "x = '/kaggle/input/other/train.csv'")
    assert "/kaggle/input/other is in no list of sources" in found
>>>>>>> main

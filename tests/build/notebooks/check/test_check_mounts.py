"""Every mount that code resolves is listed in the metadata, and every listed source is used."""

import pytest

from build.notebooks.check.mounts import find_mounts, mount_problems
from build.notebooks.check.names import read_names
from kernel_src.recipes.kernel_cards import KernelCard

CARD = KernelCard(
    experiment="v8",
    kernel="infer",
    parameters={},
    datasets=("w-one", "w-two"),
    competitions=("the-cup",),
    machine_shape="",
    enable_gpu=False,
)
METADATA = {"dataset_sources": ["OWNER/w-one", "OWNER/w-two"], "competition_sources": ["the-cup"]}
CUP = "cup = find_competition('the-cup', 'train.csv')"


def asked(cells_of, *texts: str) -> set[str] | None:
    cells = cells_of(*texts)
    mounts = find_mounts(cells, read_names(cells))
    return None if mounts.unclear["dataset_sources"] else set(mounts.asked["dataset_sources"])


def problems(cells_of, *texts: str, metadata=METADATA, card: KernelCard | None = CARD) -> list[str]:
    cells = cells_of(CUP, *texts)
    return [str(p) for p in mount_problems(find_mounts(cells, read_names(cells)), metadata, "k.json", card)]


BUNDLES = "BUNDLES = {'w-one': 1.0, 'w-two': 0.5}"


@pytest.mark.parametrize(
    "texts",
    [
        ("find_dataset('w-one', 's')", "find_dataset(slug='w-two', sentinel='s')"),
        (BUNDLES, "for slug in BUNDLES:\n    find_dataset(slug, 's')"),
        (BUNDLES.replace(" =", ": dict[str, float] ="), "x = [find_dataset(s, 's') for s in sorted(BUNDLES)]"),
        (BUNDLES, "x = {s: find_dataset(s, 's') for s, w in BUNDLES.items()}"),
        (BUNDLES, "def go(bundles):\n    for s in bundles.keys():\n        find_dataset(s, '')", "go(BUNDLES)"),
        ("SLUGS = ['w-one', 'w-two']", "for i, s in enumerate(SLUGS):\n    find_dataset(s, 's')"),
        ("A = 'w-one'\nS = (A, 'w-two')", "def load(slug):\n    find_dataset(slug, 's')", "[load(s) for s in S]"),
        ("def load(*, slug):\n    return find_dataset(slug, 's')", "load(slug='w-one' if x else 'w-two')"),
        ("a = '/kaggle/input/datasets/me/w-one/x.csv'\nb = '/kaggle/input/datasets/me/w-two'",),
    ],
)
def test_a_slug_is_followed_to_its_literal(cells_of, texts: tuple[str, ...]) -> None:
    assert {slug.rpartition("/")[2] for slug in asked(cells_of, *texts) or ()} == {"w-one", "w-two"}


@pytest.mark.parametrize(
    "text",
    [
        "find_dataset(experiment.starting_weights, 's')",
        "find_dataset(pick(), 's')",
        "def load(slug):\n    find_dataset(slug, 's')\nload(*anything)",
        "def load(slug):\n    find_dataset(slug, 's')",
        "a = b\nb = a\nfind_dataset(a, 's')",
        "find_dataset()",
    ],
)
def test_what_cannot_be_followed_is_said_to_be_unclear(cells_of, text: str) -> None:
    assert asked(cells_of, text) is None


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

"""The kit knows no competition by heart: outside its demos no word of one stands in build/, in code or text."""

import re
from pathlib import Path

import pytest

from kernel_src.competitions.held_facts import competitions
from tests.test_rooms import imports

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
# BiomassNet is what the network of every competition is called in notebooks that are out.
WORDS = re.compile(
    r"biomass(?!net\b)|csiro|pasture|clover|\bGDM|sampling_date|\bDry_(?!run)|[\"'`]sample_id|\bquadrats?\b"
    r"|cassava|petfinder|pawpularity|\b(leaf|paws)\b",
    re.IGNORECASE,
)


def files() -> list[Path]:
    """List the texts in build/ but for the demos."""
    found = [path for path in sorted(BUILD.rglob("*")) if path.suffix in (".py", ".jinja", ".json", ".css", ".js")]
    return [path for path in found if not path.relative_to(BUILD).as_posix().startswith("demo/")]


def test_no_word_of_a_competition_stands_in_build() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert not found, "\n".join(found)


def test_build_imports_the_package_of_no_competition() -> None:
    own = tuple(f"kernel_src.competitions.{name}." for name in competitions())
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files()
        if path.suffix == ".py"
        for name in imports(path)
        if name.startswith(own)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ('columns = ["sample_id", "target"]', True),
        ("grams of Dry_Total_g", True),
        ('"""Of csiro-biomass alone."""', True),
        ("make train EXPERIMENT=leaf", True),
        ("dry_run: bool = False", False),
        ("from the state of the run", False),
    ],
)
def test_a_word_is_found_wherever_it_stands(line: str, is_one: bool) -> None:
    assert bool(WORDS.search(line)) is is_one

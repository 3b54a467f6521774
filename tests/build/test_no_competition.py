"""The kit knows no competition by heart: of one alone speak its own package and the demos, in code or text."""

import re
from pathlib import Path

import pytest

from kernel_src.competitions.held_facts import competitions
from tests.test_rooms import imports

ROOT = Path(__file__).resolve().parents[2]
BUILD, KERNEL_SRC = ROOT / "build", ROOT / "kernel_src"
WORDS = re.compile(
    r"biomass|csiro|pasture|clover|\bGDM|sampling_date|\bDry_(?!run)|[\"'`]sample_id|\bquadrats?\b"
    r"|cassava|petfinder|pawpularity|\b(leaf|paws)\b",
    re.IGNORECASE,
)
# What the numbers of one competition are, and how many; `build` says grams where a competition's unit is g.
UNITS = re.compile(r"(?<![a-z])grams?(?![a-z])|\bfive (targets|heads|numbers|rows|outputs|columns)\b", re.IGNORECASE)
# What stays, with the reason.
ALLOWED = {
    "kernel_src/competition/choice.py": ['DEFAULT_COMPETITION = "biomass"'],  # what is meant where nothing is said
    # The notebook for one competition is built by its part's name; these are the defaults in the kernels' own text.
    "kernel_src/kernels/train.py": ['"biomass",'],
    "kernel_src/kernels/infer.py": ['"biomass",'],
    "kernel_src/kernels/features.py": ["PARTS = "],
    "kernel_src/kernels/preflight.py": ["PARTS = "],
    # The name of a tensor in weights that are out.
    "kernel_src/models/model.py": ["evidence.grams"],
    "kernel_src/models/evidence.py": ["self.grams"],
}


def files(tree: Path, but: str) -> list[Path]:
    """List the texts in a tree but for one folder."""
    found = [path for path in sorted(tree.rglob("*")) if path.suffix in (".py", ".jinja", ".json", ".css", ".js")]
    return [path for path in found if not path.relative_to(tree).as_posix().startswith(f"{but}/")]


def lines_with(words: re.Pattern[str], paths: list[Path]) -> list[str]:
    """Return the lines that hold one of the words and are not allowed to, with their places."""
    found = []
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if words.search(line) and not any(allowed in line for allowed in ALLOWED.get(name, [])):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


def test_no_word_of_a_competition_stands_in_build() -> None:
    found = lines_with(WORDS, files(BUILD, "demo"))
    assert not found, "\n".join(found)


def test_no_word_of_a_competition_stands_in_what_all_competitions_share() -> None:
    shared = files(KERNEL_SRC, "competitions")
    found = lines_with(WORDS, shared) + lines_with(UNITS, shared)
    assert not found, "\n".join(found)


def test_what_is_allowed_is_there() -> None:
    for name, lines in ALLOWED.items():
        assert all(line in (ROOT / name).read_text(encoding="utf-8") for line in lines), name


def test_build_imports_the_package_of_no_competition() -> None:
    own = tuple(f"kernel_src.competitions.{name}." for name in competitions())
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(BUILD, "demo")
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
        ("the network BiomassNet", True),
    ],
)
def test_a_word_is_found_wherever_it_stands(line: str, is_one: bool) -> None:
    assert bool(WORDS.search(line)) is is_one

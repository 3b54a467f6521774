"""The lists in which the shared code finds a competition: a line in each of three modules, in alphabetical order."""

from pathlib import Path

from build.core.errors import CheckFailed, Problem

COMPETITIONS = Path("kernel_src", "competitions")
# Module with the list → the module of a competition's package that it imports.
LISTS = {
    COMPETITIONS / "held_facts.py": "facts",
    COMPETITIONS / "held_rules.py": "rules",
    COMPETITIONS / "held_recipes.py": "experiments",
}
_BEGIN = "import kernel_src.competitions."


def with_competition(root: Path, name: str) -> dict[Path, str]:
    """Return the lists' texts with a competition in them.

    Raises:
        CheckFailed: a list is not as it should be.
    """
    return {place: _listed(root, place, name, part) for place, part in LISTS.items()}


def without_competition(root: Path, name: str) -> dict[Path, str]:
    """Return the lists' texts without a competition.

    Raises:
        CheckFailed: a list is not as it should be.
    """
    return {place: _listed(root, place, name, "") for place in LISTS}


def _listed(root: Path, place: Path, name: str, part: str) -> str:
    lines = (root / place).read_text(encoding="utf-8").splitlines()
    there = [number for number, line in enumerate(lines) if line.startswith(_BEGIN) and "# part: " in line]
    if not there or there != list(range(there[0], there[-1] + 1)):
        what = "the imports of the competitions' modules do not stand together"
        raise CheckFailed([Problem(what=what, where=str(place), cure="bring them together, each with `# part: NAME`")])
    entries = [line for line in lines[there[0] : there[-1] + 1] if not line.startswith(f"{_BEGIN}{name}.")]
    entries += [f"{_BEGIN}{name}.{part}  # noqa: F401  # part: {name}"] if part else []
    return "\n".join([*lines[: there[0]], *sorted(entries), *lines[there[-1] + 1 :]]) + "\n"

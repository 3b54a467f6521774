"""The rooms: which package may import from which. Each imports only from those before it in its list."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KERNEL_SRC = "runtime competition recipes competitions data models bundle training inference kernels".split()
BUILD = "installation core stitch notebooks adopt sync scores weights demo run search new kaggle report cli".split()
# What a competition makes of other people's photographs reads them as training reads its own.
DATA = {"external", "external_table", "held_external"}
ENTRY_POINTS = {"build": {"__init__", "__main__", "cli", "environment", "make"}, "kernel_src": {"__init__"}}


def room_of(parts: tuple[str, ...]) -> str:
    """Return the room of a module by its place below the tree."""
    return "data" if parts[0] == "competitions" and DATA & set(parts) else parts[0]


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize(("tree", "order"), [("kernel_src", KERNEL_SRC), ("build", BUILD)])
def test_a_package_imports_only_from_those_before_it(tree: str, order: list[str]) -> None:
    wrong = []
    for path in (ROOT / tree).rglob("*.py"):
        room = room_of(path.relative_to(ROOT / tree).with_suffix("").parts)
        for name in imports(path) if room in order else ():
            top, *rest = name.split(".")
            if top == tree and rest and rest[0] in order and order.index(room_of(tuple(rest))) > order.index(room):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("tree", ["kernel_src", "build"])
def test_nothing_is_loose_but_the_entry_points_and_every_package_is_in_the_list(tree: str) -> None:
    assert {path.stem for path in (ROOT / tree).glob("*.py")} == ENTRY_POINTS[tree]
    packages = {path.parent.name for path in (ROOT / tree).glob("*/__init__.py")}
    assert packages <= {*KERNEL_SRC, *BUILD}, packages


def test_the_library_never_imports_the_build() -> None:
    for path in (ROOT / "kernel_src").rglob("*.py"):
        assert not any(name.split(".")[0] in ("build", "tests", "bench") for name in imports(path)), path


def test_the_tests_mirror_both_trees() -> None:
    for tree in ("kernel_src", "build"):
        for folder in (ROOT / "tests" / tree).rglob("*/"):
            mirrored = ROOT / folder.relative_to(ROOT / "tests")
            if any(folder.glob("test_*.py")) and folder.name not in ("faults", "cases"):
                assert mirrored.is_dir(), f"{folder} mirrors nothing"

"""One process that builds again and again, as `watch` does, writes and refuses what a fresh process would."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from build.core.errors import CheckFailed
from build.notebooks.builder import all_cards, build
from build.stitch.modules import read_names
from kernel_src.competitions.kernel_cards import KernelCard
from tests.build.sync.conftest import PARAMETERS, SOURCES

ROOT = Path(__file__).resolve().parents[2]


def card(experiment: str, kernel: str, parameters: dict[str, object]) -> KernelCard:
    return KernelCard(
        experiment=experiment,
        kernel=kernel,
        parameters=parameters,
        datasets=(),
        competitions=("the-cup",),
        machine_shape="NvidiaTeslaT4",
        enable_gpu=True,
    )


TOY = [card("one", "infer", PARAMETERS), card("two", "infer", {"COUNT": 5}), card("two", "train", {})]
TRAIN = "# %% [markdown]\n# # Train\n\n# %%\nfrom kernel_src.data.tool import double\n\n# %%\nprint(double(2))\n"
FRESH = """
import sys
from pathlib import Path
from build.notebooks.builder import build, all_cards
from build.core.errors import CheckFailed
from kernel_src.competitions.kernel_cards import KernelCard
cards = eval(sys.argv[2])
try:
    build(cards, Path(sys.argv[1]))
except CheckFailed as failed:
    print(failed)
"""
Edit = Callable[[Path], object]


def replace(where: str, old: str, new: str) -> Edit:
    def change(root: Path) -> None:
        text = (root / where).read_text(encoding="utf-8")
        assert old in text
        (root / where).write_text(text.replace(old, new), encoding="utf-8")

    return change


def both(*edits: Edit) -> Edit:
    return lambda root: [edit(root) for edit in edits]


def write(where: str, text: str) -> Edit:
    return lambda root: (root / where).write_text(text, encoding="utf-8")


TOOL, OTHER, INFER = "kernel_src/data/tool.py", "kernel_src/data/other.py", "kernel_src/kernels/infer.py"
EDITS: dict[str, Edit] = {
    "a line": replace(TOOL, "LIMIT = 3", "LIMIT = 4"),
    "lines above all others": replace(TOOL, "LIMIT = 4", "# one\n# two\nLIMIT = 4"),
    "what a name of another module means": both(
        replace(TOOL, "LIMIT = 4", "from math import tau as LIMIT"), replace(TOOL, "import math\n", "import math\n\n")
    ),
    "back": replace(TOOL, "from math import tau as LIMIT", "LIMIT = 4"),
    "a rule broken in a module that nobody touched": replace(TOOL, "LIMIT = 4", "from sys import argv as LIMIT"),
    "mended where it was made": replace(TOOL, "from sys import argv as LIMIT", "LIMIT = 4"),
    "a name that two modules define": replace(
        OTHER, "def both", "def double(number):\n    return number\n\n\ndef both"
    ),
    "taken out": replace(OTHER, "def double(number):\n    return number\n\n\ndef both", "def both"),
    "a rule broken": replace(OTHER, "return first", "return globals() or first"),
    "and mended": replace(OTHER, "return globals() or first", "return first"),
    "a name that is gone": replace(TOOL, "def rounded", "def shortened"),
    "and followed": replace(INFER, "rounded", "shortened"),
    "a text": replace(TOOL, "LIMIT = 4", 'LIMIT = 4\nNAMED = "notes.txt"'),
    # What lies beside the sources is no reason to build: each is met when a source changes.
    "a file that this text names": both(write("notes.txt", "left by a run"), replace(OTHER, "The other", "Another")),
    "the file is gone": both(lambda root: (root / "notes.txt").unlink(), replace(OTHER, "Another", "The other")),
    "an import of somebody else's": replace(
        OTHER, "from kernel_src.data import tool\n", "import cmath_tools\nfrom kernel_src.data import tool\n"
    ),
    "which is ours": both(write("cmath_tools.py", "VALUE = 1\n"), replace(OTHER, "The other", "Another")),
    "and is not": both(lambda root: (root / "cmath_tools.py").unlink(), replace(OTHER, "Another", "The other")),
    "a syntax error": replace(TOOL, "def double(number)", "def double(number"),
    "corrected": replace(TOOL, "def double(number", "def double(number)"),
    "another parameter's cell": replace(INFER, "COUNT = 3", "MORE = 1\nCOUNT = 3"),
    "a script that cannot be read": replace(INFER, "import json", "import"),
    "and can again": replace(INFER, "import\n", "import json\n"),
}


def lying(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.glob("notebooks/*/*"))}


def in_a_fresh_process(root: Path, folder: Path, cards: str) -> tuple[dict[str, bytes], str]:
    """What a process that has built nothing writes where nothing lies, and what it says."""
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns("out", "notebooks", "__pycache__"))
    command = [sys.executable, "-c", FRESH, str(folder), cards]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return lying(folder), done.stdout.strip()


def in_this_process(root: Path, cards: list[KernelCard]) -> tuple[dict[str, bytes], str]:
    said = ""
    try:
        build(cards, root)
    except CheckFailed as failed:
        said = str(failed)
    return lying(root), said


FEW = ("a line", "a rule broken in a module that nobody touched", "mended where it was made")


@pytest.mark.parametrize("names", [FEW, pytest.param(tuple(EDITS), marks=pytest.mark.full)], ids=["few", "all"])
def test_whatever_was_built_before_a_build_writes_and_says_what_a_fresh_process_does(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = tmp_path / "kept"
    for where, text in (SOURCES | {"kernel_src/kernels/train.py": TRAIN}).items():
        (root / where).parent.mkdir(parents=True, exist_ok=True)
        (root / where).write_text(text, encoding="utf-8")
    build(TOY, root)
    refused = 0
    for number, name in enumerate(names):
        EDITS[name](root)
        before = lying(root)
        wanted, reasons = in_a_fresh_process(root, tmp_path / str(number), repr(TOY))
        got, said = in_this_process(root, TOY)
        assert said == reasons, name
        assert got == (before if said else wanted), name
        assert bool(wanted) is not bool(said)
        refused += bool(said)
    assert 0 < refused <= len(names) / 2


@pytest.mark.full
def test_our_own_notebooks_built_again_and_again_are_a_fresh_process_s(tmp_path: Path) -> None:
    root = tmp_path / "kept"
    shutil.copytree(ROOT / "kernel_src", root / "kernel_src", ignore=shutil.ignore_patterns("__pycache__"))
    cards = all_cards()
    build(cards, root)
    built = lying(root)
    present = {path.name: path.read_bytes() for path in sorted((ROOT / "notebooks").glob("*/*"))}  # most on demand
    assert present.items() <= built.items()
    mounts, training = "kernel_src/runtime/mounts.py", "kernel_src/training/training.py"
    for number, edit in enumerate(
        (
            replace(mounts, "TREE_LINES = 60", "TREE_LINES = 61"),
            replace(training, "import time\n", "import cmath\nimport time\n"),
            both(replace(mounts, "TREE_LINES = 61", "TREE_LINES = 60"), replace(training, "import cmath\n", "")),
        )
    ):
        edit(root)
        wanted, reasons = in_a_fresh_process(root, tmp_path / str(number), "all_cards()")
        assert in_this_process(root, cards) == (wanted, reasons) and not reasons
    assert lying(root) == built


def test_nobody_changes_a_syntax_tree_that_the_next_build_reads(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "kernel_src", tmp_path / "kernel_src", ignore=shutil.ignore_patterns("__pycache__"))
    chosen = {one.kernel: one for one in all_cards()}
    build([*chosen.values()], tmp_path)
    read = read_names.cache_info().hits
    for path in sorted((tmp_path / "kernel_src").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        library = path.parent.name != "kernels"
        tree, _ = read_names(text, library)
        assert ast.dump(tree, include_attributes=True) == ast.dump(ast.parse(text), include_attributes=True)
    assert read_names.cache_info().hits > read + 40, "these are the trees that were built from"

"""A toy package with a built notebook, and edits as people make them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from build.notebooks.base import read_sources, remember
from build.notebooks.edited_cells import parse
from build.stitch.assembly import stitch
from build.sync.notebook_sync import sync
from build.sync.sync_back import sync_back
from build.sync.sync_result import SyncResult

MAIN = "kernel_src/kernels/infer.py"
SOURCES = {
    "kernel_src/__init__.py": "",
    "kernel_src/data/__init__.py": "",
    "kernel_src/data/tool.py": '''"""## The tool

It doubles.
"""

import math

LIMIT = 3  # at most so often


def double(number):
    """Return twice the number."""
    return   2 * number  # odd spacing, kept


# %%
def root_of(number):
    # a comment of its own
    value = math.sqrt(number)
    return double(value)


# %% Rounding
def rounded(number):
    return round(number, LIMIT)
''',
    "kernel_src/data/other.py": '''"""## The other"""

from kernel_src.data import tool
from kernel_src.data.tool import LIMIT


def both(number):
    first = tool.double(number)  # through the module
    return first + LIMIT
''',
    MAIN: """# %% [markdown]
# # Toy
#
# > It promises.

# %%
import json

from kernel_src.data.other import both
from kernel_src.data.tool import root_of, rounded

# %% tags=["parameters"]
WEIGHTS = {}  # slug → weight
COUNT = 3  # numbers

# %% [markdown]
# ## Work

# %%
results = [rounded(root_of(number)) for number in range(COUNT)]
print(json.dumps(results))

# %%
print(both(4))
""",
}
PARAMETERS = {"WEIGHTS": {"a": 1.0}}


class Toy:
    """Sources on disk and a notebook built from them."""

    files = SOURCES
    arguments: str | None = None  # a kernel of ours

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parameters: dict[str, object] = dict(PARAMETERS)
        for where, text in self.files.items():
            (root / where).parent.mkdir(parents=True, exist_ok=True)
            (root / where).write_bytes(text.encode())
        self.notebook: dict[str, Any] = {}
        self.build()

    def build(self) -> dict[str, Any]:
        """Stitch the sources of now; the build is noted as `make build` notes it."""
        stitched = stitch(self.root / MAIN, self.root, self.parameters, arguments=self.arguments)
        texts = read_sources(self.root)
        remember(self.root, stitched.source_sha256, MAIN, self.parameters, texts, self.arguments)
        self.notebook = json.loads(stitched.notebook)
        return self.notebook

    @property
    def sources(self) -> dict[str, bytes]:
        return {where: (self.root / where).read_bytes() for where in self.files}

    def text(self, name: str) -> str:
        where = MAIN if name == "infer" else f"kernel_src/data/{name}.py"
        return (self.root / where).read_text(encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        where = MAIN if name == "infer" else f"kernel_src/data/{name}.py"
        (self.root / where).write_text(text, encoding="utf-8")

    def cell(self, inside: str) -> dict[str, Any]:
        """The one cell that holds a text."""
        (found,) = [cell for cell in self.notebook["cells"] if inside in cell["source"]]
        return found

    def replace(self, old: str, new: str) -> None:
        cell = self.cell(old)
        cell["source"] = cell["source"].replace(old, new)

    def insert_below(self, inside: str, source: str, kind: str = "code", **more: Any) -> None:
        place = self.notebook["cells"].index(self.cell(inside)) + 1
        cell = {"cell_type": kind, "id": f"new-{place}", "metadata": {}, "source": source, **more}
        if kind == "code":
            cell |= {"outputs": [], "execution_count": None}
        self.notebook["cells"].insert(place, cell)

    def look(self, **more: Any) -> SyncResult:
        edited = parse(json.dumps(self.notebook).encode())
        return sync_back(edited, self.root, notebook=self.root / "toy.ipynb", **more)

    def sync(self, conflicts_in_source: bool = False, **more: Any) -> SyncResult:
        content = json.dumps(self.notebook).encode()
        result = sync_back(parse(content), self.root, notebook=self.root / "toy.ipynb", **more)
        sync(content, result, "toy", self.root, conflicts_in_source=conflicts_in_source)
        return result

    def refusals(self) -> str:
        """Why nothing was written; fails when something was."""
        before = self.sources
        result = self.look()
        assert result.problems and not result.texts
        assert self.sources == before
        return "\n".join(map(str, result.problems))


def shown(notebook: dict[str, Any]) -> list[tuple[str, str]]:
    """What a notebook says, without provenance lines and the note on its sources."""
    cells = []
    for cell in notebook["cells"]:
        text = re.sub(r"\n*\*Stitched from .*", "", "".join(cell["source"]))
        text = re.sub(r"^# (kernel_src/\S+|imports: .*)\n", "", text)
        cells.append((cell["cell_type"], text.strip("\n")))
    return cells


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture
def make_toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Toy]:
    return lambda: Toy(tmp_path_factory.mktemp("toy"))

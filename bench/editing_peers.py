"""The same edits of one small notebook, brought home by us, jupytext, repo2nb and nbdev: kept, refused or lost?

    python -m venv /tmp/peers && /tmp/peers/bin/pip install repo2nb==0.2.1 nbdev==3.3.26
    python -m bench.editing_peers --peers /tmp/peers/bin

jupytext is the kit's own. Each runs the command that its documentation gives for the way back, and is judged by the
files that it leaves: the module, and the notebook.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEAD, DOUBLE, TRIPLE = '"""Tools."""\n\n\n', "def double(x):\n    return 2 * x\n", "def triple(x):\n    return 3 * x\n"
MODULE = f"{HEAD}{DOUBLE}\n\n{TRIPLE}"
SCRIPT = "from {package}.tool import double, triple\n\nprint(double(4), triple(4))\n"
NEW, LATER = "x + x", "x * 3"  # what the notebook and the module are edited to
Notebook = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """A way from a module to a notebook and back."""

    name: str
    module: str  # where the text comes home to
    notebook: str
    prepare: Callable[[Path], "subprocess.CompletedProcess[str]"]
    home: Callable[[Path], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Case:
    """What is done to both files; `wanted` must be in the module afterwards, once."""

    name: str
    in_notebook: Callable[[Notebook], object]
    wanted: tuple[str, ...]
    in_module: tuple[str, str] | None = None
    module_first: bool = False


# -- edits -----------------------------------------------------------------------------------------------------------


def cell_of(notebook: Notebook) -> Notebook:
    """Return the cell that all edits are made in or below."""
    return next(cell for cell in notebook["cells"] if "def double" in "".join(cell["source"]))


def change(old: str, new: str) -> Callable[[Notebook], None]:
    """Edit a line."""

    def edit(notebook: Notebook) -> None:
        cell = cell_of(notebook)
        cell["source"] = "".join(cell["source"]).replace(old, new)

    return edit


def below(text: str) -> Callable[[Notebook], None]:
    """Add a cell."""

    def edit(notebook: Notebook) -> None:
        cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
        if notebook["nbformat_minor"] >= 5:
            cell["id"] = "new"
        notebook["cells"].insert(notebook["cells"].index(cell_of(notebook)) + 1, cell)

    return edit


def split(notebook: Notebook) -> None:
    """Cut the cell in two."""
    cell = cell_of(notebook)
    head, mark, tail = "".join(cell["source"]).partition("def triple")
    below(mark + tail.replace("3 * x", LATER))(notebook)
    cell["source"] = head.rstrip("\n")


def from_kaggle(notebook: Notebook) -> None:
    """Edit a line, and save as Kaggle does: format 4.4, no ids, other metadata."""
    change("2 * x", NEW)(notebook)
    notebook |= {"nbformat_minor": 4, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}}}
    for cell in notebook["cells"]:
        cell.pop("id", None)
        cell["metadata"] = {"_uuid": "0", "trusted": True}


CASES = (
    Case("a line", change("2 * x", NEW), (NEW,)),
    Case("a line, in a file as Kaggle leaves it", from_kaggle, (NEW,)),
    Case("a cell split, its second half edited", split, ("2 * x", LATER)),
    Case("a function in a new cell below", below("def four(x):\n    return 4 * x"), ("2 * x", "def four")),
    Case("another line in the module, then saved", change("2 * x", NEW), (NEW, LATER), ("3 * x", LATER), True),
    Case("saved, then another line in the module", change("2 * x", NEW), (NEW, LATER), ("3 * x", LATER)),
    Case("saved, then the same line in the module", change("2 * x", NEW), (NEW, "x * 2"), ("2 * x", "x * 2")),
)

# -- tools -----------------------------------------------------------------------------------------------------------


def run(folder: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a command with its own environment first in the path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write files."""
    for where, text in texts.items():
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        (folder / where).write_text(text)


def package(folder: Path, name: str, script: str) -> None:
    """Write the module and a script that imports it."""
    parents = {f"{part}/__init__.py": "" for part in (name, str(Path(name).parent)) if part != "."}
    texts = {f"{name}/tool.py": MODULE, script: SCRIPT.format(package=name.replace("/", "."))}
    write(folder, parents | texts)


def tools(peers: Path) -> list[Tool]:
    """Return ours and the peers."""
    python, jupytext = Path(sys.executable), Path(sys.executable).with_name("jupytext")
    ours = "from pathlib import Path as P; from build.sync.notebook_sync import *; "
    ours += "run_sync(P('a.ipynb'), False, root=P())"
    build = (
        "from pathlib import Path as P; from build.stitch import stitch; from build.notebooks.base import *;"
        "main = 'kernel_src/kernels/infer.py'; made = stitch(P(main), P(), {});"
        "P('a.ipynb').write_bytes(made.notebook); remember(P(), made.source_sha256, main, {}, read_sources(P()))"
    )

    def by_jupytext(folder: Path) -> "subprocess.CompletedProcess[str]":
        write(folder, {"tool.py": f"# %%\n{HEAD}# %%\n{DOUBLE}\n\n{TRIPLE}"})
        return run(folder, jupytext, "--set-formats", "ipynb,py:percent", "tool.py")

    def by_repo2nb(folder: Path) -> "subprocess.CompletedProcess[str]":
        package(folder, "pkg", "main.py")
        return run(folder, peers / "repo2nb", ".", "-o", "a.ipynb", "--no-deps", "--omit-instructions")

    def by_nbdev(folder: Path) -> "subprocess.CompletedProcess[str]":
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        repo = ["--repo", "pkg", "--user", "u", "--author", "a", "--author-email", "e", "--description", "d"]
        run(folder, peers / "nbdev-create-config", *repo)
        texts = ["#| default_exp tool", f"#| export\n{DOUBLE}\n\n{TRIPLE}".rstrip("\n")]
        cells = [
            {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": t} for t in texts
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
        write(folder, {"nbs/a.ipynb": json.dumps(notebook), "pkg/__init__.py": '__version__ = "0"\n'})
        return run(folder, peers / "nbdev-export")

    def by_us(folder: Path) -> "subprocess.CompletedProcess[str]":
        package(folder, "kernel_src/common", "kernel_src/kernels/infer.py")
        return run(folder, python, "-P", "-c", build)

    back = [peers / "repo2nb", "reverse", "a.ipynb", "-o", ".", "--force"]
    return [
        Tool("this kit", "kernel_src/common/tool.py", "a.ipynb", by_us, lambda one: run(one, python, "-P", "-c", ours)),
        Tool(
            "jupytext --sync", "tool.py", "tool.ipynb", by_jupytext, lambda one: run(one, jupytext, "--sync", "tool.py")
        ),
        Tool("repo2nb reverse", "pkg/tool.py", "a.ipynb", by_repo2nb, lambda one: run(one, *back)),
        Tool("nbdev-export", "pkg/tool.py", "nbs/a.ipynb", by_nbdev, lambda one: run(one, peers / "nbdev-export")),
    ]


# -- judging ---------------------------------------------------------------------------------------------------------


def outcome(tool: Tool, case: Case) -> str:
    """Do the edits, run the way back, and say what became of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = tool.prepare(folder)
        module, path = folder / tool.module, folder / tool.notebook
        if not path.is_file() or "2 * x" not in module.read_text():
            raise RuntimeError(f"{tool.name} made no notebook: {made}")
        notebook = json.loads(path.read_text())
        edited = copy.deepcopy(notebook)
        case.in_notebook(edited)

        def save() -> None:
            path.write_text(json.dumps(edited))

        def change_module() -> None:
            if case.in_module:
                assert case.in_module[0] in module.read_text()
                module.write_text(module.read_text().replace(*case.in_module))

        for step in (change_module, save) if case.module_first else (save, change_module):
            time.sleep(1.1)  # peers compare file times
            step()
        done = tool.home(folder)
        text = module.read_text()
        left = text + "".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
        if all(text.count(one) == 1 for one in case.wanted):
            return "kept"
        if done.returncode and all(one in left for one in case.wanted):
            return "refused, both kept"
        missing = [one for one in case.wanted if one not in left]
        said = "lost" if done.returncode else "silently lost"
        if missing:
            return f"the {'notebook' if NEW in missing else 'module'}'s edit {said}"
        return "not brought home" + ("" if done.returncode else ", exit 0")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The same edits, brought home by us and by peers.")
    parser.add_argument("--peers", type=Path, required=True, help="the folder with their commands")
    every = tools(parser.parse_args().peers.resolve())
    print("| edit | " + " | ".join(tool.name for tool in every) + " |\n|" + "---|" * (len(every) + 1))
    for case in CASES:
        print(f"| {case.name} | " + " | ".join(outcome(tool, case) for tool in every) + " |", flush=True)


if __name__ == "__main__":
    main()

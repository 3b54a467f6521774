"""Watching: a saved notebook is synced, a changed source is built, and what fails is said beside the notebook."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from build.notebooks.builder import build as build_notebooks
from build.sync.watch import sync_saved, watch
from kernel_src.competitions.kernel_cards import KernelCard
from tests.build.sync.conftest import PARAMETERS, Toy

ROOT = Path(__file__).resolve().parents[3]
CARD = KernelCard(
    experiment="toy",
    kernel="infer",
    parameters=PARAMETERS,
    datasets=(),
    competitions=("the-cup",),
    machine_shape="NvidiaTeslaT4",
    enable_gpu=True,
)


@pytest.fixture
def notebook(toy: Toy) -> Path:
    build_notebooks([CARD], toy.root)
    return toy.root / "notebooks/i2b-toy-infer/i2b-toy-infer.ipynb"


def save(notebook: Path, old: str, new: str) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert old in text
    notebook.write_text(text.replace(old, new), encoding="utf-8")


def wait_for(what: Callable[[], bool], limit_s: float = 20) -> float:
    start = time.perf_counter()
    while not what():
        assert time.perf_counter() - start < limit_s
        time.sleep(0.02)
    return time.perf_counter() - start


def test_a_saved_notebook_changes_its_module_and_a_changed_source_the_notebook(toy: Toy, notebook: Path) -> None:
    done, said = threading.Event(), list[str]()
    thread = threading.Thread(target=watch, args=(toy.root, [CARD], said.append, done.is_set))
    thread.start()
    try:
        wait_for(lambda: bool(said))
        time.sleep(0.5)
        save(notebook, "print(both(4))", "print(both(5))")
        wait_for(lambda: "print(both(5))" in toy.text("infer"))
        wait_for(lambda: any("written" in line or "overwritten" in line for line in said))
        time.sleep(0.5)
        toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
        wait_for(lambda: "LIMIT = 4" in notebook.read_text())
    finally:
        done.set()
        thread.join()
    assert "print(both(5))" in notebook.read_text()


def test_what_is_saved_while_it_builds_is_neither_missed_nor_built_over(
    toy: Toy, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, said, builds = threading.Event(), list[str](), list[int]()

    def build_meanwhile(cards: list[KernelCard], root: Path) -> object:
        outcomes = build_notebooks(cards, root)
        builds.append(1)
        if len(builds) == 1:
            toy.write("tool", toy.text("tool").replace("LIMIT = 4", "LIMIT = 5"))
        elif len(builds) == 2:
            save(notebook, "print(both(4))", "print(both(5))")
        return outcomes

    monkeypatch.setattr("build.sync.watch.build_notebooks", build_meanwhile)
    thread = threading.Thread(target=watch, args=(toy.root, [CARD], said.append, done.is_set))
    thread.start()
    try:
        wait_for(lambda: bool(said))
        toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
        wait_for(lambda: "LIMIT = 5" in notebook.read_text())
        wait_for(lambda: "print(both(5))" in toy.text("infer"))
    finally:
        done.set()
        thread.join()


def test_a_refused_edit_is_explained_beside_the_notebook_until_a_save_is_good(toy: Toy, notebook: Path) -> None:
    save(notebook, "print(both(4))", "print(both(4)")
    assert "NOT SYNCED" in sync_saved(notebook, toy.root)[0]
    errors = notebook.with_name("i2b-toy-infer.sync-error.txt")
    assert "syntax error" in errors.read_text()
    save(notebook, "print(both(4)", "print(both(6))")
    sync_saved(notebook, toy.root)
    assert not errors.exists() and "print(both(6))" in toy.text("infer")


def test_a_notebook_whose_edits_are_written_back_is_built_over_and_any_other_is_not(toy: Toy, notebook: Path) -> None:
    from build.core.errors import CheckFailed

    save(notebook, "print(both(4))", "print(both(5))")
    with pytest.raises(CheckFailed, match="python -m build sync"):
        toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
        build_notebooks([CARD], toy.root)
    sync_saved(notebook, toy.root)
    build_notebooks([CARD], toy.root)
    text = notebook.read_text()
    assert "print(both(5))" in text and "LIMIT = 4" in text and json.loads(text)["nbformat"] == 4


def test_a_pulled_kernel_is_written_back(toy: Toy, notebook: Path) -> None:
    from build.kaggle.pull import save_pulled
    from build.sync.notebook_sync import run_sync

    pulled = notebook.read_text().replace("print(both(4))", "print(both(9))")
    run_sync(save_pulled("i2b-toy-infer", pulled, toy.root), as_json=False, root=toy.root)
    assert "print(both(9))" in toy.text("infer")


def run_in_jupyter(notebook: Path) -> None:
    """Save a notebook with the outputs of a run."""
    content = json.loads(notebook.read_text())
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": 1, "outputs": [{"output_type": "stream", "name": "stdout", "text": "6.0\n"}]}
    notebook.write_text(json.dumps(content))


def test_a_notebook_that_was_only_run_does_not_stop_the_next_build_and_its_outputs_are_kept(
    toy: Toy, notebook: Path
) -> None:
    run_in_jupyter(notebook)
    ran = notebook.read_bytes()
    assert sync_saved(notebook, toy.root) == []
    toy.write("tool", toy.text("tool").replace("LIMIT = 3", "LIMIT = 4"))
    (outcome,) = build_notebooks([CARD], toy.root)
    assert (toy.root / outcome.saved).read_bytes() == ran
    assert "LIMIT = 4" in notebook.read_text() and "6.0" not in notebook.read_text()


def test_an_edited_and_run_notebook_is_written_back_and_its_outputs_are_kept(toy: Toy, notebook: Path) -> None:
    save(notebook, "print(both(4))", "print(both(5))")
    run_in_jupyter(notebook)
    ran = notebook.read_bytes()
    assert any("infer.py" in line for line in sync_saved(notebook, toy.root))
    (outcome,) = build_notebooks([CARD], toy.root)
    assert (toy.root / outcome.saved).read_bytes() == ran
    assert "print(both(5))" in notebook.read_text()


def said_at_the_start(toy: Toy) -> list[str]:
    said: list[str] = []
    watch(toy.root, [CARD], said.append, lambda: True)
    assert said.pop(0).startswith("watching")
    return said


def test_at_the_start_what_is_broken_stale_or_edited_is_said_and_nothing_done(toy: Toy, notebook: Path) -> None:
    assert said_at_the_start(toy) == []
    before = notebook.read_bytes()
    script = toy.root / "kernel_src/kernels/infer.py"
    good = script.read_text()
    script.write_text(good.replace("print(both(4))", "print(both(6))"))
    (line,) = said_at_the_start(toy)
    assert line.startswith("stale       1 of 1 notebooks") and notebook.read_bytes() == before
    script.write_text(f"{good}\ndef broken(:\n")
    (line,) = said_at_the_start(toy)
    assert line.startswith("NOT BUILT") and "infer.py" in line
    script.write_text(good)
    save(notebook, "print(both(4))", "print(both(5))")
    (line,) = said_at_the_start(toy)
    assert line.startswith("edited      notebooks/i2b-toy-infer/i2b-toy-infer.ipynb")
    assert "`python -m build sync notebooks/i2b-toy-infer/i2b-toy-infer.ipynb`" in line


@pytest.mark.full
def test_an_edited_experiment_reaches_the_notebooks_though_the_process_imported_it_before(tmp_path: Path) -> None:
    for name in ("build", "kernel_src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    notebook = tmp_path / "notebooks/i2b-demo-infer/i2b-demo-infer.ipynb"
    cards = tmp_path / "kernel_src/competitions/kernel_cards.py"
    command = [sys.executable, "-u", "-m", "build", "watch", "--experiment", "demo"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and "watching" in process.stdout.readline()
        text = cards.read_text()
        assert text.count("bundle_slug(name): 1.0") == 1
        cards.write_text(text.replace("bundle_slug(name): 1.0", "bundle_slug(name): 0.5"))
        wait_for(lambda: notebook.is_file() and '\\"i2b-demo-weights\\": 0.5' in notebook.read_text())
        cards.write_text(text.replace("bundle_slug(name): 1.0", "bundle_slug(nobody): 1.0"))
        said = ""
        while "NOT BUILT" not in said:
            said = process.stdout.readline()
        assert "the experiments cannot be read: NameError: name 'nobody' is not defined" in said
        cards.write_text(text)
        wait_for(lambda: '\\"i2b-demo-weights\\": 1.0' in notebook.read_text())
    finally:
        process.kill()
        process.communicate()
